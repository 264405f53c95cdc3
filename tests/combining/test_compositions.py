"""Every combination inside every other, held against a plain evaluation of what the combinations are said to do."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from collection import HashBackend, WordBackend, hashed, listed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyserini_rerank import (
    Cascade,
    Counts,
    Ensemble,
    FirstStageScore,
    Interpolation,
    ModelReranker,
    ReciprocalRankFusion,
    Reranker,
    RerankingSearcher,
    Segments,
    Windows,
    trace,
)
from pyserini_rerank.passages import Passages

FEW, MANY = 150, 5000
TIMES = pytest.mark.parametrize("times", [FEW, pytest.param(MANY, marks=pytest.mark.stress)])
NAN = float("nan")
SIZE, STRIDE = 3, 2
NORMALISATIONS = [None, "min-max", "z", "rank", "reciprocal-rank"]
AGGREGATES = ["max", "first", "sum", 1, 2]
WORDS = ["flea", "cat", "dog", "blood", "house", "of", "the", "lives"]


@dataclass
class Hit:
    docid: str
    score: float


def one(query: str, text: str) -> float:
    return hashed(query, text) / 4


def other(query: str, text: str) -> float:
    return hashed(text, query)


# ------------------------------------------------------------------------------------------------ what is said of them
#
# A specification is a tuple: the kind and its arguments. A document is a list of words, or (parts, aggregate). A
# ranking is the scores by position, NaN for none, and the positions behind.


def made(spec: Any) -> Reranker:
    kind, *arguments = spec
    if kind in (one, other):
        return ModelReranker(WordBackend(kind), kind.__name__)
    if kind in (Cascade, Ensemble):
        return kind([(made(part), number) for part, number in arguments[0]], *arguments[1:])
    return kind(*map(made, arguments[:1]), *arguments[1:])


def score_of(document: Any, score: Any, query: str) -> float:
    if isinstance(document, tuple):
        parts, aggregate = document
        scores = [score_of(part, score, query) for part in parts]
        if aggregate == "sum":
            return sum(1 / (1 + math.exp(-one)) for one in scores)
        best = {"max": max(scores), "first": scores[0]}
        return best[aggregate] if isinstance(aggregate, str) else float(np.mean(sorted(scores)[-aggregate:]))
    return float(score(query, WordBackend().tokenize([" ".join(document)])[0].hex()))


def windows_of(document: Any, aggregate: Any) -> Any:
    if isinstance(document, tuple):
        return [windows_of(part, aggregate) for part in document[0]], document[1]
    starts = [0]
    while starts[-1] + SIZE < len(document) and aggregate != "first":
        starts.append(starts[-1] + STRIDE)
    return [document[start : start + SIZE] for start in starts], aggregate


def in_order(scores: list[float], behind: list[int]) -> list[int]:
    known = [place for place, score in enumerate(scores) if not math.isnan(score)]
    return sorted(known, key=lambda place: -np.float32(scores[place])) + behind


def normalised(scores: list[float], order: list[int], how: str | None) -> dict[int, float]:
    """The normalised score of those in the order; ranks are over all of them, and equal scores share their ranks."""
    if how is None or not order:
        return {place: scores[place] for place in order}
    if how in ("rank", "reciprocal-rank"):
        ranks = {place: float(rank) for rank, place in enumerate(order, 1)}
        if how == "reciprocal-rank":
            return {place: 1 / (60 + rank) for place, rank in ranks.items()}
        same = {p: [q for q in order if scores[q] == scores[p]] or [p] for p in order}
        return {p: 1 - (np.mean([ranks[q] for q in same[p]]) - 1) / len(order) for p in order}
    values = np.array([scores[place] for place in order])
    low, wide = (values.min(), np.ptp(values)) if how == "min-max" else (values.mean(), values.std())
    return {place: (scores[place] - low) / (wide or 1) for place in order}


def ranked(spec: Any, query: str, docids: list[str], documents: list[Any], first: list[float]) -> Any:
    kind, *arguments = spec
    count = len(documents)
    if kind in (one, other):
        return [score_of(document, kind, query) if document else NAN for document in documents], []
    if kind is FirstStageScore:
        return [score if document else NAN for document, score in zip(documents, first, strict=True)], []
    if kind is Windows:
        inner, _, _, aggregate = arguments
        cut = [windows_of(document, aggregate) if document else [] for document in documents]
        return ranked(inner, query, docids, cut, first)
    if kind is Segments:
        inner, aggregate = arguments
        rows: dict[str, list[int]] = {}
        for place, docid in enumerate(docids):
            if documents[place]:
                rows.setdefault(docid.rpartition("#")[0] or docid, []).append(place)
        whole = [([documents[place] for place in places], aggregate) for places in rows.values()]
        scores, behind = ranked(inner, query, list(rows), whole, [first[places[0]] for places in rows.values()])
        spread = [NAN] * count
        for places, score in zip(rows.values(), scores, strict=True):
            for place in places:
                spread[place] = score
        return spread, [place for document in behind for place in list(rows.values())[document]]
    if kind is Cascade:
        order, left = list(range(count))[: arguments[0][0][1]], []
        for part, depth in arguments[0]:
            head, left = order[:depth], order[depth:] + left
            at = [[some[place] for place in head] for some in (docids, documents, first)]
            scores, behind = ranked(part, query, *at)
            order = [head[place] for place in in_order(scores, behind)]
        spread = [NAN] * count
        for place, score in zip(head, scores, strict=True):
            spread[place] = score
        return spread, [head[place] for place in behind] + left
    if kind is Interpolation:
        inner, alpha, how = arguments
        return ranked(
            (Ensemble, [(inner, alpha), ((FirstStageScore,), 1 - alpha)], how), query, docids, documents, first
        )
    if kind is ReciprocalRankFusion:
        weighted = [(arguments[0], 1), ((FirstStageScore,), 1)]
        return ranked((Ensemble, weighted, "reciprocal-rank"), query, docids, documents, first)
    weighted, how = arguments
    parts = [ranked(part, query, docids, documents, first) for part, _ in weighted]
    orders = [in_order(*part) for part in parts]
    placed = set.intersection(*map(set, orders))
    scored = [place for place in range(count) if all(not math.isnan(scores[place]) for scores, _ in parts)]
    if how in ("rank", "reciprocal-rank"):
        scored = sorted(placed)
    total = [NAN] * count
    normal = [
        normalised(scores, [place for place in order if place in scored], how)
        for (scores, _), order in zip(parts, orders, strict=True)
    ]
    for place in scored:
        total[place] = sum(weight * values[place] for (_, weight), values in zip(weighted, normal, strict=True))
    order = next((order for (_, behind), order in zip(parts, orders, strict=True) if behind), orders[0])
    return total, [] if how in ("rank", "reciprocal-rank") else [p for p in order if p in placed and p not in scored]


def sums_on_a_path(spec: Any) -> int:
    """How often probabilities would be added on the way to a checkpoint: more than once is not defined."""
    kind, *arguments = spec
    if kind in (one, other, FirstStageScore):
        return 0
    parts = [part for part, _ in arguments[0]] if kind in (Cascade, Ensemble) else arguments[:1]
    return max(map(sums_on_a_path, parts)) + (kind in (Windows, Segments) and arguments[-1] == "sum")


def asked(spec: Any) -> int | None:
    """How many candidates it is made for."""
    kind, *arguments = spec
    if kind is Cascade:
        return arguments[0][0][1]
    if kind in (one, other, FirstStageScore):
        return None
    parts = [part for part, _ in arguments[0]] if kind is Ensemble else arguments[:1]
    return max((depth for depth in map(asked, parts) if depth), default=None)


# ------------------------------------------------------------------------------------------------------ what they do


def weights(part: Any) -> Any:
    return st.lists(st.tuples(part, st.sampled_from([0.25, 1.0, 2.0])), min_size=1, max_size=2)


@st.composite
def cascades(draw: st.DrawFn, part: Any) -> Any:
    parts = draw(st.lists(part, min_size=1, max_size=3))
    depths = sorted(draw(st.lists(st.integers(1, 12), min_size=len(parts), max_size=len(parts))), reverse=True)
    return Cascade, list(zip(parts, depths, strict=True))


def larger(part: Any) -> Any:
    return st.one_of(
        cascades(part),
        st.tuples(st.just(Ensemble), weights(part), st.sampled_from(NORMALISATIONS)),
        st.tuples(st.just(Interpolation), part, st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from(NORMALISATIONS)),
        st.tuples(st.just(ReciprocalRankFusion), part),
        st.tuples(st.just(Windows), part, st.just(SIZE), st.just(STRIDE), st.sampled_from(AGGREGATES)),
        st.tuples(st.just(Segments), part, st.sampled_from(AGGREGATES)),
    )


LEAVES = st.sampled_from([(one,), (other,)])
SPECS = larger(st.recursive(LEAVES, larger, max_leaves=4))
TEXTS = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)


@st.composite
def results(draw: st.DrawFn) -> tuple[list[Hit], dict[str, str]]:
    """Hits of none to fifteen segments of a few documents, of which some are empty and some say the same."""
    found = draw(st.lists(st.tuples(st.integers(0, 5), TEXTS), max_size=15))
    texts = {f"D{document}#{number}": text for number, (document, text) in enumerate(found)}
    first = sorted(draw(st.lists(st.floats(-5, 30, width=32), min_size=len(texts), max_size=len(texts))), reverse=True)
    return [Hit(docid, score) for docid, score in zip(texts, first, strict=True)], texts


def quickly(times: int, property_: Any, *strategies: Any) -> None:
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
    quiet = settings(max_examples=times, deadline=None, derandomize=True, database=None, suppress_health_check=slow)
    quiet(given(*strategies)(property_))()


@TIMES
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyDocumentWarning")
def test_every_combination_does_what_is_said_of_it(times: int) -> None:
    def property_(spec: Any, found: tuple[list[Hit], dict[str, str]]) -> None:
        hits, texts = found
        if sums_on_a_path(spec) > 1:
            with pytest.raises(ValueError, match="neither logits nor probabilities"):
                made(spec)
            return
        reranker = made(spec)
        assert reranker.depth == asked(spec)
        docids, first = [hit.docid for hit in hits], [hit.score for hit in hits]
        passages = Passages(docids, [texts[docid] for docid in docids], lambda: np.array(first, dtype=np.float32))
        [ranking] = reranker.rankings(["q"], [passages], Counts())
        scores, behind = ranked(spec, "q", docids, [texts[docid].split() for docid in docids], first)
        np.testing.assert_allclose(ranking.scores, scores, rtol=1e-5, atol=1e-5)
        # What rounding may tell apart is put in order by the ranking's own scores.
        assert ranking.scored == sum(not math.isnan(score) for score in scores)
        if len({round(score, 4) for score in scores if not math.isnan(score)}) == ranking.scored:
            assert ranking.behind.tolist() == behind

        back = reranker.rerank("q", hits, texts=texts)
        collapsed = isinstance(reranker, Segments)
        wanted = {docid.rpartition("#")[0] for docid in docids} if collapsed else set(docids)
        assert len(back) == len(wanted) and {hit.docid for hit in back} == wanted, "none lost, none doubled"
        values = [float(hit.score) for hit in back]
        assert all(map(math.isfinite, values)) and values == sorted(values, reverse=True)
        tail = values[max(0, back.scored - 1) :]
        assert all(above > below for above, below in zip(tail, tail[1:], strict=False))
        real = {docid for docid, score in zip(docids, scores, strict=True) if not math.isnan(score)}
        assert {place.first_docid for place in trace(back)[: back.scored]} <= real
        assert back.scored == len({docid.rpartition("#")[0] for docid in real} if collapsed else real)
        assert listed(reranker.rerank("q", hits, k=3, texts=texts)) == listed(back)[:3]

    quickly(times, property_, SPECS, results())


class Searcher:
    """Finds what its case says for a query: nothing, one, a few or many."""

    def __init__(self, found: dict[str, list[Hit]]) -> None:
        self.found = found

    def search(self, query: str, k: int = 10) -> list[Hit]:
        return self.found[query][:k]

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10) -> dict[str, list[Hit]]:
        return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=True)}


KINDS = {
    "cascade": lambda part: Cascade([(part, 8), (ModelReranker(WordBackend(other), "other"), 3)]),
    "ensemble": lambda part: Ensemble([(part, 1), (ModelReranker(WordBackend(other), "other"), 0.5)], "z"),
    "interpolation": lambda part: Interpolation(part, 0.7),
    "rrf": ReciprocalRankFusion,
    "segments": Segments,
    "windows": lambda part: Windows(part, SIZE, STRIDE),
}


@pytest.mark.parametrize("outer", KINDS)
@pytest.mark.parametrize("inner", KINDS)
def test_a_query_does_not_depend_on_those_beside_it(outer: str, inner: str) -> None:
    """A query that finds nothing, one hit, or many, alone and in a batch; the first stage is asked deep enough."""
    random = np.random.default_rng(7)
    texts = {f"D{i // 3}#{i % 3}": " ".join(random.choice(WORDS, 1 + i % 9)) for i in range(60)}
    counts = {"none": 0, "single": 1, "few": 5, "many": 60}
    hits = {query: [Hit(docid, 50.0 - i) for i, docid in enumerate(texts)][:n] for query, n in counts.items()}
    reranker = KINDS[outer](KINDS[inner](ModelReranker(WordBackend(one), "one")))
    searcher = RerankingSearcher(Searcher(hits), reranker, texts=texts)
    assert searcher.depth == (8 if "cascade" in (outer, inner) else 100)
    together = searcher.batch_search(list(counts), list("1234"), k=100)
    for qid, (query, count) in zip("1234", counts.items(), strict=True):
        alone = searcher.search(query, k=100)
        assert listed(alone) == listed(together[qid])
        # A hit a document where segments become documents last.
        assert len(alone) == (
            len({docid.split("#")[0] for docid in list(texts)[:count]}) if outer == "segments" else count
        )


def test_windows_over_a_cascade_are_a_cascade_over_windows() -> None:
    def both() -> list[ModelReranker]:
        return [ModelReranker(WordBackend(score), score.__name__) for score in (one, other)]

    random = np.random.default_rng(3)
    texts = {f"d{i}": " ".join(random.choice(WORDS, 40)) for i in range(30)}
    hits = [Hit(docid, 50.0 - i) for i, docid in enumerate(texts)]
    (cheap, dear), (cheap_again, dear_again) = both(), both()
    outside = Windows(Cascade([(cheap, 30), (dear, 10)]), SIZE, STRIDE)
    inside = Cascade([(Windows(cheap_again, SIZE, STRIDE), 30), (Windows(dear_again, SIZE, STRIDE), 10)])
    ours, theirs = (reranker.rerank("q", hits, texts=texts) for reranker in (outside, inside))
    assert listed(ours) == listed(theirs) and ours.scored == theirs.scored == 10
    assert len({text for _, text in cheap.backend.pairs}) > 30, "windows of all thirty documents"


# -------------------------------------------------------------------------------------------------- scales and orders


def scaled(scale: str, score: Any = one) -> ModelReranker:
    backend = WordBackend(score)
    backend.scale = scale  # type: ignore[attr-defined]
    return ModelReranker(backend, f"of {scale}")


def in_unit(query: str, text: str) -> float:
    return (hashed(query, text) + 10) / 20


@pytest.mark.parametrize("make", [lambda part: Windows(part, SIZE, STRIDE, "sum"), lambda part: Segments(part, "sum")])
def test_a_sum_is_of_probabilities(make: Any) -> None:
    texts = {f"D{i % 4}#{i}": " ".join(WORDS[i % 5 : i % 5 + 4]) for i in range(12)}
    hits = [Hit(docid, 20.0 - i) for i, docid in enumerate(texts)]
    as_they_are = make(scaled("probability", in_unit)).rerank("q", hits, texts=texts)
    logits = make(scaled("logit", lambda q, t: math.log(in_unit(q, t) / (1 - in_unit(q, t)))))
    through_sigmoid = logits.rerank("q", hits, texts=texts)
    assert [hit.docid for hit in as_they_are] == [hit.docid for hit in through_sigmoid]
    scores = [hit.score for hit in through_sigmoid]
    assert [hit.score for hit in as_they_are] == pytest.approx(scores, abs=1e-5)
    for undefined in (scaled("other"), ReciprocalRankFusion(scaled("other")), Cascade([(scaled("other"), 5)])):
        with pytest.raises(ValueError, match="scores of .* are neither logits nor probabilities"):
            make(undefined)


def test_probabilities_are_those_of_logits_and_of_nothing_else() -> None:
    texts = ["flea", "cat", "dog"]
    assert scaled("probability", in_unit).score("q", texts, probability=True).tolist() == (
        scaled("probability", in_unit).score("q", texts).tolist()
    )
    logits = scaled("logit").score("q", texts).astype(np.float64)
    assert scaled("logit").score("q", texts, probability=True) == pytest.approx(1 / (1 + np.exp(-logits)), abs=1e-7)
    with np.errstate(over="raise"):
        far = scaled("logit", lambda q, t: -5000.0).score("q", texts, probability=True)
    assert far.tolist() == [0, 0, 0] and far.dtype == np.float32
    for reranker in (
        scaled("other"),
        Ensemble([(scaled("logit"), 1)], "rank"),
        Cascade([(scaled("logit"), 5)]),
        Windows(scaled("logit"), aggregate="sum"),
    ):
        with pytest.raises(ValueError, match="neither logits nor probabilities"):
            reranker.score("q", texts, probability=True)
    best = Windows(scaled("logit")).score("q", texts, probability=True)
    assert ((best > 0) & (best < 1)).all()


def without_scores(count: int) -> tuple[list[Hit], dict[str, str]]:
    texts = {f"D{i}#0": WORDS[i % 8] for i in range(count)}
    return [Hit(docid, NAN) for docid in texts], texts


@pytest.mark.parametrize("alone", [one, other])
@pytest.mark.parametrize(
    "make",
    [
        Interpolation,
        ReciprocalRankFusion,
        lambda model: Ensemble([(model, 1), (FirstStageScore(), 1)]),
        lambda model: Cascade([(model, 5)]),
        lambda model: Windows(Interpolation(model)),
        lambda model: Segments(Cascade([(ReciprocalRankFusion(model), 30)])),
        lambda model: Cascade([(Cascade([(model, 4)]), 6)]),
    ],
)
def test_what_needs_a_first_stage_is_refused_without_one(make: Any, alone: Any) -> None:
    hits, texts = without_scores(6)
    with pytest.raises(ValueError, match="the candidates have no first-stage scores and are in no order"):
        make(ModelReranker(WordBackend(alone), "model")).rerank("q", hits, texts=texts)


def test_what_needs_no_first_stage_ranks_without_one() -> None:
    hits, texts = without_scores(6)
    model = ModelReranker(WordBackend(one), "one")
    wanted = [hit.docid for hit in model.rerank("q", hits, texts=texts)]
    for reranker in (
        Cascade([(model, 6)]),
        Windows(model),
        Ensemble([(model, 2)], "rank"),
        Cascade([(model, 9), (model, 6)]),
    ):
        assert [hit.docid for hit in reranker.rerank("q", hits[::-1], texts=texts)] == wanted
    first = [Hit(f"D{i % 2}#{i}", NAN) for i in range(4)]
    with pytest.raises(ValueError, match="no first-stage scores"):
        Segments(model, "first").rerank("q", first, texts={hit.docid: "cat" for hit in first})


def test_a_cascade_takes_bare_texts_only_where_it_scores_all() -> None:
    model = ModelReranker(HashBackend(), "model")
    texts = [f"text {i}" for i in range(8)]
    wanted = model.score("q", texts)
    scores = Cascade([(model, 8), (model, 3)]).score("q", texts)
    assert np.argsort(-scores).tolist() == np.argsort(-wanted).tolist()
    with pytest.raises(TypeError, match=r"cascade\(model@5\) takes the first stage's scores into account"):
        Cascade([(model, 5)]).score("q", texts)


@pytest.mark.parametrize("depth", [10.0, "10", None, 10.5, np.float32(3)])
def test_a_depth_that_is_no_whole_number(depth: Any) -> None:
    model = ModelReranker(HashBackend(), "model")
    message = "a depth of the cascade is .*: give a whole number|is no pair of a reranker and a number"
    with pytest.raises((TypeError, ValueError), match=message):
        Cascade([(model, depth)])
    with pytest.raises(TypeError, match=r"size is .*: give a whole number"):
        Windows(ModelReranker(WordBackend(), "words"), size=depth)


def test_whole_numbers_of_numpys_and_any_iterable_of_stages() -> None:
    model = ModelReranker(HashBackend(), "model")
    cascade = Cascade((model, depth) for depth in np.array([20, 10]))
    assert cascade.depth == 20 and cascade.name == "cascade(model@20, model@10)"
    assert Ensemble({"a": (model, np.float64(0.5))}.values()).weights == [0.5]


@pytest.mark.parametrize("alpha", ["0.5", None, 1.5, NAN])
def test_an_alpha_that_is_none(alpha: Any) -> None:
    with pytest.raises(ValueError, match="alpha is .*: give the reranker's weight, from 0 to 1"):
        Interpolation(ModelReranker(HashBackend(), "model"), alpha)


# ----------------------------------------------------------------------------------------------- rerankers of one's own


class Own(Reranker):
    """As somebody writes it: one method, which scores what it is given and says nothing of its types."""

    def __init__(self, kind: Any = list, name: str = "own") -> None:
        super().__init__(name)
        self.kind = kind

    def relevance(self, queries: Any, found: Any, counts: Any) -> Any:
        return [
            self.kind([one(query, text) for text in of_query.texts])
            for query, of_query in zip(queries, found, strict=True)
        ]


KINDS_OF_SCORES = {
    "list": list,
    "tuple": tuple,
    "float64": np.array,
    "float32": lambda scores: np.array(scores, dtype=np.float32),
    "series": lambda scores: pd.Series(scores, index=range(len(scores), 0, -1)),
}
AROUND = {
    "alone": lambda part: part,
    "cascade": lambda part: Cascade([(part, 12), (Own(), 4)]),
    "interpolation": lambda part: Interpolation(part),
    "fusion": ReciprocalRankFusion,
    "ensemble": lambda part: Ensemble([(part, 1), (Own(), 0.5)], "z"),
    "segments": Segments,
    "mean of segments": lambda part: Segments(part, 2),
    "interpolated segments": lambda part: Segments(Interpolation(part), 2),
}


@pytest.mark.parametrize("kind", KINDS_OF_SCORES)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.EmptyDocumentWarning")
def test_a_reranker_of_ones_own_in_every_combination(around: str, kind: str) -> None:
    """Its scores are as a checkpoint's, whatever they are given as; a document without text has none."""
    texts = {f"D{i // 3}#{i % 3}": f"text number {i}" if i % 4 else " " for i in range(20)}
    hits = [Hit(docid, 50.0 - i) for i, docid in enumerate(texts)]
    model = ModelReranker(HashBackend(one), "model")
    wanted, found = (
        AROUND[around](part).rerank("q", hits, texts=texts) for part in (model, Own(KINDS_OF_SCORES[kind]))
    )
    assert listed(found) == listed(wanted) and trace(found) == trace(wanted) and found.scored == wanted.scored


