"""A reranker knows what its scores are, whatever computes and keeps them."""

from pathlib import Path

import numpy as np
import pytest
import tiny_families
from pyserini_rerank import Segments, Windows, load
from pyserini_rerank.scoring.rerank_apis import APIS
from tiny_checkpoints import build

SCALES = {"tei": "logit", "infinity": "logit", "vllm": "logit", "jina": "probability", "cohere": "probability"}


@pytest.mark.parametrize("api", SCALES)
@pytest.mark.parametrize("cached", [False, True])
def test_of_servers(api: str, cached: bool, tmp_path: Path) -> None:
    assert APIS.keys() == SCALES.keys()
    cache = {"cache": tmp_path, "fingerprint": "a model"} if cached else {}
    with load("http://localhost:1", backend="http", api=api, **cache) as reranker:
        assert reranker.scale == SCALES[api]
        assert Segments(reranker, "sum").scale == "other"


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino", "sentence-transformers"])
def test_of_classifiers(backend: str, cached: bool, tmp_path: Path) -> None:
    folder = build("cross-encoder/ms-marco-MiniLM-L-2-v2", tmp_path)
    with load(folder, backend=backend, **({"cache": tmp_path / "cache"} if cached else {})) as reranker:
        assert reranker.scale == "logit"
        scores, shown = (reranker.score("flea", ["a flea", "a cat"], probability=asked) for asked in (False, True))
        assert shown == pytest.approx(1 / (1 + np.exp(-scores.astype(np.float64))), abs=1e-6)


def test_of_late_interaction_and_prompts(tmp_path: Path) -> None:
    with load(tiny_families.build(tiny_families.COLBERT, tmp_path), device="cpu") as colbert:
        assert colbert.scale == "other"
        assert Windows(colbert, aggregate=2).score("flea", ["a flea"]).shape == (1,)
        for refused in (
            lambda: colbert.score("flea", ["a flea"], probability=True),
            lambda: Windows(colbert, aggregate="sum"),
            lambda: Segments(colbert, "sum"),
        ):
            with pytest.raises(ValueError, match="neither logits nor probabilities"):
                refused()
    with load(tiny_families.build(tiny_families.MONOT5, tmp_path), device="cpu") as t5:
        assert t5.scale == "logit"
