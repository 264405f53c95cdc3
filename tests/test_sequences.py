"""Every public call takes any sequence of the right length, or says in one line that it does not."""

from collections import OrderedDict, deque
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyserini_rerank
import pytest
from collection import docids, expected, listed
from pyserini_rerank import Ensemble, Reranker, RerankingSearcher, experiment
from pyserini_rerank.arguments import mapped

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


@pytest.mark.parametrize(
    "pair", ["ab", ("a",), ("a", "b", "c"), np.array(["a", "b", "c"]), None, 7, {"a", "b"}, {"a": 1, "b": 2}]
)
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


def test_an_error_in_a_generator_is_its_own(hashing: Reranker, documents: dict[str, str]) -> None:
    def texts() -> Any:
        yield "flea"
        raise TypeError("mine")

    class Lazy:
        def search(self, query: str, k: int = 10) -> Any:
            return texts()

    for call in (lambda: hashing.score("q", texts()), lambda: RerankingSearcher(Lazy(), hashing, texts={}).search("q")):
        with pytest.raises(TypeError, match="^mine$"):
            call()


def test_strings_and_numbers_that_are_not_quite_pythons(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    """Java takes neither; a list of an array's items has them."""

    class Text(str):
        __slots__ = ()

    searcher.set_reranker(hashing, depth=9)
    usual = listed(searcher.search(queries[0], k=3))
    for kind in (np.str_, Text):
        assert listed(searcher.search(kind(queries[0]), k=3)) == usual
        found = searcher.batch_search([kind(query) for query in queries], [kind(qid) for qid in QIDS], k=3)
        assert listed(found[QIDS[0]]) == usual and all(type(qid) is str for qid in found)
    assert len(searcher.search(queries[0], k=2**40)) == len(searcher.search(queries[0], k=1000))


MAPPINGS = [dict, OrderedDict, pd.Series, lambda values: pd.Series(values, dtype=object)[::-1], MappingProxyType]


@pytest.mark.parametrize("make", MAPPINGS)
def test_mappings(make: Any, searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]) -> None:
    hits = searcher.search(query, k=9)
    assert listed(hashing.rerank(query, hits, texts=make({**documents, "doc": "a label"}))) == listed(
        hashing.rerank(query, hits, texts=documents)
    )
    searcher.set_reranker(hashing, depth=9)
    grades = {hits[0].docid: 2, hits[1].docid: 0}
    usual = pyserini_rerank.compare(searcher, query, k=3, qrels=grades)
    assert pyserini_rerank.compare(searcher, query, k=3, qrels=make(grades)).rows == usual.rows


def test_what_is_no_mapping(searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]) -> None:
    searcher.set_reranker(hashing, depth=9)
    for wrong in (["d1"], {"d1"}, [("d1", 1)], pd.DataFrame({"d1": [1]}), "d1", 7):
        with pytest.raises(TypeError, match=r"^qrels is a \w+: give a mapping, such as a dict\.$"):
            pyserini_rerank.compare(searcher, query, k=3, qrels=wrong)
        with pytest.raises((TypeError, FileNotFoundError), match="texts= "):
            hashing.rerank(query, searcher.search(query), texts=wrong)
    for grade in ("2", None, [1]):
        with pytest.raises(TypeError, match="the grade of d1 is .*: give a number"):
            pyserini_rerank.compare(searcher, query, k=3, qrels={"d1": grade})


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("window is 2.5: give a whole number", lambda one: pyserini_rerank.explain(one, "q", "a b", window=2.5)),
        ("window is None: give a whole number", lambda one: pyserini_rerank.explain(one, "q", "a b", window=None)),
        ("the passage is a int, not a string", lambda one: pyserini_rerank.explain(one, "q", 5)),
        ("'bundled' is no reranker: have .*load", lambda one: pyserini_rerank.explain("bundled", "q", "a b")),
        ("a NoneType is no reranker: name a checkpoint", lambda one: pyserini_rerank.Segments(None)),
        ("a int is no reranker: name a checkpoint", lambda one: pyserini_rerank.Cascade([(10, 5)])),
        (r"ModelReranker\('hashing'.* is no pair of a reranker and a number", lambda one: Ensemble([one, one])),
        (r"\(10, ModelReranker.* is no pair of a reranker and", lambda one: pyserini_rerank.Cascade([(10, one)])),
        (r".*10, 5\) is no pair of a reranker and a number", lambda one: pyserini_rerank.Cascade([(one, 10, 5)])),
        ("ModelReranker.* is no list of pairs of a reranker and a number", lambda one: pyserini_rerank.Cascade(one)),
    ],
)
def test_arguments_of_another_kind(name: str, call: Any, hashing: Reranker) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{name}") as error:
        call(hashing)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("hit", [("d1", 1.0), {"docid": "d1", "score": 1.0}, None, 7, SimpleNamespace(docid="d1")])
