"""Every public call takes any sequence of the right length, or says in one line that it does not."""

from collections import OrderedDict, deque
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyserini_rerank
import pytest
from collection import docids, expected, listed
from pyserini_rerank import Ensemble, Reranker, RerankingSearcher

QIDS = ["3", "1", "2", "10", "a b", "é"]


def reversed_series(values: list[Any]) -> pd.Series:
    """The same values, whose labels run the other way."""
    return pd.Series(values, index=range(len(values) - 1, -1, -1))


def sorted_series(values: list[Any]) -> pd.Series:
    """As `sort_values` leaves it: the values in the order wanted, the labels shuffled."""
    frame = pd.DataFrame({"value": values, "place": range(len(values))}).sample(frac=1, random_state=1)
    return frame.sort_values("place")["value"]


def filtered_series(values: list[Any]) -> pd.Series:
    """As a filter leaves it: labels with gaps, from above the length on."""
    return pd.Series([None] * 50 + [value for some in values for value in (some, None)]).dropna()


SEQUENCES = {
    "list": list,
    "tuple": tuple,
    "generator": lambda values: (value for value in values),
    "map": lambda values: map(str, values),
    "deque": deque,
    "array": lambda values: np.array(values),
    "array of objects": lambda values: np.array(values, dtype=object),
    "reversed series": reversed_series,
    "sorted series": sorted_series,
    "filtered series": filtered_series,
    "labelled series": lambda values: pd.Series(values, index=[f"row {value}" for value in values]),
    "string series": lambda values: pd.Series(values, dtype="string"),
    "index": pd.Index,
    "categories": pd.Categorical,
    "values view": lambda values: dict(enumerate(values)).values(),
    "keys view": lambda values: OrderedDict.fromkeys(values).keys(),
    "arrow": pa.array,
}
NONE = {
    "string": lambda values: "".join(values),
    "bytes": lambda values: b"".join(value.encode() for value in values),
    "set": set,
    "mapping": lambda values: dict(zip(values, values, strict=True)),
    "table": lambda values: pd.DataFrame({"query": values}),
    "number": lambda values: 7,
    "nothing": lambda values: None,
}


@pytest.fixture
def wanted(make_searcher: Any, queries: list[str], documents: dict[str, str]) -> dict[str, list[tuple[str, float]]]:
    plain = make_searcher("bm25")
    return {
        qid: expected(query, docids(plain.search(query, 15)), documents, 7)
        for qid, query in zip(QIDS, queries, strict=True)
    }


@pytest.mark.parametrize("kind", SEQUENCES)
def test_batches(kind: str, searcher: Any, hashing: Reranker, queries: list[str], wanted: Any) -> None:
    searcher.set_reranker(hashing, depth=15)
    make = SEQUENCES[kind]
    found = searcher.batch_search(make(queries), make(QIDS), k=7)
    assert {qid: listed(hits) for qid, hits in found.items()} == wanted and list(found) == QIDS
    assert all(type(qid) is str for qid in found)


@pytest.mark.parametrize("kind", ["reversed series", "generator", "values view", "arrow"])
@pytest.mark.parametrize("searcher_kind", ["faiss", "hybrid", "impact"])
def test_batches_of_other_searchers(
    kind: str, searcher_kind: str, make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    searcher, make = make_searcher(searcher_kind), SEQUENCES[kind]
    searcher.set_reranker(hashing, depth=9, texts=documents)
    usual = searcher.batch_search(queries, QIDS, k=5)
    found = searcher.batch_search(make(queries), make(QIDS), k=5)
    assert {qid: listed(hits) for qid, hits in found.items()} == {qid: listed(hits) for qid, hits in usual.items()}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_texts_to_rerank_with(
    kind: str, make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str], vector_query: Any
) -> None:
    searcher = make_searcher("flat")
    searcher.set_reranker(hashing, depth=9, texts=documents)
    vectors = [vector_query(query) for query in queries]
    usual = searcher.batch_search(vectors, QIDS, k=5, rerank_queries=queries)
    found = searcher.batch_search(vectors, QIDS, k=5, rerank_queries=SEQUENCES[kind](queries))
    assert {qid: listed(hits) for qid, hits in found.items()} == {qid: listed(hits) for qid, hits in usual.items()}


