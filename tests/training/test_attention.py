"""The attention of a training in bfloat16 on a CPU is computed in float32, and little differs but the time."""

from pathlib import Path
from typing import Any

import pytest
import tiny_architectures
import tiny_families
import torch
from pyserini_rerank.training.attention import attend_in_float32
from pyserini_rerank.training.student import make_student
from torch.nn.functional import scaled_dot_product_attention

TEXTS = [["wine", "iron and gold"], ["flea", "the long life cycle of a flea"]]


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
def test_the_gradients(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modern = kind == "modernbert"
    base = tiny_families.build(tiny_families.GTE, tmp_path) if modern else tiny_architectures.build(kind, tmp_path)
    dtypes = set()

    def watched(query: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        dtypes.add(query.dtype)
        return scaled_dot_product_attention(query, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    model = make_student(base, None)
    transformer = model[0].model.eval()
    features = model.tokenizer(TEXTS, padding=True, return_tensors="pt")

    def gradients(*, mixed: bool) -> torch.Tensor:
        transformer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            transformer(**features).logits.float().sum().backward()
        return torch.cat([weight.grad.flatten() for weight in transformer.parameters() if weight.grad is not None])

    exact = gradients(mixed=False)
    assert dtypes == {torch.float32}
    gradients(mixed=True)
    assert torch.bfloat16 in dtypes
    dtypes.clear()
    attend_in_float32(transformer)
    torch.testing.assert_close(gradients(mixed=False), exact)
    assert (gradients(mixed=True) - exact).norm() < 0.05 * exact.norm()
    assert dtypes == {torch.float32}


def test_a_model_with_an_attention_of_its_own_keeps_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    model = make_student(tiny_architectures.build("deberta-v2", tmp_path), None)
    before = model.predict([TEXTS[0]])
    attend_in_float32(model[0].model)
    assert model.predict([TEXTS[0]]) == before
    assert not capfd.readouterr().err
