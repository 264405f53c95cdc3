"""Linear layers with their weights laid out beforehand, against torch's own."""

from pathlib import Path

import pytest
import torch
from pyserini_rerank.scoring.architectures.onednn_linear import Prepacked, prepack, prepacks
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from tiny_checkpoints import build


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 384), (1, 7, 384), (1, 2048, 384), (5000, 384), (0, 384)])
@pytest.mark.parametrize("dtype, within", [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_it_gives_what_the_layer_gives(shape: tuple[int, ...], bias: bool, dtype: torch.dtype, within: float) -> None:
    if not prepacks(dtype):
        pytest.skip(f"this processor's torch has no products of {dtype} by oneDNN")
    torch.manual_seed(0)
    linear, vectors = torch.nn.Linear(384, 100, bias=bias).to(dtype), torch.randn(shape).to(dtype)
    with torch.inference_mode():
        found, expected = Prepacked(linear)(vectors), linear(vectors)
    assert found.shape == expected.shape and found.dtype == dtype
    assert torch.allclose(found, expected, rtol=0, atol=within)


def test_every_linear_layer_of_a_module_is_replaced_and_no_other() -> None:
    class Own(torch.nn.Linear):
        pass

    inner = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
    module = torch.nn.Sequential(torch.nn.Linear(2, 4), inner, Own(3, 2))
    vectors = torch.randn(5, 2)
    expected = module(vectors)
    prepack(module)
    assert [type(some) for some in (module[0], inner[0], inner[1], module[2])] == [
        Prepacked, Prepacked, torch.nn.LayerNorm, Own
    ]  # fmt: skip
    with torch.inference_mode():
        assert torch.allclose(module(vectors), expected, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_of_a_checkpoint_on_the_cpu(tmp_path: Path, dtype: str) -> None:
    folder = build("cross-encoder/ms-marco-MiniLM-L-6-v2", tmp_path)
    body = TorchBackend(folder, device="cpu", dtype=dtype).family.body
    kinds = {type(module) for module in body.modules()}
    replaced = prepacks(getattr(torch, dtype))
    assert (Prepacked in kinds, torch.nn.Linear in kinds) == (replaced, not replaced)
    assert dtype != "float32" or replaced, "this processor's torch has no oneDNN"
    assert dtype != "float16" or not replaced
