"""Windows of long documents, against those that Hugging Face's own tokenizer cuts and transformers scores."""

from typing import Any

import numpy as np
import pyserini_rerank
import pytest
import torch
from collection import HashBackend
from pyserini_rerank import ModelReranker, Windows
from tiny_checkpoints import build
from transformers import AutoModelForSequenceClassification, AutoTokenizer

NAME = "cross-encoder/ms-marco-MiniLM-L-2-v2"
QUERY = "how long does a flea live?"
LONG = "The flea lives for two or three months, and longer where there is blood. Berlin is a city. " * 30
DOCUMENTS = [LONG, "The flea.", LONG[300:1400], LONG[200:460], "cat " * 64, "cat " * 65, "cat " * 96, "cat " * 97]
SIZE, STRIDE = 64, 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(build(NAME, tmp_path_factory.mktemp("windows")))


@pytest.fixture(scope="module")
def tiny(folder: str) -> Any:
    with pyserini_rerank.load(folder, device="cpu") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def scores_of_windows(folder: str) -> list[list[float]]:
    """The scores of each document's windows, one at a time."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
    room = len(tokenizer(QUERY, "cat").input_ids) - 1 + SIZE
    scores = []
    for document in DOCUMENTS:
        cut = tokenizer(
            QUERY, document, truncation="only_second", max_length=room, stride=SIZE - STRIDE,
            return_overflowing_tokens=True, padding=True, return_tensors="pt",
        )  # fmt: skip
        own = []
        for row in range(len(cut["input_ids"])):
            length = int(cut["attention_mask"][row].sum())
            inputs = {name: cut[name][row : row + 1, :length] for name in tokenizer.model_input_names}
            with torch.inference_mode():
                own.append(model(**inputs).logits.item())
        scores.append(own)
    return scores


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


AGGREGATED = {
    "max": max,
    "first": lambda scores: scores[0],
    "sum": lambda scores: sum(map(sigmoid, scores)),
    2: lambda scores: np.mean(sorted(scores)[-2:]),
    1000: np.mean,
}


@pytest.mark.parametrize("aggregate", AGGREGATED)
def test_windows_are_those_of_hugging_face(aggregate: Any, tiny: Any, scores_of_windows: list[list[float]]) -> None:
    assert [len(own) for own in scores_of_windows][1:] != [1] * 7 and len(scores_of_windows[0]) > 10
    windows = Windows(tiny, SIZE, STRIDE, aggregate)
    wanted = [AGGREGATED[aggregate](own) for own in scores_of_windows]
    assert windows.score(QUERY, DOCUMENTS) == pytest.approx(wanted, abs=1e-4)
    number = 1 if aggregate == "first" else 0
    assert windows.counts.pairs == sum(number or len(own) for own in scores_of_windows)
    assert windows.counts.cut_passages == 0


def test_windows_without_overlap(tiny: Any) -> None:
    windows = Windows(tiny, 32, 32)
    windows.score(QUERY, ["cat " * 64, "cat " * 65])
    assert windows.counts.pairs == 2 + 3


def test_one_window_of_a_whole_text_gives_the_bits_of_the_text(tiny: Any) -> None:
    """Its tokens are those that the model makes of the text itself, and are cut as the text is."""
    with pytest.warns(pyserini_rerank.CutWarning):
        scores = [reranker.score(QUERY, DOCUMENTS).tolist() for reranker in (tiny, Windows(tiny, 9999, 9999))]
    assert scores[0] == scores[1] and len(set(scores[0])) > 5


def test_windows_of_all_queries_are_packed_together(folder: str) -> None:
    with pyserini_rerank.load(folder, device="cpu") as tiny:
        planned = []
        plan = tiny.backend.plan
        tiny.backend.plan = lambda pairs: planned.append(len(pairs)) or plan(pairs)
        Windows(tiny, SIZE, STRIDE).predict([(QUERY, LONG), ("what is berlin?", LONG)])
    assert len(planned) == 1 and planned[0] > 20


def test_a_document_without_text_stays_below(tiny: Any) -> None:
    class Hit:
        def __init__(self, docid: str) -> None:
            self.docid, self.score = docid, 1.0

    with pytest.warns(pyserini_rerank.EmptyDocumentWarning):
        ranked = Windows(tiny).rerank(QUERY, [Hit("empty"), Hit("d")], texts={"empty": "", "d": LONG})
    assert [hit.docid for hit in ranked] == ["d", "empty"]


@pytest.mark.parametrize(("size", "stride"), [(0, 0), (10, 11), (10, 0)])
def test_wrong_sizes(size: int, stride: int, tiny: Any) -> None:
    with pytest.raises(ValueError, match=f"windows of {size} tokens with stride {stride}: give a stride from 1"):
        Windows(tiny, size, stride)


@pytest.mark.parametrize("aggregate", ["mean", 0, -1])
def test_wrong_aggregates(aggregate: Any, tiny: Any) -> None:
    with pytest.raises(ValueError, match=f"aggregate={aggregate!r}: give max, first, sum, or n"):
        Windows(tiny, aggregate=aggregate)


def test_a_backend_that_takes_texts_only() -> None:
    with pytest.raises(ValueError, match="windows are cut by tokens, and hashing takes texts only: use the torch"):
        Windows(ModelReranker(HashBackend(), "hashing"))