def test_a_matrix_of_vectors_stays_one(
    make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str], encoder: Any
) -> None:
    searcher = make_searcher("faiss")
    searcher.set_reranker(hashing, depth=9, texts=documents)
    usual = searcher.batch_search(queries, QIDS, k=5)
    matrix = np.stack([encoder.encode(query) for query in queries])
    found = searcher.batch_search(matrix, reversed_series(QIDS), k=5, rerank_queries=reversed_series(queries))
    assert {qid: listed(hits) for qid, hits in found.items()} == {qid: listed(hits) for qid, hits in usual.items()}


@pytest.mark.parametrize("kind", SEQUENCES)
def test_scores_predictions_and_hits(
    kind: str, hashing: Reranker, searcher: Any, query: str, queries: list[str]
) -> None:
    make = SEQUENCES[kind]
    assert hashing.score(query, make(queries)).tolist() == hashing.score(query, queries).tolist()
    pairs = [(other, text) for other in queries[:2] for text in queries]
    first, second = zip(*pairs, strict=True)
    wanted = hashing.predict(pairs).tolist()
    if kind not in ("keys view", "arrow"):  # of which one has equal ones once, and the other's items are no strings
        assert hashing.predict(zip(make(list(first)), make(list(second)), strict=True)).tolist() == wanted
    hits = searcher.search(query, k=9)
    usual = listed(hashing.rerank(query, hits))
    if kind in ("list", "tuple", "generator", "deque", "array of objects", "reversed series", "values view"):
        assert listed(hashing.rerank(query, make(hits))) == usual


@pytest.mark.parametrize(
    "pairs",
    [
        lambda pairs: np.array(pairs),
        lambda pairs: pd.DataFrame(pairs).to_numpy(),
        lambda pairs: pd.DataFrame(pairs).itertuples(index=False),
        lambda pairs: [list(pair) for pair in pairs],
        lambda pairs: dict(pairs).items(),
    ],
)
def test_pairs_of_any_kind(pairs: Any, hashing: Reranker, queries: list[str]) -> None:
    usual = [(query, f"text {row}") for row, query in enumerate(queries)]
    assert hashing.predict(pairs(usual)).tolist() == hashing.predict(usual).tolist()


@pytest.mark.parametrize("kind", NONE)
def test_no_sequence_is_an_error_of_one_line(kind: str, searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    searcher.set_reranker(hashing, depth=15)
    make = NONE[kind]
    calls = [
        lambda: searcher.batch_search(make(queries), QIDS),
        lambda: searcher.batch_search(queries, make(QIDS)),
        lambda: hashing.score(queries[0], make(queries)),
        lambda: hashing.predict(make(queries)),
        lambda: hashing.rerank(queries[0], make(queries)),
    ]
    if kind != "nothing":
        calls.append(lambda: searcher.batch_search(queries, QIDS, rerank_queries=make(queries)))
    for call in calls:
        with pytest.raises(TypeError, match=r"^(queries|qids|rerank_queries|texts|pairs|hits) is .*: give ") as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("pair", ["ab", ("a",), ("a", "b", "c"), np.array(["a", "b", "c"])])
def test_a_pair_that_is_none(pair: Any, hashing: Reranker) -> None:
    with pytest.raises(TypeError, match="pair 1 is .*: give a query and a passage"):
        hashing.predict([("a", "b"), pair])


def test_of_different_lengths(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    searcher.set_reranker(hashing)
    with pytest.raises(ValueError, match="there are 5 queries and 6 qids: give one qid a query"):
        searcher.batch_search(reversed_series(queries[:5]), reversed_series(QIDS))
    with pytest.raises(ValueError, match="there are 5 rerank_queries for 6 queries"):
        searcher.batch_search(queries, QIDS, rerank_queries=(query for query in queries[:5]))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, lambda value: np.array(value)])
