"""Layers that torch compiles, against the same that it runs one operation after another."""

import shutil

import numpy as np
import pytest
import tiny_families
from pyserini_rerank.scoring.backend import Batch
from pyserini_rerank.scoring.last_layer import layers_of
from pyserini_rerank.scoring.torch import TorchBackend
from tiny_checkpoints import build

BERT, ELECTRA = "cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-electra-base"
DISTILBERT = "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco"
# A minute for all of them.
OTHERS = [
    pytest.param(name, marks=pytest.mark.stress) for name in (ELECTRA, DISTILBERT, tiny_families.BGE, tiny_families.GTE)
]


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch compiles with g++, which is not there")
@pytest.mark.parametrize("name", [BERT, *OTHERS])
def test_the_scores_are_the_same(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))
    folder = build(name, tmp_path) if name in (BERT, ELECTRA, DISTILBERT) else tiny_families.build(name, tmp_path)
    plain, compiled = (TorchBackend(folder, device="cpu", compiled=compiled) for compiled in (False, True))
    assert plain.fingerprint != compiled.fingerprint
    assert all(layer._compiled_call_impl for layer in layers_of(compiled.family.body))
    pairs = [("how long does a flea live", "the flea lives " * count) for count in (1, 1, 2, 9, 30)]
    [batch] = plain.plan(pairs).batches
    expected = plain.run(batch)
    assert np.ptp(expected) > 0.05
    np.testing.assert_allclose(compiled.run(batch), expected, rtol=0, atol=1e-5)
    # A batch of other lengths, and of another number of them.
    fewer = Batch(np.arange(2), batch.inputs[1:3])
    np.testing.assert_allclose(compiled.run(fewer), plain.run(fewer), rtol=0, atol=1e-5)


def test_what_is_not_compiled(tmp_path):
    folder = tiny_families.build(tiny_families.MONOT5, tmp_path)
    with pytest.raises(ValueError, match="^compiled=True is for BERT, ELECTRA, .* classifiers.$"):
        TorchBackend(folder, device="cpu", compiled=True)
