"""Sums of several rerankers' scores, against Pyserini's fusion and scipy."""

from typing import Any

import numpy as np
import pytest
import scipy.stats
from collection import HashBackend, docids, hashed
from pyserini_rerank import Ensemble, FirstStageScore, Interpolation, ModelReranker, ReciprocalRankFusion


def other(query: str, text: str) -> float:
    return float(len(text) % 17)


def first_and_model(make_searcher: Any, query: str, depth: int) -> tuple[list[Any], list[Any]]:
    """The same candidates as BM25 ranks them, and as the hashing backend does."""
    first, searcher = make_searcher("bm25"), make_searcher("bm25")
    searcher.set_reranker(ModelReranker(HashBackend(), "hashing"), depth=depth)
    return first.search(query, k=depth), searcher.search(query, k=depth)


def run_of(hits: list[Any]) -> Any:
    from pyserini.trectools import TrecRun

    return TrecRun.from_list([("1", "Q0", hit.docid, i, hit.score, "x") for i, hit in enumerate(hits, 1)])


def fused(run: Any) -> dict[str, float]:
    return {row[2]: float(row[4]) for row in run.to_numpy()}


def test_reciprocal_rank_fusion_is_pyserinis(make_searcher: Any, hashing: Any, query: str) -> None:
    from pyserini.fusion import reciprocal_rank_fusion

    first, model = first_and_model(make_searcher, query, 40)
    theirs = fused(reciprocal_rank_fusion([run_of(first), run_of(model)]))
    searcher = make_searcher("bm25")
    searcher.set_reranker(ReciprocalRankFusion(hashing), depth=40)
    ours = {hit.docid: hit.score for hit in searcher.search(query, k=40)}
    assert len(ours) > 30
    assert ours == pytest.approx(theirs, abs=1e-9)


@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_interpolation_of_raw_scores_is_pyserinis(alpha: float, make_searcher: Any, hashing: Any, query: str) -> None:
    from pyserini.fusion import interpolation

    first, model = first_and_model(make_searcher, query, 40)
    theirs = fused(interpolation([run_of(model), run_of(first)], alpha=alpha))
    searcher = make_searcher("bm25")
    searcher.set_reranker(Interpolation(hashing, alpha, normalise=None), depth=40)
    ours = {hit.docid: hit.score for hit in searcher.search(query, k=40)}
    assert ours == pytest.approx(theirs, abs=1e-5)


NORMALISED = {
    "min-max": lambda scores: (scores - scores.min()) / (scores.max() - scores.min()),
    "z": scipy.stats.zscore,
    "rank": lambda scores: 1 - (scipy.stats.rankdata(-scores) - 1) / len(scores),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NORMALISED)
@pytest.mark.parametrize("kind", ["bm25", "impact", "faiss"])
def test_interpolation_of_normalised_scores(
    name: str, kind: str, make_searcher: Any, query: str, documents: Any
) -> None:
    first = make_searcher(kind).search(query, 25)
    searcher = make_searcher(kind)
    searcher.set_reranker(Interpolation(ModelReranker(HashBackend(), "m"), 0.3, name), depth=25, texts=documents)
    found = searcher.search(query, 25)
    before = np.array([hit.score for hit in first], dtype=np.float32)
    model = np.array([hashed(query, documents[hit.docid]) for hit in first], dtype=np.float32)
    normalise = NORMALISED[name]
    wanted = 0.3 * normalise(model.astype(float)) + 0.7 * normalise(before.astype(float))
    assert [hit.score for hit in found] == pytest.approx(sorted(wanted, reverse=True), abs=1e-6)
    assert docids(found) == [first[i].docid for i in np.argsort(-np.float32(wanted), kind="stable")]


def test_batches_read_the_scores_of_their_own_queries(make_searcher: Any, hashing: Any, queries: list[str]) -> None:
    # In a batch the candidates stay in Java, and their scores are read in bulk when they are asked for.
    one, many = make_searcher("bm25"), make_searcher("bm25")
    for searcher in (one, many):
        searcher.set_reranker(Interpolation(hashing, 0.5), depth=30)
    batch = many.batch_search(queries, list("abcdef"), k=12)
    for query, hits in zip(queries, batch.values(), strict=True):
        assert [(h.docid, h.score) for h in hits] == [(h.docid, h.score) for h in one.search(query, k=12)]


def test_weights(hashing: Any) -> None:
    texts = ["cat", "a dog", "the flea lives long"]
    both = Ensemble([(hashing, 0.25), (ModelReranker(HashBackend(other), "other"), 2)])
    wanted = [0.25 * np.float32(hashed("q", text)) + 2 * other("q", text) for text in texts]
    scores = both.score("q", texts)
    assert scores.dtype == np.float32 and both.counts.pairs == 6
    assert scores.tolist() == pytest.approx(wanted, rel=1e-6)
    assert both.predict([("q", text) for text in texts]).tolist() == scores.tolist()


@pytest.mark.parametrize("normalise", ["min-max", "z", "rank"])
def test_equal_scores_are_no_division_by_zero(normalise: str) -> None:
    constant = Ensemble([(ModelReranker(HashBackend(lambda q, t: 3.0), "constant"), 1)], normalise)
    scores = constant.score("q", ["a", "b"])
    assert np.isfinite(scores).all() and scores[0] == scores[1]


def test_documents_without_text_stay_below(hashing: Any) -> None:
    class Hit:
        def __init__(self, docid: str, score: float) -> None:
            self.docid, self.score = docid, score

    hits = [Hit("empty", 5.0), Hit("d1", 4.0), Hit("d2", 3.0)]
    ranked = ReciprocalRankFusion(hashing).rerank("q", hits, texts={"empty": "", "d1": "cat", "d2": "dog"})
    assert ranked[-1].docid == "empty" and ranked[-1].score < ranked[-2].score


def test_the_first_stage_is_not_there_for_bare_texts(hashing: Any) -> None:
    with pytest.raises(TypeError, match=r"takes the first stage's scores into account: use rerank\(query, hits\)"):
        Interpolation(hashing).score("q", ["text"])
    with pytest.raises(TypeError, match=r"use rerank\(query, hits\)"):
        Ensemble([(hashing, 1), (FirstStageScore(), 1)]).predict([("q", "text")])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: Interpolation(r, 1.5), "alpha is 1.5: give the reranker's weight, from 0 to 1"),
        (lambda r: Interpolation(r, 0.5, "max"), "normalise='max': give one of min-max, z, rank, reciprocal-rank"),
        (lambda r: Ensemble([]), r"the weights of the ensemble are \[\]: give one reranker or more"),
        (lambda r: Ensemble([(r, float("nan"))]), r"the weights of the ensemble are \[nan\]"),
    ],
)
def test_wrong_arguments(make: Any, message: str, hashing: Any) -> None:
    with pytest.raises(ValueError, match=message):
        make(hashing)