@pytest.mark.parametrize(
    ("kind", "error", "says"),
    [
        (lambda scores: scores[:-1], ValueError, r"own gave scores of the shape \(2,\) for 3 passages: give one a"),
        (lambda scores: [*scores, 9.0], ValueError, r"own gave scores of the shape \(4,\) for 3 passages"),
        (lambda scores: np.array(scores)[:, None], ValueError, r"own gave scores of the shape \(3, 1\) for 3 passages"),
        (lambda scores: scores[0], ValueError, r"own gave scores of the shape \(\) for 3 passages"),
        (lambda scores: [*scores[:-1], math.inf], FloatingPointError, "own gave an infinite score: give NaN"),
        (lambda scores: [*scores[:-1], 1e300], FloatingPointError, "own gave an infinite score: give NaN"),
    ],
)
@pytest.mark.parametrize("around", AROUND)
@pytest.mark.filterwarnings("ignore:overflow")
def test_scores_that_are_none(around: str, kind: Any, error: Any, says: str) -> None:
    texts = {f"D{i}#0": f"text {i}" for i in range(3)}
    with pytest.raises(error, match=f"^{says}"):
        AROUND[around](Own(kind)).rerank("q", [Hit(docid, 1.0) for docid in texts], texts=texts)


def test_what_is_said_of_a_reranker_of_ones_own() -> None:
    class Less(Own):
        def relevance(self, queries: Any, found: Any, counts: Any) -> Any:
            return super().relevance(queries[1:], found[1:], counts)

    with pytest.raises(ValueError, match="own gave scores for 0 queries of 1: give an array a query"):
        Less().score("q", ["text"])
    assert Own().fingerprint == Interpolation(Own()).fingerprint == "", "nobody knows what changes its scores"
    mistyped = Own()
    mistyped.scale = "probabilities"  # type: ignore[assignment]
    with pytest.raises(ValueError, match="neither logits nor probabilities"):
        mistyped.score("q", ["text"], probability=True)


