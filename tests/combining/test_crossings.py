"""Where a combination meets empty texts, a score cache, threads and blank queries: it gives the bits that it gives
without them."""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from collection import listed, threaded
from pyserini_rerank import (
    Cascade,
    Counts,
    EmptyDocumentWarning,
    EmptyQueryWarning,
    Ensemble,
    Interpolation,
    Reranker,
    RerankingSearcher,
    Segments,
    Windows,
    load,
    trace,
)
from tiny_checkpoints import build

NAMES = ["cross-encoder/ms-marco-TinyBERT-L-2-v2", "cross-encoder/ms-marco-MiniLM-L-2-v2"]
WORDS = ["berlin", "people", "live", "flea", "cycle", "museum", "long", "river", "straße", "unbelievable", "3,520"]
QUERY = "how long do people live?"
MAX_LENGTH = 48
SIZE, STRIDE = 16, 8

pytestmark = pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")


@dataclass
class Hit:
    docid: str
    score: float


def texts() -> dict[str, str]:
    """Eight documents of three segments: one is empty, two say the same, and some are longer than a model reads."""
    chance = random.Random(5)
    made = {f"D{i // 3}.{i % 3}": " ".join(chance.choices(WORDS, k=chance.choice((3, 12, 40)))) for i in range(24)}
    return made | {"D1.2": " ", "D2.1": "flea " * 200, "D4.0": made["D3.2"]}


TEXTS = texts()
HITS = [Hit(docid, 30.0 - rank) for rank, docid in enumerate(TEXTS)]


class Everything:
    """A searcher that finds all documents for every query."""

    def search(self, query: str, k: int = 10) -> list[Hit]:
        return HITS[:k]

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10) -> dict[str, list[Hit]]:
        return dict.fromkeys(qids, HITS[:k])


def segments(part: Reranker, aggregate: Any = "max") -> Segments:
    return Segments(part, aggregate, delimiter=".")


#: Combinations of two checkpoints with one vocabulary.
COMBINATIONS: dict[str, Callable[[Reranker, Reranker], Reranker]] = {
    "segments": lambda one, other: segments(one),
    "windows": lambda one, other: Windows(one, SIZE, STRIDE, 2),
    "cascade": lambda one, other: Cascade([(one, 12), (other, 5)]),
    "interpolation": lambda one, other: Interpolation(one, 0.7),
    "windows of a cascade": lambda one, other: Windows(Cascade([(one, 12), (other, 5)]), SIZE, STRIDE),
    "segments of windows": lambda one, other: segments(Windows(one, SIZE, STRIDE)),
    "segments of first windows": lambda one, other: segments(Windows(one, SIZE, STRIDE, "first"), 2),
    "windows of segments": lambda one, other: Windows(segments(one, "sum"), SIZE, STRIDE),
    "segments of both": lambda one, other: segments(Interpolation(Ensemble([(one, 1), (other, 0.5)], "z"))),
}
COMBINED = pytest.mark.parametrize("combination", COMBINATIONS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [str(build(name, tmp_path_factory.mktemp("models"))) for name in NAMES]


@pytest.fixture(scope="module")
def models(folders: list[str]) -> Iterator[list[Reranker]]:
    loaded = [load(folder, device="cpu", max_length=MAX_LENGTH) for folder in folders]
    yield loaded
    for model in loaded:
        model.close()


def bits(hits: Any) -> list[tuple[str, str]]:
    return [(docid, score.hex()) for docid, score in listed(hits)]


# ---------------------------------------------------------------------------------------------------------- empty texts


@COMBINED
def test_an_empty_text_changes_nothing_beside_it(combination: str, models: list[Reranker]) -> None:
    reranker, without = (COMBINATIONS[combination](*models) for _ in range(2))
    hits = HITS[:12]  # as many as the cascades take
    with pytest.warns(EmptyDocumentWarning):
        found = reranker.rerank(QUERY, hits, texts=TEXTS)
    alone = without.rerank(QUERY, [hit for hit in hits if TEXTS[hit.docid].strip()], texts=TEXTS)
    assert bits(found)[: found.scored] == bits(alone)[: alone.scored]
    assert vars(reranker.counts) == vars(without.counts) | {"empty": 1}
    assert reranker.counts.scored > 0 and (reranker.counts.cut_passages > 0) == ("windows" not in combination)


class Own(Reranker):
    """A reranker that somebody has written for texts."""

    def __init__(self) -> None:
        super().__init__("own")

    def relevance(self, queries: Any, found: Any, counts: Counts) -> Any:
        return [[len(text) for text in passages.texts] for passages in found]


def test_windows_of_a_reranker_of_ones_own_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match="^windows are cut by tokens, and own takes texts only: use the torch, onnx or openvino backend",
    ):
        Windows(Own())


