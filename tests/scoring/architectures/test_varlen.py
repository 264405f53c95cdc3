"""Packed sequences against transformers' own forward over padded ones, for each architecture that packs."""

from pathlib import Path

import numpy as np
import pytest
import tiny_families
import torch
from pyserini_rerank.scoring.architectures import classifier
from pyserini_rerank.scoring.architectures.varlen import PackedSequences
from pyserini_rerank.scoring.backend import Batch
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from tiny_checkpoints import build
from transformers import PreTrainedModel

CARD = {
    "BERT": "cross-encoder/ms-marco-MiniLM-L-6-v2",
    "ELECTRA": "cross-encoder/ms-marco-electra-base",
    "DistilBERT": "sebastian-hofstaetter/distilbert-cat-margin_mse-T2-msmarco",
}
FAMILIES = {"XLM-R": tiny_families.BGE, "ModernBERT": tiny_families.GTE}
#: Shorter than ModernBERT's window of 8 tokens to either side, and longer; some lengths are equal.
TEXTS = [
    "flea",
    "two months",
    "the flea lives",
    "three months or two",
    "Berlin " * 7,
    "a long life cycle " * 12,
    "life",
]
MEAN, FIRST = '"classifier_pooling": "mean"', '"classifier_pooling": "cls"'


@pytest.fixture(scope="module", params=[*CARD, *FAMILIES, "ModernBERT's first token"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parent, name = tmp_path_factory.mktemp("packed"), request.param.partition("'")[0]
    made = build(CARD[name], parent) if name in CARD else tiny_families.build(FAMILIES[name], parent)
    if name != request.param:
        config = (made / "config.json").read_text()
        assert MEAN in config
        (made / "config.json").write_text(config.replace(MEAN, FIRST))
    return made


def test_where_transformers_keeps_its_own_attention_sequences_are_padded(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It only logs that, for a model whose source it cannot read; attention would take all sequences for one."""
    pairs = [("how long does a flea live", text) for text in TEXTS]
    packed = TorchBackend(folder, device="cpu", max_length=50)
    monkeypatch.setattr(PreTrainedModel, "_can_set_attn_implementation", classmethod(lambda _: False))
    padded = TorchBackend(folder, device="cpu", max_length=50)
    assert packed.family.packs and not padded.family.packs
    scores, expected = (backend.run(backend.plan(pairs).batches[0]) for backend in (padded, packed))
    assert abs(scores - expected).max() < 1e-5 * max(1, abs(expected).max())


@pytest.mark.slow
@pytest.mark.parametrize("dtype, within", [("float32", 1e-5), ("bfloat16", 0.05)])
def test_the_scores_are_those_of_padded_sequences(
    folder: Path, dtype: str, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [(query, text) for query in ("how long does a flea live", "Berlin") for text in TEXTS]
    packed = TorchBackend(folder, device="cpu", dtype=dtype, max_length=50)
    monkeypatch.setattr(classifier, "prepare", lambda *_: False)
    padded = TorchBackend(folder, device="cpu", dtype=dtype, max_length=50)
    assert packed.family.packs and not padded.family.packs
    [batch] = packed.plan(pairs).batches
    lengths = batch.inputs.lengths.tolist()
    assert 1 < len(set(lengths)) < len(lengths)
    scores, expected = packed.run(batch), padded.run(batch)
    assert expected.std() > 0.1
    assert abs(scores - expected).max() < within * max(1, abs(expected).max())
    # And each is its own: a sequence alone has the score that it has among the others.
    for row, score in enumerate(scores):
        [alone] = packed.run(Batch(np.arange(1), batch.inputs[row : row + 1]))
        assert abs(alone - score) < within * max(1, abs(score))


def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, window: int | None) -> torch.Tensor:
    """One sequence's, written out: (tokens, heads, dimension) each; the queries are its first tokens."""
    weights = torch.einsum("qhd,khd->hqk", query, key) * 0.3
    far = (torch.arange(len(query))[:, None] - torch.arange(len(key))).abs() > (len(key) if window is None else window)
    return torch.einsum("hqk,khd->qhd", weights.masked_fill(far, -torch.inf).softmax(-1), value)


def packed_attention(device: str, dtype: torch.dtype, firsts: bool, window: int | None) -> float:
    """The largest difference of packed attention to that of each sequence by itself in float64."""
    lengths = [300, 257, 257, 9, 9, 9, 4, 2, 2, 1]  # of three blocks, and of one
    chance = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, sum(lengths), 2, 8, generator=chance, dtype=torch.float64).to(dtype)
    packing = PackedSequences(np.array(lengths), torch.device(device))
    asked = query[packing.first.cpu()] if firsts else query
    found = packing.attend(asked.to(device), key.to(device), value.to(device), 0.3, window).cpu().double()
    parts = zip(*(some.double().split(lengths) for some in (query, key, value)), strict=True)
    expected = torch.cat([attention(q[:1] if firsts else q, k, v, window) for q, k, v in parts])
    assert found.shape == expected.shape
    return float((found - expected).abs().max())


KINDS = [(False, None), *((False, window) for window in (0, 3, 8, 9, 130, 256, 299)), (True, None)]


@pytest.mark.parametrize("firsts, window", KINDS)
def test_every_sequence_sees_itself_alone(firsts: bool, window: int | None) -> None:
    assert packed_attention("cpu", torch.float32, firsts, window) < 1e-6


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="FlashAttention needs a CUDA device")
@pytest.mark.parametrize("firsts, window", KINDS)
def test_flash_attention_does_the_same(firsts: bool, window: int | None) -> None:
    assert packed_attention("cuda", torch.bfloat16, firsts, window) < 0.02
