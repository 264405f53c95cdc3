"""Linear layers with their weights laid out beforehand, against torch's own."""

from pathlib import Path

import pytest
import torch
from pyserini_rerank.scoring.prepacked import Prepacked, prepack
from pyserini_rerank.scoring.torch import TorchBackend
from tiny_checkpoints import build


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 384), (1, 7, 384), (1, 2048, 384), (5000, 384), (0, 384)])
def test_it_gives_what_the_layer_gives(shape: tuple[int, ...], bias: bool) -> None:
    torch.manual_seed(0)
    linear, vectors = torch.nn.Linear(384, 100, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        found, expected = Prepacked(linear)(vectors), linear(vectors)
    assert found.shape == expected.shape and found.dtype == torch.float32
    assert torch.allclose(found, expected, rtol=0, atol=1e-5)


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


@pytest.mark.parametrize("dtype, replaced", [("float32", True), ("bfloat16", False)])
def test_of_a_checkpoint_on_the_cpu_in_float32(tmp_path: Path, dtype: str, replaced: bool) -> None:
    folder = build("cross-encoder/ms-marco-MiniLM-L-6-v2", tmp_path)
    body = TorchBackend(folder, device="cpu", dtype=dtype).family.body
    kinds = {type(module) for module in body.modules()}
    assert (Prepacked in kinds, torch.nn.Linear in kinds) == (replaced, not replaced)
