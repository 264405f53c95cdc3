"""A depth for one call."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, docids, expected, listed
from pyserini_rerank import Cascade, ModelReranker, Reranker, RerankingSearcher

QIDS = list("abcdef")


@pytest.mark.parametrize("depth", [1, 7, np.int64(30), 5000])
def test_a_call_with_a_depth_is_one_of_a_searcher_with_that_depth(
    depth: int, searcher: Any, make_searcher: Any, queries: list[str], hashing: Reranker
) -> None:
    searcher.set_reranker(hashing, depth=12)
    other = make_searcher("bm25")
    other.set_reranker(hashing, depth=depth)
    for k in (3, 20):
        usual = searcher.search(queries[0], k)
        found, wanted = searcher.search(queries[0], k, rerank_depth=depth), other.search(queries[0], k)
        assert (listed(found), found.traces, found.scored) == (listed(wanted), wanted.traces, wanted.scored)
        batch, wanted = (
            searcher.batch_search(queries, QIDS, k, rerank_depth=depth),
            other.batch_search(queries, QIDS, k),
        )
        assert {qid: listed(hits) for qid, hits in batch.items()} == {qid: listed(hits) for qid, hits in wanted.items()}
        assert listed(searcher.search(queries[0], k)) == listed(usual), "the next call has the searcher's own depth"


def test_a_cascade_takes_its_own_first_stage_of_more_candidates(
    searcher: Any, query: str, hashing: Reranker, backend: HashBackend
) -> None:
    cheap = ModelReranker(HashBackend(lambda q, t: -len(t)), "shortest")
    searcher.set_reranker(Cascade([(cheap, 20), (hashing, 5)]))
    assert len(searcher.search(query, 30)) == 30
    backend.planned.clear()
    cheap.backend.planned.clear()  # type: ignore[attr-defined]
    searcher.search(query, 3, rerank_depth=40)
    assert (len(cheap.backend.pairs), len(backend.pairs)) == (20, 5)  # type: ignore[attr-defined]
    searcher.search(query, 3, rerank_depth=4)
    assert (len(cheap.backend.pairs), len(backend.pairs)) == (24, 9)  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["search", "batch_search"])
def test_only_the_outermost_of_nested_searchers_has_it(
    method: str, searcher: Any, make_searcher: Any, query: str, hashing: Reranker, backend: HashBackend
) -> None:
    inner_backend = HashBackend(lambda q, t: -len(t))
    searcher.set_reranker(ModelReranker(inner_backend, "shortest"), depth=10)
    outer = RerankingSearcher(searcher, hashing, depth=5)

    def call(**options: Any) -> Any:
        if method == "search":
            return outer.search(query, 6, **options)
        return outer.batch_search([query], ["1"], 6, **options)["1"]

    call()
    assert (len(inner_backend.pairs), len(backend.pairs)) == (10, 5)
    wanted = expected(query, docids(searcher.search(query, 25)), dict(_texts(searcher, query)), 6)
    inner_backend.planned.clear()
    backend.planned.clear()
    assert listed(call(rerank_depth=25)) == wanted
    assert (len(inner_backend.pairs), len(backend.pairs)) == (10, 25)


def _texts(searcher: Any, query: str) -> Any:
    import json

    for hit in searcher.search(query, 25):
        yield hit.docid, json.loads(searcher.doc(hit.docid).raw())["contents"].strip()


def test_threads_with_depths_of_their_own(queries: list[str], hashing: Reranker) -> None:
    class Searcher:
        def search(self, query: str, k: int = 10) -> list[Any]:
            return [Hit(f"d{i}", float(k - i)) for i in range(k)]

    searcher = RerankingSearcher(Searcher(), hashing, texts=lambda docid: f"text of {docid}")
    depths = list(range(1, 60))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda depth: searcher.search("flea", 60, rerank_depth=depth).scored, depths))
    assert found == depths and searcher.depth == 100


class Hit:
    def __init__(self, docid: str, score: float) -> None:
        self.docid, self.score = docid, score


def test_compare_with_a_depth(searcher: Any, query: str, hashing: Reranker) -> None:
    searcher.set_reranker(hashing, depth=5)
    made = pyserini_rerank.compare(searcher, query, k=8, rerank_depth=12)
    searcher.set_reranker(hashing, depth=12)
    assert made == pyserini_rerank.compare(searcher, query, k=8) and made.depth == 12


@pytest.mark.parametrize(
    ("depth", "error", "message"),
    [
        (0, ValueError, "rerank_depth is 0: give 1 or more"),
        (2.5, TypeError, "rerank_depth is 2.5: give a whole number"),
    ],
)
def test_a_depth_that_is_none(
    depth: Any, error: type[Exception], message: str, searcher: Any, query: str, hashing: Reranker
) -> None:
    searcher.set_reranker(hashing)
    for call in (
        lambda: searcher.search(query, rerank_depth=depth),
        lambda: searcher.batch_search([query], ["1"], rerank_depth=depth),
        lambda: pyserini_rerank.compare(searcher, query, rerank_depth=depth),
    ):
        with pytest.raises(error, match=f"^{message}"):
            call()


@pytest.mark.parametrize("kind", ["faiss", "binary", "hybrid", "bm25"])
def test_a_depth_beyond_all_documents(
    kind: str, make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str], numbered: dict[str, str]
) -> None:
    """Faiss takes memory for as many hits as it is asked for, and without that ends the process."""
    searcher = make_searcher(kind)
    searcher.set_reranker(hashing, texts=numbered if kind == "binary" else documents)
    found = searcher.search(query, 20, rerank_depth=10**12)
    assert listed(found) == listed(searcher.search(query, 20, rerank_depth=len(documents)))
    assert listed(searcher.batch_search([query], ["1"], 20, rerank_depth=10**12)["1"]) == listed(found)