def test_a_fingerprint_tells_weights_apart() -> None:
    backend = HashBackend()
    backend.fingerprint = "known"  # type: ignore[attr-defined]
    model = ModelReranker(backend, "model")
    made = [Interpolation(model, 0.1234567), Interpolation(model, 0.1234568), Cascade([(Interpolation(model), 5)])]
    assert len({reranker.fingerprint for reranker in made} - {""}) == 3
    assert Interpolation(model, 0.7).name == "ensemble(0.7*model, 0.3*first-stage, normalise=min-max)"


@pytest.mark.parametrize("score", [math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("around", ["interpolation", "fusion", "interpolated segments"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_first_stage_with_an_infinite_score(around: str, score: float) -> None:
    texts = {f"D{i}#0": f"text {i}" for i in range(3)}
    hits = [Hit("D0#0", 2.0), Hit("D1#0", score), Hit("D2#0", 1.0)]
    with pytest.raises(ValueError, match=r"the first stage's score of D1(#0)? is infinite in float32"):
        AROUND[around](Own()).rerank("q", hits, texts=texts)
    assert len(Own().rerank("q", hits, texts=texts)) == 3


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_sum_beyond_float32() -> None:
    with pytest.raises(FloatingPointError, match=r"the scores of ensemble\(1e\+39\*own\) are beyond float32"):
        Ensemble([(Own(), 1e39)]).score("q", ["a", "b"])


class Fewer(HashBackend):
    """A backend that does not give what it was asked for."""

    def run(self, batch: Any) -> Any:
        return super().run(batch)[:1]


class Forgetful(HashBackend):
    def plan(self, pairs: Any) -> Any:
        made = super().plan(pairs)
        return replace(made, batches=made.batches[:-1])


@pytest.mark.parametrize(
    ("backend", "kind", "says"),
    [
        (Fewer, ValueError, r"the backend of it gave \(1,\) scores for \(3,\) pairs"),
        (Forgetful, FloatingPointError, "it scored nan for 3 pairs"),
    ],
)
def test_a_backend_that_loses_scores(backend: Any, kind: Any, says: str) -> None:
    with pytest.raises(kind, match=f"^{says}"):
        ModelReranker(backend(), "it").score("q", ["a", "b", "c"])


def test_a_reranker_of_ones_own_may_have_a_depth() -> None:
    class Mine(Reranker):
        def __init__(self) -> None:
            super().__init__("mine")
            self.depth = 7

        def relevance(self, queries: Any, found: Any, counts: Counts) -> Any:
            return [[len(text) for text in passages.texts] for passages in found]

    assert Interpolation(Mine()).depth == 7 and Segments(ReciprocalRankFusion(Mine())).depth == 7
    found = RerankingSearcher(
        Searcher({"q": [Hit(f"d{i}", 9.0 - i) for i in range(9)]}), Mine(), texts=lambda docid: "x"
    )
    assert found.depth == 7 and found.search("q", k=9).scored == 7
