"""The design's rules of order, for any hits, depth, k and scores that hypothesis can think of."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from collection import HashBackend, listed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyserini_rerank import Cascade, Interpolation, ModelReranker, Reranker, RerankingSearcher, trace
from pyserini_rerank.ranking import Ranking, arrange

pytestmark = pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyDocumentWarning")

FEW, MANY = 60, 3000
"""Examples of each property, in `make test` and in `make stress`."""
TIMES = pytest.mark.parametrize("times", [FEW, pytest.param(MANY, marks=pytest.mark.stress)])

LARGEST, SMALLEST = float(np.finfo(np.float32).max), float(np.finfo(np.float32).smallest_subnormal)
#: Any finite float32, and often those that are equal, next to one another, denormal, huge, or zero of either sign.
SCORES = (
    st.one_of(
        st.floats(width=32, allow_nan=False, allow_infinity=False),
        st.sampled_from([0.0, -0.0, 1.0, float(np.nextafter(np.float32(1), np.float32(2))), -11.25, 8.5, SMALLEST]),
        st.sampled_from([-SMALLEST, 1e-30, 3e9, -3e9, LARGEST, LARGEST / 2, -LARGEST / 2, 5e-7, -5e-7]),
    )
    .map(lambda score: float(np.float32(score)))
    .filter(lambda score: score > -0.9 * LARGEST)
)
NO_NUMBERS = st.sampled_from([math.nan, math.inf, -math.inf])


@dataclass
class Hit:
    """A hit of a searcher of one's own, with a field that is nobody else's business."""

    docid: str
    score: float
    note: dict[str, int] = field(default_factory=dict)


@dataclass
class Case:
    """What was found, what each document says, what the model says of it, and what was asked for."""

    hits: list[Hit]
    texts: dict[str, str]
    scores: dict[str, float]
    """By text."""
    depth: int
    k: int


@st.composite
def cases(draw: st.DrawFn, least: int = 0, most: int = 24) -> Case:
    count = draw(st.integers(least, most))
    # Fewer texts than documents: several say the same.
    numbers = draw(st.lists(st.integers(0, 12), min_size=count, max_size=count))
    texts = {f"d{i}": f"text {number}" if number else " " for i, number in enumerate(numbers)}
    by_text = {f"text {number}": draw(SCORES) for number in sorted({*numbers} - {0})}
    first = sorted(draw(st.lists(SCORES, min_size=count, max_size=count)), reverse=True)
    hits = [Hit(docid, score, {"place": place}) for place, (docid, score) in enumerate(zip(texts, first, strict=True))]
    return Case(hits, texts, by_text, draw(st.integers(1, 30)), draw(st.integers(1, 30)))


def falls(scores: list[float], *, strictly: bool) -> bool:
    pairs = list(zip(scores, scores[1:], strict=False))
    return all(above > below for above, below in pairs) if strictly else all(above >= below for above, below in pairs)


def check(case: Case, depth: int, k: int, given: list[Any], back: list[Any], unchanged: list[tuple[Any, ...]]) -> None:
    """Hold a result against rule 2, which is written out here anew."""
    docids = [hit.docid for hit in given]
    text = {docid: case.texts[docid].strip() for docid in docids}
    scored = [docid for docid in docids[:depth] if text[docid]]
    best = sorted(scored, key=lambda docid: -case.scores[text[docid]])  # a stable sort
    rest = [docid for docid in docids if docid not in set(scored)]
    order = (best + rest)[:k]
    assert [hit.docid for hit in back] == order, "a permutation, cut to k, ties as they came"
    reranked = [float(hit.score) for hit in back[: len(best)]]
    assert reranked == [case.scores[text[docid]] for docid in order[: len(best)]], "what the model said, to the bit"
    all_scores = [float(hit.score) for hit in back]
    assert all(math.isfinite(score) and np.float32(score) == score for score in all_scores)
    assert falls(all_scores, strictly=False)
    tail = all_scores[max(0, len(best) - 1) :]  # from the lowest that was reranked
    assert falls(tail, strictly=True)
    assert falls([float(f"{score:.6f}") for score in tail], strictly=True)
    traces = trace(back)  # type: ignore[arg-type]
    assert [(t.docid, t.first_rank) for t in traces] == [(docid, docids.index(docid) + 1) for docid in order]
    assert [t.score for t in traces] == all_scores
    assert [vars_of(hit) for hit in given] == unchanged, "what others hold stays as it was"
    assert not {id(hit) for hit in back} & {id(hit) for hit in given}


def vars_of(hit: Any) -> tuple[Any, ...]:
    return hit.docid, hit.score, getattr(hit, "note", None) and dict(hit.note), getattr(hit, "lucene_docid", None)


def model(case: Case) -> Reranker:
    return ModelReranker(HashBackend(lambda query, text: case.scores[text]), "given scores")


def quickly(times: int, property_: Any, *strategies: Any) -> None:
    """Run a property so often, with the same examples each time."""
    slow = [HealthCheck.too_slow]
    quiet = settings(max_examples=times, deadline=None, derandomize=True, database=None, suppress_health_check=slow)
    quiet(given(*strategies)(property_))()


# ranking.arrange


@TIMES
def test_arrange(times: int) -> None:
    def property_(scores: list[float], below: int) -> None:
        count = len(scores) + below
        positions, arranged = arrange(Ranking(np.array(scores, dtype=np.float32)), count)
        assert sorted(positions.tolist()) == list(range(count))
        known = [i for i, score in enumerate(scores) if not math.isnan(score)]
        assert positions.tolist() == sorted(known, key=lambda i: -scores[i]) + [
            i for i in range(count) if i not in known
        ]
        values = arranged.tolist()
        assert values[: len(known)] == [scores[i] for i in positions[: len(known)]]
        assert all(map(math.isfinite, values)) and falls(values, strictly=False)
        tail = values[max(0, len(known) - 1) :]
        assert falls(tail, strictly=True) and falls([float(f"{value:.6f}") for value in tail], strictly=True)

    scores = st.lists(st.one_of(SCORES, st.just(math.nan)), max_size=30)
    quickly(times, property_, scores, st.one_of(st.integers(0, 40), st.sampled_from([1000, 10_000])))
    for far in (-LARGEST / 2, LARGEST / 2, LARGEST):  # whose doubles are infinite: the tail came out as ties
        property_([far], 1000)
    with pytest.raises(
        FloatingPointError, match=r"scored -3.40282e\+38, and float32 has no room below that for 3 hits"
    ):
        arrange(Ranking(np.array([-LARGEST], dtype=np.float32)), 4)


# Hits in hand: Python's and Pyserini's own


@TIMES
def test_rerank(times: int) -> None:
    def property_(case: Case) -> None:
        before = [vars_of(hit) for hit in case.hits]
        back = model(case).rerank("a query", case.hits, k=case.k, texts=case.texts)
        check(case, len(case.hits), case.k, case.hits, back, before)
        assert all(
            type(hit) is Hit and hit.note == case.hits[t.first_rank - 1].note
            for hit, t in zip(back, trace(back), strict=True)
        )

    quickly(times, property_, cases())


@TIMES
def test_rerank_of_pyserinis_hits(times: int) -> None:
    import pyserini.search.lucene  # noqa: F401 - starts Java
    from pyserini.pyclass import autoclass
    from pyserini.search.faiss import DenseSearchResult

    scored_doc, document = autoclass("io.anserini.search.ScoredDoc"), autoclass("org.apache.lucene.document.Document")
    field_type = autoclass("org.apache.lucene.document.StoredField")

    def stored(docid: str, text: str) -> Any:
        made = document()
        made.add(field_type("raw", text))
        return made

    def property_(case: Case) -> None:
        reranker = model(case)
        dense = [DenseSearchResult(hit.docid, np.float32(hit.score)) for hit in case.hits]
        lucene = [
            scored_doc(hit.docid, place, hit.score, stored(hit.docid, case.texts[hit.docid]))
            for place, hit in enumerate(case.hits)
        ]
        for hits, texts in ((dense, case.texts), (lucene, None)):
            before = [vars_of(hit) for hit in hits]
            back = reranker.rerank("a query", hits, k=case.k, texts=texts)
            check(case, len(hits), case.k, hits, back, before)
            assert all(type(hit) is type(hits[0]) for hit in back)
            if texts is None:
                assert [hit.lucene_docid for hit in back] == [t.first_rank - 1 for t in trace(back)]
                assert [hit.lucene_document.get("raw") for hit in back] == [case.texts[hit.docid] for hit in back]

    quickly(times // 2, property_, cases(most=8))


# Several rerankers in one


@st.composite
def combined(draw: st.DrawFn) -> tuple[Case, Reranker, int]:
    """A case, a combination of its model, and how many of its hits are scored last."""
    case = draw(cases(least=1))
    if draw(st.booleans()):
        alpha, normalise = draw(st.floats(0, 1)), draw(st.sampled_from(["min-max", "z", "rank", "reciprocal-rank"]))
        return case, Interpolation(model(case), alpha, normalise), with_text(case, len(case.hits))
    depths = sorted(draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)), reverse=True)
    # The stages do not agree.
    other = ModelReranker(HashBackend(lambda query, text: -case.scores[text] / 2), "the opposite")
    cascade = Cascade(list(zip((model(case), other, model(case)), depths, strict=False)))
    return case, cascade, min(depths[-1], with_text(case, depths[0]))


def with_text(case: Case, depth: int) -> int:
    return sum(bool(case.texts[hit.docid].strip()) for hit in case.hits[:depth])


@TIMES
def test_combinations(times: int) -> None:
    def property_(drawn: tuple[Case, Reranker, int]) -> None:
        case, combination, scored = drawn
        before = [vars_of(hit) for hit in case.hits]
        back = combination.rerank("a query", case.hits, texts=case.texts)
        assert sorted(hit.docid for hit in back) == sorted(hit.docid for hit in case.hits), "none lost, none doubled"
        assert all(case.texts[hit.docid].strip() for hit in back[:scored])
        scores = [float(hit.score) for hit in back]
        assert all(map(math.isfinite, scores)) and falls(scores, strictly=False)
        assert falls(scores[max(0, scored - 1) :], strictly=True), "only what was scored last has ties"
        assert listed(combination.rerank("a query", case.hits, k=case.k, texts=case.texts)) == listed(back)[: case.k]
        assert [vars_of(hit) for hit in case.hits] == before

    quickly(times, property_, combined())


# A searcher of one's own


class Searcher:
    """Gives what a case says, and never more than k."""

    def __init__(self, case: Case) -> None:
        self.case = case

    def search(self, q: str, k: int = 10) -> list[Hit]:
        return self.case.hits[:k]

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10, threads: int = 1) -> dict[str, list[Hit]]:
        return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=True)}


@TIMES
def test_searching(times: int) -> None:
    def property_(case: Case) -> None:
        before = [vars_of(hit) for hit in case.hits]
        searcher = RerankingSearcher(Searcher(case), model(case), depth=case.depth, texts=case.texts)
        found = case.hits[: max(case.k, case.depth)]
        back = searcher.search("a query", k=case.k)
        check(case, case.depth, case.k, found, back, before[: len(found)])
        batch = searcher.batch_search(["a query", "another", "a query"], ["1", "2", "3"], k=case.k)
        assert list(batch) == ["1", "2", "3"]
        for hits in batch.values():
            check(case, case.depth, case.k, found, hits, before[: len(found)])

    quickly(times, property_, cases())


@TIMES
def test_what_is_no_number_is_an_error(times: int) -> None:
    def property_(case: Case, data: st.DataObject) -> None:
        wrong = data.draw(st.sampled_from(sorted(case.scores) or ["none"]))
        value = data.draw(NO_NUMBERS)
        case.scores[wrong] = value
        before = [vars_of(hit) for hit in case.hits]
        seen = wrong in [case.texts[hit.docid] for hit in case.hits[: case.depth]]
        searcher = RerankingSearcher(Searcher(case), model(case), depth=case.depth, texts=case.texts)
        if seen:
            with pytest.raises(FloatingPointError) as error:
                searcher.search("a query", k=case.k)
            assert f"scored {value} for 1 pairs" in str(error.value) and repr(wrong) in str(error.value)
        else:
            check(
                case,
                case.depth,
                case.k,
                case.hits[: max(case.k, case.depth)],
                searcher.search("a query", k=case.k),
                before[: max(case.k, case.depth)],
            )
        assert [vars_of(hit) for hit in case.hits] == before

    quickly(times, property_, cases(least=1), st.data())