def test_numbers_of_numpys(
    kind: Any, make_searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]
) -> None:
    for name in ("bm25", "faiss", "hybrid"):
        searcher = make_searcher(name)
        searcher.set_reranker(hashing, depth=kind(15), texts=documents)
        usual = listed(searcher.search(query, k=7))
        assert listed(searcher.search(query, k=kind(7))) == usual
        assert listed(searcher.batch_search([query], ["1"], k=kind(7), threads=np.int64(2))["1"]) == usual
    hits = make_searcher("bm25").search(query, 9)
    assert listed(hashing.rerank(query, hits, k=kind(3))) == listed(hashing.rerank(query, hits, k=3))


@pytest.mark.parametrize("number", [10.0, "10", None, np.float32(10)])
def test_numbers_that_are_not_whole(number: Any, searcher: Any, hashing: Reranker, query: str) -> None:
    searcher.set_reranker(hashing)
    with pytest.raises(TypeError, match="k is .*: give a whole number"):
        searcher.search(query, k=number)
    if number is not None:
        with pytest.raises(TypeError, match="depth is .*: give a whole number"):
            searcher.set_reranker(hashing, depth=number)
        with pytest.raises(TypeError, match="k is .*: give a whole number"):
            hashing.rerank(query, searcher.search(query), k=number)


def test_searchers_with_results_of_any_kind(hashing: Reranker, documents: dict[str, str], query: str) -> None:
    class Found:
        def __init__(self, docid: str) -> None:
            self.docid, self.score = docid, 1.0

    names = list(documents)[:6]
    wanted = expected(query, names, documents, 3)

    class Slots:
        """One without a dictionary, with an `index` that says nothing of its size, and results of a kind of its own."""

        __slots__ = ("index", "shape")

        def __init__(self, shape: Any) -> None:
            self.index, self.shape = {"what": "ever"}, shape

        def search(self, query: str, k: int = 10) -> Any:
            return self.shape([Found(docid) for docid in names[:k]])

        def batch_search(self, queries: list[str], qids: list[str], k: int = 10) -> dict[str, Any]:
            return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=True)}

    for shape in (
        list,
        tuple,
        iter,
        lambda hits: np.array(hits, dtype=object),
        lambda hits: pd.Series(hits[::-1])[::-1],
    ):
        reranking = RerankingSearcher(Slots(shape), hashing, texts=documents)
        assert listed(reranking.search(query, k=3)) == wanted
        assert listed(reranking.batch_search((query,), ("1",), k=3)["1"]) == wanted
    with pytest.raises(TypeError, match="the searcher's result is a NoneType: give a list"):
        RerankingSearcher(Slots(lambda hits: None), hashing, texts=documents).search(query)


def test_explain_and_compare(searcher: Any, hashing: Reranker, query: str) -> None:
    searcher.set_reranker(hashing, depth=9)
    usual = pyserini_rerank.compare(searcher, query, k=3)
    assert pyserini_rerank.compare(searcher, query, k=np.int64(3)).rows == usual.rows
    with pytest.raises(TypeError, match="k is 3.0: give a whole number"):
        pyserini_rerank.compare(searcher, query, k=3.0)
    assert Ensemble(pd.Series([(hashing, 1)], index=[5])).score("q", ["a"]).shape == (1,)


def test_hits_that_cannot_be_rescored(hashing: Reranker) -> None:
    class Fixed:
        docid = property(lambda self: "d")
        score = property(lambda self: 1.0)

    with pytest.raises(TypeError, match="a copy of a Fixed cannot be given another score .*: make hits dataclasses"):
        hashing.rerank("q", [Fixed()], texts={"d": "text"})