def test_hits_that_are_none(hit: Any, hashing: Reranker) -> None:
    class Found:
        def search(self, query: str, k: int = 10) -> Any:
            return [hit]

    says = "a hit is a .* whose docid is .* and whose score is .*: give hits with a string as `docid`"
    for call in (
        lambda: hashing.rerank("q", [hit], texts={"d1": "text"}),
        lambda: RerankingSearcher(Found(), hashing, texts={"d1": "text"}).search("q"),
        lambda: hashing.rerank("q", [SimpleNamespace(docid=7, score=1.0)], texts={7: "text"}),
        lambda: hashing.rerank("q", [SimpleNamespace(docid="d1", score=None)], texts={"d1": "text"}),
    ):
        with pytest.raises(TypeError, match=says) as error:
            call()
        assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore::pyserini_rerank.ShortfallWarning")
def test_searchers_of_ones_own_that_are_named_as_pyserinis(
    searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]
) -> None:
    """They have an order of their own, no `num_docs`, a `k0` that nobody has to give, and keys that are no qids."""
    plain = [hit.docid for hit in searcher.search(query, k=5)][::-1]
    asked = []

    class HybridSearcher:
        def search(self, query: str, k: int = 10, k0: int | None = None) -> Any:
            asked.append((k, k0))
            return searcher.search(query, 5)[::-1]

    class FaissSearcher(HybridSearcher):
        index = None

        def batch_search(self, queries: Any, q_ids: Any = None, k: int = 10) -> Any:
            return {row: self.search(query, k) for row, query in enumerate(queries)}

    for kind in (HybridSearcher, FaissSearcher):
        found = RerankingSearcher(kind(), hashing, depth=7, texts=documents).search(query, k0=3)
        assert [place.first_docid for place in sorted(found.traces, key=lambda place: place.first_rank)] == plain
    assert asked == [(10, 3), (10, 3)]
    reranking = RerankingSearcher(FaissSearcher(), hashing, texts=documents)
    with pytest.raises(TypeError, match="FaissSearcher.batch_search gave hits for 0, which is no qid .* the qids"):
        reranking.batch_search([query], ["0"])
    with pytest.raises(TypeError, match="q_ids is a NoneType: give a list"):
        reranking.batch_search([query])


def test_a_class_and_a_module_as_searchers(
    searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]
) -> None:
    class Static:
        search = staticmethod(lambda query, k=10: searcher.search(query, k))

    module = ModuleType("library")
    module.search = Static.search  # type: ignore[attr-defined]
    wanted = expected(query, docids(searcher.search(query, 9)), documents, 3)
    for one in (Static, Static(), module):
        assert listed(RerankingSearcher(one, hashing, depth=9).search(query, k=3)) == wanted


def test_a_composite_that_looks_at_what_its_parts_are(
    make_searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]
) -> None:
    from pyserini.search.lucene import LuceneSearcher

    class Composite:
        def __init__(self) -> None:
            self.searchers = [make_searcher("bm25")]

        def search(self, query: str, k: int = 10) -> Any:
            assert isinstance(self.searchers[0], LuceneSearcher)
            return self.searchers[0].search(query, k)

    assert len(RerankingSearcher(Composite(), hashing, depth=9).search(query, k=3)) == 3


def test_a_label_that_comes_twice_is_named() -> None:
    """In a Series the last one would win in silence."""
    topics = pd.Series(["one", "two"], index=["q1", "q1"])
    with pytest.raises(ValueError, match="^topics has 'q1' twice: keep one of the two.$"):
        mapped(topics, "topics")


@pytest.mark.parametrize("make", [dict, lambda texts: pd.Series(list(texts.values()), index=list(texts))])
def test_texts_by_docids_that_are_numbers(make: Any, hashing: Reranker) -> None:
    """As MS MARCO's are, while a run and a searcher have them as strings."""
    texts = make({7187158: "a flea", 12: "a cat"})
    hits = {"q1": {"12": 2.0, "7187158": 1.0}}
    systems = {"first": hits, "reranked": (hits, hashing)}
    table = experiment(systems, {"q1": "a flea"}, {"q1": {"7187158": 1}}, texts=texts, measures=["RR"])
    assert table.costs["reranked"].pairs == 2