# -------------------------------------------------------------------------------------------------------- score caches


@contextmanager
def cached(combination: str, folders: list[str], cache: Path) -> Iterator[Reranker]:
    """A combination of checkpoints that keep their scores."""
    loaded = [load(folder, device="cpu", max_length=MAX_LENGTH, cache=cache) for folder in folders]
    with COMBINATIONS[combination](*loaded) as reranker:
        yield reranker


@COMBINED
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyDocumentWarning")
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyQueryWarning")
def test_the_second_time_all_scores_are_known(
    combination: str, folders: Any, models: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    def search(reranker: Reranker) -> Any:
        searcher = RerankingSearcher(Everything(), reranker, texts=TEXTS)
        found = searcher.batch_search([QUERY, " ", "flea museum", ""], list("1234"), k=30)
        return {qid: bits(hits) for qid, hits in found.items()}, reranker.counts

    wanted = search(COMBINATIONS[combination](*models))
    assert wanted[0]["2"] == wanted[0]["4"] == bits(HITS) and wanted[1].empty_queries == 2
    for known in (0, wanted[1].scored):
        with cached(combination, folders, tmp_path) as reranker:
            assert search(reranker) == wanted
            assert sum(model.known_scores for model in reranker.leaves()) == known
        monkeypatch.setattr("pyserini_rerank.scoring.backends.torch_backend.TorchBackend.run", None)


@pytest.mark.slow
@pytest.mark.parametrize("combination", ["windows of a cascade", "segments of windows"])
def test_threads_that_share_a_cache(
    combination: str, folders: list[str], models: Any, searcher: Any, queries: list[str], tmp_path: Path
) -> None:
    """Each query is searched by four threads, of which some find its scores and some compute them."""
    one = COMBINATIONS[combination](*models)
    searcher.set_reranker(one, depth=15)
    wanted = [bits(searcher.search(query, 10)) for query in queries]
    with cached(combination, folders, tmp_path) as reranker:
        searcher.set_reranker(reranker, depth=15)
        assert threaded(4, lambda query: bits(searcher.search(query, 10)), [*queries] * 4) == wanted * 4
        assert reranker.counts.scored == 4 * one.counts.scored
        assert len(next(reranker.leaves()).backend.store) == one.counts.scored, "each once"
        searcher.unset_reranker()


# -------------------------------------------------------------------------------------------------------- blank queries


@COMBINED
@pytest.mark.parametrize("shard", [15, 20_000], ids=["a query a shard", "one shard"])
def test_blank_queries_change_nothing_beside_them(
    combination: str, shard: int, models: Any, searcher: Any, make_searcher: Any, queries: Any, monkeypatch: Any
) -> None:
    """One that finds nothing, since it is blank, and one that finds hits, and has nothing to rerank them with."""
    monkeypatch.setattr("pyserini_rerank.searcher.SHARD", shard)
    asked, with_texts = [queries[0], " ", queries[1], queries[2]], [queries[0], " ", "\n", queries[2]]
    first = make_searcher("bm25").batch_search(asked, list("1234"), k=10)
    assert len(first["2"]) == 0 and len(first["3"]) > 5
    reranker = COMBINATIONS[combination](*models)
    searcher.set_reranker(reranker, depth=15)
    alone = searcher.batch_search([queries[0], queries[2]], list("14"), k=10)
    before = replace(reranker.counts)
    assert before.scored and not before.empty_queries
    with pytest.warns(EmptyQueryWarning, match="2 queries are empty"):
        found = searcher.batch_search(asked, list("1234"), k=10, rerank_queries=with_texts)
    assert list(found) == list("1234")
    for qid in "23":
        assert bits(found[qid]) == bits(first[qid]) and found[qid].scored == 0
    for qid in "14":
        assert bits(found[qid]) == bits(alone[qid]) and trace(found[qid]) == trace(alone[qid])
    assert vars(reranker.counts) == {name: 2 * count for name, count in vars(before).items()} | {"empty_queries": 2}
