"""Reranked searchers inside one another, three levels deep and in batches of several shards: none waits for ever."""

import copy
import faulthandler
import gc
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyserini_rerank.searcher
import pytest
from collection import HashBackend, docids, expected, hashed, listed
from pyserini_rerank import ModelReranker, RerankingSearcher

DEPTH = 15
#: Seconds after which a test is taken to hang; each takes less than one.
LIMIT = 60
QIDS = [f"q{number}" for number in range(12)]


@contextmanager
def limited() -> Iterator[None]:
    """End the process, with the stacks of its threads, where something waits for ever: no lock lets go otherwise."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


@pytest.fixture(autouse=True)
def several_shards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pyserini_rerank.searcher, "SHARD", 2 * DEPTH)
    with limited():
        yield


def model(level: int) -> ModelReranker:
    return ModelReranker(HashBackend(lambda query, text: hashed(query, f"{level} {text}")), f"level {level}")


def reranked(query: str, first: list[str], documents: dict[str, str], levels: int) -> list[str]:
    """What so many levels of reranking make of the first stage's docids."""
    for level in range(levels):
        scored = expected(query, first, documents, DEPTH, lambda query, text, of=level: hashed(query, f"{of} {text}"))
        first = [docid for docid, _ in scored]
    return first


def wrapped(searcher: Any, levels: int, **options: Any) -> Any:
    """Rerank a searcher on so many levels, the first of them by `set_reranker`."""
    searcher.set_reranker(model(0), depth=DEPTH, **options)
    for level in range(1, levels):
        searcher = RerankingSearcher(searcher, model(level), depth=DEPTH, **options)
    return searcher


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pyserini_rerank.ShortfallWarning")
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("kind", ["bm25", "impact", "faiss", "hybrid"])
def test_a_reranked_searcher_in_another(
    kind: str, levels: int, make_searcher: Any, queries: list[str], documents: dict[str, str]
) -> None:
    asked = [f"{query} {number % 2}" for number in range(2) for query in queries]
    plain, searcher = make_searcher(kind), wrapped(make_searcher(kind), levels, texts=documents)
    more = {"k0": DEPTH, "k": DEPTH} if kind == "hybrid" else {"k": DEPTH}
    first = {qid: docids(plain.search(query, **more)) for qid, query in zip(QIDS, asked, strict=True)}
    found = searcher.batch_search(asked, QIDS, k=5)
    for qid, query in zip(QIDS, asked, strict=True):
        if kind == "hybrid":  # which is asked for more, and in which others may tie
            assert len(found[qid]) == 5
        else:
            assert docids(found[qid]) == reranked(query, first[qid], documents, levels)[:5]
        assert listed(searcher.search(query, k=5)) == listed(found[qid])


def hybrid(dense: Any, sparse: Any) -> Any:
    from pyserini.search.hybrid import HybridSearcher

    return HybridSearcher(dense, sparse)


