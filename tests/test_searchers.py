"""Every searcher of Pyserini's gains three methods, and reranks with them."""

import ast
import dataclasses
import inspect
import pickle
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, docids, expected, hashed, listed, words
from pyserini_rerank import ModelReranker, Reranker, RerankingSearcher

THREE = {"set_reranker", "unset_reranker", "is_using_reranker"}
KINDS = ["bm25", "impact", "wordpieces", "slim", "fusion", "hnsw", "flat", "faiss", "ivf", "binary", "hybrid"]
BATCHED = [kind for kind in KINDS if kind != "fusion"]
DEPTH = 15


@pytest.fixture
def asked(vector_query: Callable[[str], str]) -> Callable[[str, str], tuple[str, dict[str, str]]]:
    """Write a question as a kind of searcher takes it, and what else has to be said."""

    def ask(kind: str, text: str) -> tuple[str, dict[str, str]]:
        if kind in ("hnsw", "flat"):
            return vector_query(text), {"rerank_query": text}
        if kind == "wordpieces":
            return " ".join(words(text)), {"rerank_query": text}
        return text, {}

    return ask


@pytest.fixture
def texts_of(documents: dict[str, str], numbered: dict[str, str]) -> Callable[[str], dict[str, str]]:
    """The documents by the docids that a kind of searcher gives."""
    return lambda kind: numbered if kind in ("slim", "binary") else documents


def without_text(kind: str, texts: dict[str, str]) -> dict[str, str] | None:
    """What to give as `texts=`: nothing where the hits store their text, or a part of the searcher does."""
    return texts if kind in ("slim", "hnsw", "flat", "faiss", "ivf", "binary") else None


def deeper(kind: str, depth: int) -> dict[str, int]:
    """What Pyserini has to be asked for so that it gives `depth` candidates."""
    return {"k": depth, **({"k0": depth} if kind == "hybrid" else {})}


# What Pyserini's classes gain


def classes() -> list[type]:
    from pyserini.search import faiss, hybrid, lucene

    return [
        lucene.LuceneSearcher, lucene.LuceneImpactSearcher, lucene.LuceneFusionSearcher,
        lucene.LuceneHnswDenseSearcher, lucene.LuceneFlatDenseSearcher, faiss.FaissSearcher, hybrid.HybridSearcher,
        lucene.SlimSearcher, faiss.BinaryDenseFaissSearcher,
    ]  # fmt: skip


