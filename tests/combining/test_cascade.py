"""A cascade is one reranking searcher around another, in one reranker."""

from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, docids, hashed, listed
from pyserini_rerank import Cascade, ModelReranker, RerankingSearcher


def shortest(query: str, text: str) -> float:
    return -len(text)


@pytest.fixture
def stages() -> list[tuple[ModelReranker, int]]:
    return [(ModelReranker(HashBackend(shortest), "shortest"), 30), (ModelReranker(HashBackend(), "hashing"), 10)]


@pytest.mark.parametrize("k", [5, 20, 60])
def test_it_ranks_as_two_searchers_do(
    k: int, searcher: Any, make_searcher: Any, queries: list[str], stages: Any
) -> None:
    (cheap, _), (dear, _) = stages
    nested = RerankingSearcher(RerankingSearcher(make_searcher("bm25"), cheap, depth=30), dear, depth=10)
    searcher.set_reranker(Cascade(stages), depth=30)
    qids = list("abcdef")
    ours, theirs = searcher.batch_search(queries, qids, k=k), nested.batch_search(queries, qids, k=k)
    for qid in qids:
        assert docids(ours[qid]) == docids(theirs[qid])
        # Theirs below the tenth are the cheap scores of a search of their own; ours go on below the dear ones.
        assert listed(ours[qid])[:10] == listed(theirs[qid])[:10]


def test_scores_fall_strictly_below_the_last_stage(searcher: Any, query: str, stages: Any) -> None:
    searcher.set_reranker(Cascade(stages), depth=30)
    scores = [score for _, score in listed(searcher.search(query, k=50))]
    assert scores[:10] == sorted(scores[:10], reverse=True)
    printed = [float(f"{score:.6f}") for score in scores[9:]]
    assert len(printed) > 25 and all(a > b for a, b in zip(printed, printed[1:], strict=False))


def test_each_stage_scores_its_depth(searcher: Any, query: str, stages: Any) -> None:
    searcher.set_reranker(Cascade(stages))
    searcher.search(query, k=3)
    assert searcher._reranking.depth == 30
    assert [len(part.backend.pairs) for part, _ in stages] == [30, 10]
    assert searcher._reranking.reranker.counts.pairs == 40


def test_three_stages_and_an_empty_document() -> None:
    texts = {"d0": "aa", "d1": "a", "d2": "", "d3": "aaaa", "d4": "aaa", "d5": "aaaaa"}
    parts = [ModelReranker(HashBackend(score), "m") for score in (shortest, lambda q, t: len(t), hashed)]
    cascade = Cascade(list(zip(parts, (5, 3, 2), strict=True)))
    hits = [Hit(docid, 9.0 - i) for i, docid in enumerate(texts)]
    ranked = cascade.rerank("q", hits, texts=texts)
    # The first five but d2, by length: d1 d0 d4 d3. The first three of them, longest first: d4 d0 d1. Two are hashed.
    best = sorted(["d4", "d0"], key=lambda docid: -hashed("q", texts[docid]))
    assert docids(ranked) == [*best, "d1", "d3", "d2", "d5"]
    assert np.all(np.diff([hit.score for hit in ranked][1:]) < 0)


def test_real_models_give_the_same_bits_alone_and_in_a_cascade(
    searcher: Any, make_searcher: Any, query: str, reranker: Any
) -> None:
    searcher.set_reranker([(reranker, 8), (reranker, 8)])
    alone = make_searcher("bm25")
    alone.set_reranker(reranker, depth=8)
    assert listed(searcher.search(query, k=8)) == listed(alone.search(query, k=8))


@pytest.mark.parametrize("depths", [[], [10, 30], [10, 0]])
def test_wrong_depths(depths: list[int], hashing: Any) -> None:
    with pytest.raises(ValueError, match=r"the depths of the cascade are .*: give one stage or more"):
        Cascade([(hashing, depth) for depth in depths])


def test_closing_it_closes_its_stages(stages: Any) -> None:
    backends = [reranker.backend for reranker, _ in stages]
    with pyserini_rerank.load(stages):
        pass
    assert [backend.closed for backend in backends] == [True, True]


class Hit:
    def __init__(self, docid: str, score: float) -> None:
        self.docid, self.score = docid, score