HYBRIDS: dict[str, Callable[[Any, Any], Any]] = {
    "both parts": lambda make, texts: hybrid(wrapped(make("faiss"), 1, texts=texts), wrapped(make("bm25"), 1)),
    "dense part": lambda make, texts: hybrid(wrapped(make("faiss"), 2, texts=texts), make("bm25")),
    "sparse part": lambda make, texts: hybrid(make("faiss"), wrapped(make("bm25"), 2)),
    "hybrid in a hybrid": lambda make, texts: hybrid(
        hybrid(wrapped(make("faiss"), 1, texts=texts), make("impact")), wrapped(make("bm25"), 1)
    ),
    "reranked hybrid in a hybrid": lambda make, texts: hybrid(
        wrapped(hybrid(make("faiss"), wrapped(make("bm25"), 1)), 1, texts=texts), make("impact")
    ),
    "no part": lambda make, texts: hybrid(make("faiss"), hybrid(make("bm25"), make("impact"))),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_hybrid_of_reranked_parts(
    kind: str, make_searcher: Any, queries: list[str], documents: dict[str, str]
) -> None:
    searcher = HYBRIDS[kind](make_searcher, documents)
    # A hybrid gives its parts k0 and threads by their places, so that one within it has another k in a batch.
    batch = searcher.batch_search(queries, QIDS[:6], k0=DEPTH, k=2 * DEPTH)
    single = {qid: searcher.search(query, k0=DEPTH, k=2 * DEPTH) for qid, query in zip(QIDS, queries, strict=False)}
    searcher.set_reranker(model(5), depth=DEPTH, texts=documents)
    found = searcher.batch_search(queries, QIDS[:6], k=5, k0=DEPTH)

    def wanted(query: str, hits: Any) -> list[tuple[str, float]]:
        first = [hit.docid for hit in sorted(hits, key=lambda hit: (-hit.score, hit.docid))][:DEPTH]
        return expected(query, first, documents, 5, lambda query, text: hashed(query, f"5 {text}"))

    for qid, query in zip(QIDS, queries, strict=False):
        assert listed(found[qid]) == wanted(query, batch[qid])
        assert listed(searcher.search(query, k=5, k0=DEPTH)) == wanted(query, single[qid])


def test_a_fusion_of_reranked_parts(make_searcher: Any, queries: list[str], documents: dict[str, str]) -> None:
    fusion = make_searcher("fusion")
    one, two = fusion.get_searchers()
    one.set_reranker(model(1), depth=DEPTH)
    fusion.set_reranker(model(0), depth=DEPTH)
    again = RerankingSearcher(fusion, model(2), depth=DEPTH, texts=documents)
    for query in queries:
        assert len(again.search(query, k=5)) == 5
    assert two.search(queries[0])


def test_nested_searchers_in_threads(make_searcher: Any, queries: list[str], documents: dict[str, str]) -> None:
    from collection import threaded

    searcher = wrapped(make_searcher("bm25"), 3, texts=documents)
    alone = searcher.batch_search(queries, QIDS[:6], k=5)
    wanted = {qid: listed(hits) for qid, hits in alone.items()}

    def batch(_: int) -> Any:
        return {qid: listed(hits) for qid, hits in searcher.batch_search(queries, QIDS[:6], k=5).items()}

    assert threaded(4, batch, list(range(8))) == [wanted] * 8


def test_a_searcher_of_ones_own_with_threads_that_search(
    lucene_index: str, make_searcher: Any, queries: list[str], documents: dict[str, str]
) -> None:
    """Its threads use a reranked searcher, which needs Java's lock: nobody holds it meanwhile."""
    from collection import threaded
    from pyserini.search.lucene import LuceneSearcher

    inner = wrapped(make_searcher("bm25"), 1)

    class Mine(LuceneSearcher):
        def batch_search(self, queries: list[str], qids: list[str], k: int = 10, threads: int = 1) -> dict[str, Any]:
            found = threaded(2, lambda query: inner.search(query, k=k), queries)
            return dict(zip(qids, found, strict=True))

    class AHook(LuceneSearcher):
        """It overrides what Pyserini's own method calls."""

        def batch_search_raw(self, queries: Any, qids: Any, k: Any, threads: Any, *rest: Any) -> Any:
            threaded(2, lambda query: inner.search(query, k=k), list(queries))
            return super().batch_search_raw(queries, qids, k, threads, *rest)

    for kind in (Mine, AHook):
        searcher = kind(lucene_index)
        searcher.set_reranker(model(1), depth=DEPTH)
        found = searcher.batch_search(queries, QIDS[:6], k=5)
        assert all(len(hits) == 5 for hits in found.values())
        searcher.close()


def test_a_text_source_of_ones_own_with_threads_that_search(
    make_searcher: Any, queries: list[str], documents: dict[str, str]
) -> None:
    from collection import threaded

    inner = wrapped(make_searcher("bm25"), 1)

    class Stored:
        def __init__(self, text: str) -> None:
            self.text = text

        def get(self, name: str) -> str | None:
            return self.text if name == "contents" else None

    class Library:
        def doc(self, docid: str) -> Stored:
            [hits] = threaded(1, lambda query: inner.search(query, k=1), queries[:1])
            return Stored(documents[docid] if hits else "")

    searcher = make_searcher("faiss")
    searcher.set_reranker(model(1), depth=5, texts=Library())
    assert len(searcher.batch_search(queries[:2], QIDS[:2], k=3)["q0"]) == 3


# ------------------------------------------------------------------------------------------------- who makes, closes


class Loaded(HashBackend):
    """A backend as `load` makes it; tells whether it is alive and open."""

    made: list["weakref.ref[Loaded]"] = []  # noqa: RUF012

    def __init__(self, name: str, *, fails: bool = False) -> None:
        if fails or name == "fails":
            raise ValueError("this one cannot be loaded")
        super().__init__()
        self.made.append(weakref.ref(self))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list["weakref.ref[Loaded]"]:
    from pyserini_rerank.scoring import backend, backends

    monkeypatch.setitem(sys.modules, f"{backends.__name__}.counted", sys.modules[__name__])
    monkeypatch.setitem(backend.BUILT_IN, "counted", ("counted", "Loaded"))
    monkeypatch.setattr(Loaded, "made", [])
    return Loaded.made


def still_open(made: list["weakref.ref[Loaded]"]) -> list[bool]:
    return [(backend := ref()) is not None and not backend.closed for ref in made]


def test_a_reranker_that_is_replaced_or_unset_is_freed(searcher: Any, query: str, made: Any) -> None:
    for number in range(4):
        searcher.set_reranker(f"model {number}", backend="counted")
        assert still_open(made) == [False] * number + [True]
    assert len(searcher.search(query)) == 10
    with pytest.raises(ValueError, match="cannot be loaded"):
        searcher.set_reranker("fails", backend="counted")
    assert still_open(made)[-1] and len(searcher.search(query)) == 10, "it is as it was"
    searcher.unset_reranker()
    searcher.unset_reranker()
    assert not any(still_open(made)) and len(searcher.search(query)) == 10


def test_a_reranker_that_was_given_stays_open(searcher: Any, hashing: Any, backend: Any, query: str, made: Any) -> None:
    searcher.set_reranker([[hashing, 20], ["model", 10]], backend="counted")
    searcher.set_reranker(hashing)
    assert still_open(made) == [False] and not backend.closed
    with RerankingSearcher(searcher, {"rrf": hashing}) as reranking:
        reranking.search(query)
    with RerankingSearcher(searcher, [[hashing, 20], ["model", 10]], backend="counted") as reranking:
        assert reranking.search(query) and still_open(made) == [False, True]
    searcher.unset_reranker()
    assert still_open(made) == [False, False] and not backend.closed
    assert len(searcher.search(query)) == 10, "the user's own searcher is open"


def test_a_copy_of_a_searcher_leaves_the_original_its_reranker(searcher: Any, query: str, made: Any) -> None:
    plain = listed(searcher.search(query))
    searcher.set_reranker("model", backend="counted")
    wanted = listed(searcher.search(query))
    for _ in range(2):
        copied = copy.copy(searcher)
        assert copied.is_using_reranker() and listed(copied.search(query)) == wanted
        copied.unset_reranker()
        assert listed(copied.search(query)) == plain and still_open(made)[0]
        copied = copy.copy(searcher)
        copied.set_reranker("another", backend="counted")
        assert copied._reranking.first_stage.searcher is copied
        copied.search(query)
        copied.unset_reranker()
        assert listed(searcher.search(query)) == wanted and still_open(made)[0] and not any(still_open(made)[1:])
    searcher.unset_reranker()
    assert not any(still_open(made))


def test_rerankers_that_threads_set_are_closed_but_for_the_last(searcher: Any, query: str, made: Any) -> None:
    with ThreadPoolExecutor(4) as pool:
        for call in [pool.submit(searcher.set_reranker, f"model {i}", backend="counted") for i in range(40)]:
            call.result()
    assert sum(still_open(made)) == 1 and len(searcher.search(query)) == 10
    searcher.unset_reranker()
    assert not any(still_open(made))


def test_a_searcher_that_is_dropped_lets_its_reranker_go(searcher: Any, query: str, made: Any) -> None:
    gc.collect()
    gc.disable()
    try:
        reranking = RerankingSearcher(searcher, "model", backend="counted")
        reranking.search(query)
        reranking.batch_search([query], ["1"])
        del reranking
        assert [ref() for ref in made] == [None], "there is no cycle that holds it"
    finally:
        gc.enable()
    searcher.set_reranker("model", backend="counted")
    searcher.search(query)
    searcher.unset_reranker()
    gc.collect()
    assert [ref() for ref in made] == [None, None]


def test_what_was_loaded_for_a_combination_that_fails_is_freed(searcher: Any, made: Any) -> None:
    for spec in (
        [["model", 20], ["fails", 10]],
        {"ensemble": [["model", 1], [[["model", 5], ["fails", 2]], 1]]},
        {"windows": "model"},
        [["model", 10], ["model", 20]],
        {"interpolation": {"reranker": "model", "alpha": 7}},
    ):
        with pytest.raises(ValueError):
            pyserini_rerank.load(spec, backend="counted")
        with pytest.raises(ValueError):
            searcher.set_reranker(spec, backend="counted")
        assert len(made) and not any(still_open(made))
    assert not searcher.is_using_reranker()


def test_a_reranker_for_which_the_source_is_wrong_is_not_loaded(searcher: Any, made: Any, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="which Lucene cannot open as an index"):
        RerankingSearcher(searcher, "model", backend="counted", texts=tmp_path)
    assert not made


def test_signatures_are_the_searchers_own(searcher: Any, hashing: Any) -> None:
    import inspect

    reranking = RerankingSearcher(searcher, hashing)
    assert list(inspect.signature(reranking.search).parameters)[:2] == ["q", "k"]
    assert "qids" in inspect.signature(RerankingSearcher(reranking, hashing).batch_search).parameters
    assert threading.active_count() < 20