def own_names(kind: type) -> set[str]:
    """Read a class's methods and attributes from its source, which nobody has touched."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    return {node.name for node in definition.body if isinstance(node, ast.FunctionDef)}


def test_every_searcher_gains_the_three_methods_and_nothing_else() -> None:
    for kind in classes():
        assert {name for name in THREE if callable(getattr(kind, name, None))} == THREE, kind
        added = {name for name in vars(kind) if not name.startswith("__")} - own_names(kind)
        # These two are subclasses of others, and inherit.
        assert added == (set() if kind.__name__ in ("SlimSearcher", "BinaryDenseFaissSearcher") else THREE), kind


def test_pyserinis_own_methods_are_left_as_they_are() -> None:
    for kind in classes():
        for name in own_names(kind) & {"search", "batch_search", "search_raw", "doc", "close", "__init__"}:
            function = vars(kind)[name]
            assert function.__code__.co_filename == inspect.getsourcefile(kind), (kind, name)
            assert function.__qualname__ == f"{kind.__name__}.{name}"


def test_installing_twice_does_no_harm(searcher: Any, hashing: Reranker, query: str) -> None:
    import sys

    before = list(sys.meta_path)
    pyserini_rerank.registration.install()
    assert sys.meta_path == before
    searcher.set_reranker(hashing)
    assert len(searcher.search(query)) == 10


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_reranker_a_searcher_is_pyserinis(
    kind: str, make_searcher: Any, asked: Any, query: str, hashing: Reranker, texts_of: Any
) -> None:
    searcher, other = make_searcher(kind), make_searcher(kind)
    text, _ = asked(kind, query)
    before, attributes = searcher.search(text, k=12), set(vars(searcher))
    assert not searcher.is_using_reranker()
    other.set_reranker(hashing, texts=texts_of(kind))

    # On the instance only: another searcher of the class is as before, in all that it has and finds.
    assert other.is_using_reranker()
    assert not searcher.is_using_reranker()
    assert set(vars(searcher)) == attributes
    again = searcher.search(text, k=12)
    assert type(again) is list
    assert type(again[0]) is type(before[0])
    assert listed(again) == listed(before)

    searcher.unset_reranker()  # there is none: nothing happens, as with unset_rm3
    assert set(vars(searcher)) == attributes


@pytest.mark.parametrize("kind", KINDS)
def test_set_and_unset_and_set_again(
    kind: str, make_searcher: Any, asked: Any, query: str, hashing: Reranker, texts_of: Any
) -> None:
    searcher = make_searcher(kind)
    text, more = asked(kind, query)
    attributes, before = set(vars(searcher)), listed(searcher.search(text, k=12))

    searcher.set_reranker(hashing, depth=DEPTH, texts=texts_of(kind))
    first = listed(searcher.search(text, k=5, **more))
    other = ModelReranker(HashBackend(lambda q, t: -hashed(q, t)), "the other way")
    searcher.set_reranker(other, depth=DEPTH, texts=texts_of(kind))
    second = listed(searcher.search(text, k=5, **more))
    assert first[0][1] > first[-1][1]
    # The second reranks the first stage and not what the first one reranked: its best is the worst of all.
    assert second[0][1] == -min(hashed(query, texts_of(kind)[docid]) for docid, _ in before_depth(searcher, text, kind))

    searcher.unset_reranker()
    assert not searcher.is_using_reranker()
    assert set(vars(searcher)) == attributes
    again = listed(searcher.search(text, k=12))
    # Java's vector instructions add in another order once it has compiled them: the last bit of a score may differ.
    assert [docid for docid, _ in again] == [docid for docid, _ in before]
    assert [score for _, score in again] == pytest.approx([score for _, score in before], rel=1e-6)

    searcher.set_reranker(hashing, depth=DEPTH, texts=texts_of(kind))
    assert listed(searcher.search(text, k=5, **more)) == first


def before_depth(searcher: Any, text: str, kind: str) -> list[tuple[str, float]]:
    """List what a searcher that reranks finds by itself."""
    return listed(type(searcher).search(searcher, text, **deeper(kind, DEPTH)))[:DEPTH]


def test_a_reranker_that_fails_to_load_leaves_the_earlier_one(
    searcher: Any, hashing: Reranker, query: str, tmp_path: Any
) -> None:
    attributes = set(vars(searcher))
    failing: list[tuple[Any, dict[str, Any], type[Exception]]] = [
        (tmp_path / "nowhere", {}, OSError),
        (str(tmp_path), {}, OSError),
        (hashing, {"depth": 0}, ValueError),
        (hashing, {"texts": str(tmp_path / "nowhere")}, FileNotFoundError),
        (hashing, {"texts": 7}, TypeError),
    ]
    for reranker, options, error in failing:
        with pytest.raises(error):
            searcher.set_reranker(reranker, **options)
        assert not searcher.is_using_reranker()
        assert set(vars(searcher)) == attributes

    searcher.set_reranker(hashing, depth=DEPTH)
    before = listed(searcher.search(query))
    for reranker, options, error in failing:
        with pytest.raises(error):
            searcher.set_reranker(reranker, **options)
        assert listed(searcher.search(query)) == before


def test_two_searchers_with_a_reranker_each(make_searcher: Any, hashing: Reranker, query: str) -> None:
    other = ModelReranker(HashBackend(lambda q, t: -hashed(q, t)), "the other way")
    one, two = make_searcher("bm25"), make_searcher("bm25")
    one.set_reranker(hashing, depth=DEPTH)
    two.set_reranker(other, depth=DEPTH)
    found = docids(one.search(query, DEPTH))
    assert found == docids(two.search(query, DEPTH))[::-1]
    one.unset_reranker()
    assert two.is_using_reranker()
    assert docids(two.search(query, DEPTH)) == found[::-1]


# Every searcher reranks


@pytest.mark.parametrize("kind", KINDS)
def test_every_searcher_reranks_a_search(
    kind: str, make_searcher: Any, asked: Any, queries: list[str], hashing: Reranker, texts_of: Any
) -> None:
    searcher, plain = make_searcher(kind), make_searcher(kind)
    searcher.set_reranker(hashing, depth=DEPTH, texts=without_text(kind, texts_of(kind)))
    for query in queries[:3]:
        text, more = asked(kind, query)
        first = plain.search(text, **deeper(kind, DEPTH))
        hits = searcher.search(text, k=6, **more)
        assert listed(hits) == expected(query, docids(first)[:DEPTH], texts_of(kind), 6)
        assert len(hits) == 6
        assert docids(hits) != docids(first)[:6]
        assert isinstance(hits, list)
        assert {type(hit) for hit in hits} == {type(first[0])}


@pytest.mark.parametrize("kind", BATCHED)
def test_every_searcher_reranks_a_batch(
    kind: str, make_searcher: Any, asked: Any, queries: list[str], hashing: Reranker, texts_of: Any
) -> None:
    searcher, plain = make_searcher(kind), make_searcher(kind)
    searcher.set_reranker(hashing, depth=DEPTH, texts=without_text(kind, texts_of(kind)))
    # Java's map is in an order of its own.
    qids = ["q10", "q9", "zz", "1", "q8", "a"]
    batch = [asked(kind, query)[0] for query in queries]
    more = {"rerank_queries": queries} if asked(kind, queries[0])[1] else {}
    first = plain.batch_search(batch, qids, **deeper(kind, DEPTH))
    results = searcher.batch_search(batch, qids, k=6, **more)
    assert type(results) is dict
    assert list(results) == qids
    for qid, query in zip(qids, queries, strict=True):
        assert listed(results[qid]) == expected(query, docids(first[qid]), texts_of(kind), 6)
        assert {type(hit) for hit in results[qid]} == {type(first[qid][0])}


@pytest.mark.parametrize(
    ("kind", "batch"),
    [(kind, batch) for kind in ("bm25", "impact", "hnsw", "flat") for batch in (False, True)] + [("fusion", False)],
)
def test_lucene_hits_keep_their_fields(
    kind: str, batch: bool, make_searcher: Any, asked: Any, query: str, hashing: Reranker, documents: dict[str, str]
) -> None:
    searcher, plain = make_searcher(kind), make_searcher(kind)
    searcher.set_reranker(hashing, depth=DEPTH, texts=without_text(kind, documents))
    text, more = asked(kind, query)
    first = {hit.docid: hit for hit in plain.search(text, k=DEPTH)}
    if batch:
        more = {"rerank_queries": [query]} if more else {}
        hits = searcher.batch_search([text], ["1"], k=DEPTH, **more)["1"]
    else:
        hits = searcher.search(text, k=DEPTH, **more)
    assert len(hits) == DEPTH
    for hit in hits:
        was = first[hit.docid]
        assert type(hit) is type(was)
        assert hit.lucene_docid == was.lucene_docid
        fields = ("raw", "id") if kind not in ("hnsw", "flat") else ("id",)
        assert [hit.lucene_document.get(name) for name in fields] == [was.lucene_document.get(name) for name in fields]
        assert hit.lucene_document.get("id") == hit.docid
        assert hit.score == hashed(query, documents[hit.docid])


def test_dense_hits_are_dense_search_results(make_searcher: Any, query: str, hashing: Reranker, texts_of: Any) -> None:
    from pyserini.search.faiss import DenseSearchResult

    for kind in ("faiss", "binary", "hybrid"):
        searcher = make_searcher(kind)
        searcher.set_reranker(hashing, depth=DEPTH, texts=texts_of(kind))
        for hit in [*searcher.search(query, k=5), *searcher.batch_search([query], ["1"], k=5)["1"]]:
            assert hit == DenseSearchResult(hit.docid, hashed(query, texts_of(kind)[hit.docid]))


def test_slim_hits_are_slim_results(
    make_searcher: Any, query: str, hashing: Reranker, numbered: dict[str, str]
) -> None:
    from pyserini.search.lucene._impact_searcher import SlimResult

    searcher = make_searcher("slim")
    searcher.set_reranker(hashing, depth=DEPTH, texts=numbered)
    for hit in [*searcher.search(query, k=5), *searcher.batch_search([query], ["1"], k=5)["1"]]:
        assert type(hit) is SlimResult
        assert hit == (hit.docid, hashed(query, numbered[hit.docid]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_signature_is_the_searchers_own(kind: str, make_searcher: Any, hashing: Reranker, texts_of: Any) -> None:
    searcher = make_searcher(kind)
    methods = [name for name in ("search", "batch_search") if hasattr(searcher, name)]
    before = {name: (inspect.signature(getattr(searcher, name)), getattr(searcher, name).__doc__) for name in methods}
    searcher.set_reranker(hashing, texts=texts_of(kind))
    assert [name for name in ("search", "batch_search") if hasattr(searcher, name)] == methods
    for name in methods:
        method = getattr(searcher, name)
        assert (inspect.signature(method), method.__doc__) == before[name]
        assert method.__name__ == name
    with pytest.raises(TypeError, match="no_such_keyword"):
        searcher.search("words", no_such_keyword=1)


def test_k_is_ten_by_default_and_may_be_given_by_place(searcher: Any, hashing: Reranker, query: str) -> None:
    searcher.set_reranker(hashing, depth=DEPTH)
    assert len(searcher.search(query)) == 10
    assert len(searcher.search(query, 3)) == 3
    assert len(searcher.search(q=query, k=4)) == 4
    assert len(searcher.batch_search([query], ["1"])["1"]) == 10
    assert len(searcher.batch_search([query], ["1"], 3, 2)["1"]) == 3
    assert len(searcher.batch_search(qids=["1"], queries=[query], k=4)["1"]) == 4


def test_a_hundred_candidates_by_default(
    searcher: Any, hashing: Reranker, backend: HashBackend, make_searcher: Any
) -> None:
    query = "return the file or the path or a list of objects with random names"
    assert len(make_searcher("bm25").search(query, 101)) == 101
    searcher.set_reranker(hashing)
    searcher.search(query)
    assert len(backend.pairs) == 100


@pytest.mark.parametrize("batch", [False, True], ids=["search", "batch"])
def test_what_is_below_the_depth_follows_in_first_stage_order(
    searcher: Any, make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str, batch: bool,
    documents: dict[str, str],
) -> None:  # fmt: skip
    first = docids(make_searcher("bm25").search(query, 30))
    searcher.set_reranker(hashing, depth=8)
    hits = searcher.batch_search([query], ["1"], k=30)["1"] if batch else searcher.search(query, k=30)
    assert len(backend.pairs) == 8
    assert listed(hits)[:8] == expected(query, first[:8], documents, 8)
    assert docids(hits)[8:] == first[8:]
    scores = [hit.score for hit in hits]
    assert all(above > below for above, below in zip(scores[7:], scores[8:], strict=False))
    # These too are Lucene's hits, with their documents.
    assert all(hit.lucene_document.get("id") == hit.docid for hit in hits)


def test_fewer_hits_than_the_depth(searcher: Any, hashing: Reranker, documents: dict[str, str]) -> None:
    from pyserini.search.lucene import LuceneSearcher

    first = LuceneSearcher(searcher.index_dir).search("quartiles", 100)
    assert 0 < len(first) < 20
    searcher.set_reranker(hashing)
    reranked = expected("quartiles", docids(first), documents, 100)
    assert listed(searcher.search("quartiles", 100)) == reranked
    assert listed(searcher.batch_search(["quartiles"], ["1"], 100)["1"]) == reranked


def test_nothing_found_is_an_empty_list(searcher: Any, hashing: Reranker, backend: HashBackend) -> None:
    searcher.set_reranker(hashing)
    assert searcher.search("xyzzyx") == []
    results = searcher.batch_search(["xyzzyx", "directory"], ["1", "2"], k=5)
    assert list(results) == ["1", "2"]
    assert results["1"] == []
    assert len(results["2"]) == 5
    assert searcher.batch_search([], []) == {}


# With the real model


@pytest.mark.slow
def test_bm25_with_the_real_model(searcher: Any, make_searcher: Any, reranker: Reranker, documents: Any) -> None:
    question = "make a temporary directory that is removed afterwards"
    first = docids(make_searcher("bm25").search(question, 8))
    searcher.set_reranker(reranker, depth=8)
    hits = searcher.search(question, k=5)
    assert hits[0].docid == "tempfile.mkdtemp" != first[0]
    scores = dict(zip(first, reranker.score(question, [documents[docid] for docid in first]), strict=True))
    assert listed(hits) == sorted(((d, float(s)) for d, s in scores.items()), key=lambda hit: -hit[1])[:5]
    batch = searcher.batch_search([question], ["1"], k=5)["1"]
    assert listed(batch) == listed(hits)


def test_faiss_with_a_text_index_and_the_real_model(
    make_searcher: Any, reranker: Reranker, lucene_index: str, documents: dict[str, str]
) -> None:
    question = "how do I read a file into one string?"
    searcher = make_searcher("faiss")
    searcher.set_reranker(reranker, depth=8, texts=lucene_index)
    hits = searcher.search(question, k=3)
    assert hits[0].docid == "pathlib.Path.read_text"
    assert hits[0].score == pytest.approx(reranker.score(question, [documents[hits[0].docid]])[0], abs=1e-4)


def test_a_text_index_serves_a_batch(
    make_searcher: Any, hashing: Reranker, lucene_index: str, queries: list[str], documents: dict[str, str]
) -> None:
    first = make_searcher("faiss").batch_search(queries, list("abcdef"), k=DEPTH)
    for texts in (lucene_index, make_searcher("bm25"), documents, documents.get):
        searcher = make_searcher("faiss")
        searcher.set_reranker(hashing, depth=DEPTH, texts=texts)
        results = searcher.batch_search(queries, list("abcdef"), k=5)
        for qid, query in zip("abcdef", queries, strict=True):
            assert listed(results[qid]) == expected(query, docids(first[qid]), documents, 5)


def test_a_name_is_loaded(searcher: Any, query: str) -> None:
    searcher.set_reranker("bundled", depth=3, device="cpu", max_length=64)
    assert searcher._reranking.reranker.name == "bundled"
    assert searcher._reranking.reranker.backend.max_length == 64
    assert len(searcher.search(query, k=2)) == 2
    searcher._reranking.reranker.close()


# RerankingSearcher, the explicit form


@dataclasses.dataclass(frozen=True)
class Found:
    docid: str
    score: float
    shelf: str


class Slotted:
    __slots__ = ("docid", "extra", "score")

    def __init__(self, docid: str, score: float, extra: str) -> None:
        self.docid, self.score, self.extra = docid, score, extra


class Tuple(NamedTuple):
    docid: str
    score: float
    extra: str


class Shelves:
    """A searcher of somebody's own, without anything of Pyserini's."""

    def __init__(self, documents: dict[str, str], kind: Callable[..., Any] = Found) -> None:
        self.documents = documents
        self.kind = kind
        self.calls: list[tuple[Any, ...]] = []
        self.closed = False

    def search(self, query: str, k: int = 4, *, shelf: str = "any") -> list[Any]:
        self.calls.append((query, k, shelf))
        best = sorted(self.documents, key=lambda docid: -len(set(words(query)) & set(words(self.documents[docid]))))
        return [self.kind(docid, float(k - rank), shelf) for rank, docid in enumerate(best[:k])]

    def batch_search(self, queries: Sequence[str], qids: Sequence[str], k: int = 4, **more: Any) -> dict[str, Any]:
        return {qid: self.search(query, k, **more) for qid, query in reversed(list(zip(qids, queries, strict=True)))}

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("kind", [Found, Slotted, Tuple])
def test_any_object_with_search_and_batch_search(
    kind: Any, documents: dict[str, str], queries: list[str], hashing: Reranker
) -> None:
    shelves = Shelves(documents, kind)
    searcher = RerankingSearcher(shelves, hashing, depth=12, texts=documents)
    first = shelves.search(queries[0], 12)
    hits = searcher.search(queries[0], shelf="top")
    assert shelves.calls[-1] == (queries[0], 12, "top")
    assert len(hits) == 4
    assert {type(hit) for hit in hits} == {kind}
    assert listed(hits) == expected(queries[0], docids(first), documents, 4)
    assert all((hit.shelf if kind is Found else hit.extra) == "top" for hit in hits)

    results = searcher.batch_search(queries, list("fedcba"), k=3)
    assert list(results) == list("fedcba")
    for qid, query in zip("fedcba", queries, strict=True):
        assert listed(results[qid]) == expected(query, docids(shelves.search(query, 12)), documents, 3)


def test_everything_else_reaches_the_searcher_below(searcher: Any, hashing: Reranker, query: str) -> None:
    reranking = RerankingSearcher(searcher, hashing, depth=DEPTH)
    assert reranking.num_docs == searcher.num_docs
    assert reranking.doc("tempfile.mkdtemp").get("id") == "tempfile.mkdtemp"
    before = docids(reranking.search(query))
    reranking.set_bm25(0.01, 0.99)
    assert docids(reranking.search(query)) != before
    with pytest.raises(AttributeError, match="no_such_thing"):
        reranking.no_such_thing  # noqa: B018
    # The searcher itself is as it was, which is what set_reranker would change.
    assert not searcher.is_using_reranker()
    assert type(searcher.search(query)) is list


def test_the_explicit_form_and_set_reranker_give_the_same(searcher: Any, hashing: Reranker, queries: Any) -> None:
    reranking = RerankingSearcher(searcher, hashing, depth=DEPTH)
    one, many = reranking.search(queries[0], 7), reranking.batch_search(queries, list("abcdef"), 7)
    searcher.set_reranker(hashing, depth=DEPTH)
    assert listed(searcher.search(queries[0], 7)) == listed(one)
    batch = searcher.batch_search(queries, list("abcdef"), 7)
    assert {qid: listed(hits) for qid, hits in batch.items()} == {qid: listed(hits) for qid, hits in many.items()}


@pytest.mark.parametrize("registered", [True, False], ids=["set_reranker", "explicit"])
def test_over_another_reranking_searcher(
    registered: bool, searcher: Any, make_searcher: Any, query: str, documents: dict[str, str]
) -> None:
    inner, outer = HashBackend(lambda q, t: -len(t)), HashBackend()
    first = docids(make_searcher("bm25").search(query, 30))
    if registered:
        searcher.set_reranker(ModelReranker(inner, "shortest"), depth=30)
        below = searcher
    else:
        below = RerankingSearcher(searcher, ModelReranker(inner, "shortest"), depth=30)
    reranking = RerankingSearcher(below, ModelReranker(outer, "hashing"), depth=10)
    shortest = [docid for docid, _ in expected(query, first, documents, 10, lambda q, t: -len(t))]
    wanted = expected(query, shortest, documents, 5)
    assert listed(reranking.search(query, k=5)) == wanted
    assert (len(inner.pairs), len(outer.pairs)) == (30, 10)
    assert listed(reranking.batch_search([query], ["1"], k=5)["1"]) == wanted
    assert inspect.signature(reranking.search) == inspect.signature(make_searcher("bm25").search)
    assert reranking.num_docs == searcher.num_docs


def test_a_query_that_is_no_text_through_two_reranking_searchers(
    make_searcher: Any, vector_query: Any, query: str, documents: dict[str, str]
) -> None:
    inner, outer = HashBackend(lambda q, t: -len(t)), HashBackend()
    flat = make_searcher("flat")
    first = docids(flat.search(vector_query(query), 40))
    below = RerankingSearcher(flat, ModelReranker(inner, "shortest"), depth=40, texts=documents)
    reranking = RerankingSearcher(below, ModelReranker(outer, "hashing"), depth=10, texts=documents)
    shortest = [docid for docid, _ in expected(query, first, documents, 10, lambda q, t: -len(t))]
    wanted = expected(query, shortest, documents, 5)
    assert listed(reranking.search(vector_query(query), k=5, rerank_query=query)) == wanted
    batch = reranking.batch_search([vector_query(query)], ["1"], k=5, rerank_queries=[query])
    assert listed(batch["1"]) == wanted


def test_a_searcher_without_batch_search_has_none_afterwards(make_searcher: Any, hashing: Reranker) -> None:
    reranking = RerankingSearcher(make_searcher("fusion"), hashing)
    with pytest.raises(AttributeError, match="batch_search"):
        reranking.batch_search(["a"], ["1"])


def test_what_is_no_searcher_is_refused(hashing: Reranker) -> None:
    class Other:
        def search(self, query: str) -> list[Any]:
            return []

    with pytest.raises(TypeError, match="no `search` method"):
        RerankingSearcher(object(), hashing)
    with pytest.raises(TypeError, match="takes no `k`"):
        RerankingSearcher(Other(), hashing).search("words")


def test_a_context_manager_closes_neither_the_searcher_nor_a_reranker_that_it_was_given(
    documents: dict[str, str], hashing: Reranker, backend: HashBackend, query: str
) -> None:
    shelves = Shelves(documents)
    with RerankingSearcher(shelves, hashing, texts=documents) as searcher:
        assert len(searcher.search(query)) == 4
    assert not shelves.closed
    assert not backend.closed


def test_closing_a_searcher_leaves_the_reranker_to_the_others(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str
) -> None:
    one, two = make_searcher("bm25"), make_searcher("bm25")
    one.set_reranker(hashing, depth=DEPTH)
    two.set_reranker(hashing, depth=DEPTH)
    before = listed(two.search(query))
    one.close()
    assert not backend.closed
    assert listed(two.search(query)) == before


def test_a_closed_reranker_says_so(searcher: Any, hashing: Reranker, backend: HashBackend, query: str) -> None:
    hits = searcher.search(query)
    searcher.set_reranker(hashing, depth=DEPTH)
    hashing.close()
    hashing.close()  # twice does no harm
    assert backend.closed
    for use in (
        lambda: searcher.search(query),
        lambda: searcher.batch_search([query], ["1"]),
        lambda: hashing.rerank(query, hits),
        lambda: hashing.score(query, ["a text"]),
        lambda: hashing.predict([(query, "a text")]),
    ):
        with pytest.raises(RuntimeError, match="hashing is closed: load it again"):
            use()
    searcher.unset_reranker()
    assert len(searcher.search(query)) == 10


def test_pickling_is_refused(documents: dict[str, str], searcher: Any, hashing: Reranker) -> None:
    with pytest.raises(TypeError, match="cannot be pickled: make one in each process"):
        pickle.dumps(RerankingSearcher(Shelves(documents), hashing, texts=documents))
    searcher.set_reranker(hashing)
    with pytest.raises(TypeError):
        pickle.dumps(searcher)


def test_scores_are_python_floats_that_are_exactly_float32(
    make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]
) -> None:
    searcher = make_searcher("faiss")
    searcher.set_reranker(hashing, depth=DEPTH, texts=documents)
    assert all(np.float32(hit.score) == hit.score for hit in searcher.search(query, k=40))
