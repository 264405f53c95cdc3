"""The candidates are the first stage's own, however it is asked for them."""

import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyserini_rerank.searcher
import pytest
from collection import HashBackend, build_lucene_index, docids, expected, hashed, listed, words
from pyserini_rerank import ModelReranker, Reranker, RerankingSearcher, ShortfallWarning

QIDS = ["q6", "q1", "q5", "q2", "q4", "q3"]


def ours(texts: dict[str, str], queries: list[str], first: dict[str, Any], k: int, depth: int) -> dict[str, Any]:
    """Rerank a batch's first stage, without the code under test."""
    pairs = zip(QIDS, queries, strict=True)
    return {qid: expected(query, docids(first[qid])[:depth], texts, k) for qid, query in pairs}


def lists(results: dict[str, Any]) -> dict[str, list[tuple[str, float]]]:
    return {qid: listed(hits) for qid, hits in results.items()}


@pytest.fixture
def no_shortfall() -> Iterator[None]:
    """Fail where a shortfall is warned of."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", ShortfallWarning)
        yield


# What the searcher was told is passed on


def java_rm3(searcher: Any) -> None:
    searcher.set_rm3(fb_terms=20, fb_docs=5, original_query_weight=0.2)


def java_rocchio(searcher: Any) -> None:
    searcher.set_rocchio(top_fb_terms=20, top_fb_docs=5, beta=2.0)


def python_rm3(searcher: Any) -> None:
    searcher.set_rm3(fb_terms=20, fb_docs=5, original_query_weight=0.2, use_python=True)


def python_rocchio(searcher: Any) -> None:
    searcher.set_rocchio(top_fb_terms=20, top_fb_docs=5, beta=2.0, use_python=True)


def bm25_parameters(searcher: Any) -> None:
    searcher.set_bm25(0.1, 0.95)


def query_likelihood(searcher: Any) -> None:
    searcher.set_qld(20)


SETTINGS = [java_rm3, java_rocchio, python_rm3, python_rocchio, bm25_parameters, query_likelihood]


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("first_set", ["setting", "reranker"])
def test_settings_of_the_searcher_count(
    setting: Any, first_set: str, make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    untouched, plain, searcher = (make_searcher("bm25") for _ in range(3))
    setting(plain)
    if first_set == "setting":
        setting(searcher)
    searcher.set_reranker(hashing, depth=15)
    if first_set == "reranker":
        setting(searcher)

    without = {qid: docids(untouched.search(query, 15)) for qid, query in zip(QIDS, queries, strict=True)}
    one_by_one = {qid: plain.search(query, 15) for qid, query in zip(QIDS, queries, strict=True)}
    assert {qid: docids(hits) for qid, hits in one_by_one.items()} != without, "the setting has to make a difference"
    # The passages are scored against the user's own query, not an expanded one.
    wanted = ours(documents, queries, one_by_one, 7, 15)
    assert {qid: listed(searcher.search(query, 7)) for qid, query in zip(QIDS, queries, strict=True)} == wanted

    batch = plain.batch_search(queries, QIDS, 15, threads=2)
    assert lists(searcher.batch_search(queries, QIDS, 7, threads=2)) == ours(documents, queries, batch, 7, 15)


def test_unset_rm3_counts_too(
    make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("bm25"), make_searcher("bm25")
    searcher.set_reranker(hashing, depth=15)
    python_rm3(searcher)
    searcher.batch_search(queries, QIDS, 7)
    searcher.unset_rm3()
    assert not searcher.is_using_rm3()
    wanted = ours(documents, queries, plain.batch_search(queries, QIDS, 15), 7, 15)
    assert lists(searcher.batch_search(queries, QIDS, 7)) == wanted


def test_fields_and_query_generators(
    tmp_path_factory: Any, documents: dict[str, str], queries: list[str], hashing: Reranker
) -> None:
    import json

    from pyserini.index.lucene import LuceneIndexer
    from pyserini.search.lucene import JQuerySideBm25QueryGenerator, LuceneSearcher

    folder = str(tmp_path_factory.mktemp("fields") / "index")
    indexer = LuceneIndexer(args=["-index", folder, "-storeRaw", "-fields", "name"], threads=1)
    for docid, text in documents.items():
        name = " ".join(words(docid.replace("_", " ")))
        indexer.add_doc_raw(json.dumps({"id": docid, "contents": text, "name": name}))
    indexer.close()
    plain, searcher = LuceneSearcher(folder), LuceneSearcher(folder)
    searcher.set_reranker(hashing, depth=15)

    fields = {"fields": {"name": 5.0, "contents": 0.1}}
    generator = {"query_generator": JQuerySideBm25QueryGenerator(0.9, 0.4, plain.object.reader)}
    usual = {qid: docids(plain.search(query, 15)) for qid, query in zip(QIDS, queries, strict=True)}
    for more in (fields, generator, {**fields, **generator}):
        first = {qid: plain.search(query, 15, **more) for qid, query in zip(QIDS, queries, strict=True)}
        assert {qid: docids(hits) for qid, hits in first.items()} != usual, "it has to make a difference"
        wanted = ours(documents, queries, first, 7, 15)
        assert {qid: listed(searcher.search(q, 7, **more)) for qid, q in zip(QIDS, queries, strict=True)} == wanted
        batch = plain.batch_search(queries, QIDS, 15, **more)
        assert lists(searcher.batch_search(queries, QIDS, 7, **more)) == ours(documents, queries, batch, 7, 15)
    plain.close()
    searcher.close()


def test_segments_and_duplicates_are_seen_to_first(
    tmp_path: Any, documents: dict[str, str], hashing: Reranker, backend: HashBackend, query: str
) -> None:
    from pyserini.search.lucene import LuceneSearcher

    segments = {f"{i // 3}.{i % 3}": text for i, text in enumerate(documents.values())}
    index = build_lucene_index(tmp_path / "index", segments)
    plain, searcher = LuceneSearcher(index), LuceneSearcher(index)
    searcher.set_reranker(hashing, depth=30)
    whole = plain.search(query, 30)
    assert listed(searcher.search(query, 30)) == expected(query, docids(whole), segments, 30)

    for more in ({"strip_segment_id": True}, {"strip_segment_id": True, "remove_dups": True}):
        first = plain.search(query, 30, **more)
        # The text is that of the stored segment; no document has the docid that is left of it.
        stored = [(hit.docid, hashed(query, segments[hit.lucene_document.get("id")])) for hit in first]
        wanted = sorted(stored, key=lambda hit: -hit[1])
        assert listed(searcher.search(query, 30, **more)) == wanted
        assert all("." not in docid for docid, _ in wanted)
    assert len({docid for docid, _ in wanted}) == len(wanted) < len(whole)

    # A text index has the whole docids: a look-up is by these too.
    searcher.set_reranker(hashing, depth=30, texts=segments)
    assert listed(searcher.search(query, 30, **more)) == wanted
    plain.close()
    searcher.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "more", [{"alpha": 0.9}, {"normalization": True}, {"weight_on_dense": True, "alpha": 5.0}, {"k0": 25}]
)
def test_hybrid_keywords(
    more: dict[str, Any], make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("hybrid"), make_searcher("hybrid")
    searcher.set_reranker(hashing, depth=12)
    asked = {"k0": 12, "k": 12, **more}
    first = {qid: plain.search(query, **asked) for qid, query in zip(QIDS, queries, strict=True)}
    wanted = ours(documents, queries, first, 6, 12)
    assert {qid: listed(searcher.search(q, k=6, **more)) for qid, q in zip(QIDS, queries, strict=True)} == wanted
    first = plain.batch_search(queries, QIDS, threads=2, **asked)
    batch = searcher.batch_search(queries, QIDS, k=6, threads=2, **more)
    assert lists(batch) == ours(documents, queries, first, 6, 12)


def test_threads_reach_faiss(make_searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]) -> None:
    import faiss

    searcher = make_searcher("faiss")
    searcher.set_reranker(hashing, depth=12, texts=documents)
    before = faiss.omp_get_max_threads()
    try:
        for threads in (2, 1):
            searcher.search(query, threads=threads)
            assert faiss.omp_get_max_threads() == threads
            searcher.batch_search([query], ["1"], threads=3 - threads)
            assert faiss.omp_get_max_threads() == 3 - threads
    finally:
        faiss.omp_set_num_threads(before)


def test_impact_and_slim_settings(make_searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]) -> None:
    plain, searcher = make_searcher("impact"), make_searcher("impact")
    searcher.set_reranker(hashing, depth=15)
    usual = docids(plain.search(query, 15))
    plain.min_idf = searcher.min_idf = 3
    first = docids(plain.search(query, 15))
    assert first != usual
    assert listed(searcher.search(query, 15)) == expected(query, first, documents, 15)
    assert listed(searcher.batch_search([query], ["1"], 15)["1"]) == expected(query, first, documents, 15)


# Raising k is not raising depth


def test_hnsw_gives_no_more_than_ef_search(
    make_searcher: Any, hashing: Reranker, vector_query: Any, queries: list[str], documents: dict[str, str]
) -> None:
    searcher = make_searcher("hnsw")
    searcher.set_reranker(hashing, depth=150, texts=documents)
    with pytest.warns(ShortfallWarning) as record:
        hits = searcher.search(vector_query(queries[0]), k=3, rerank_query=queries[0])
    (warning,) = record
    assert "ef_search kept the first stage to 100 of 150 candidates for 1 of 1 queries" in str(warning.message)
    assert warning.filename == __file__, "the warning has to point at the line that searched"
    assert len(hits) == 3

    with pytest.warns(ShortfallWarning, match="100 of 150 candidates for 6 of 6 queries") as record:
        searcher.batch_search([vector_query(query) for query in queries], QIDS, k=3, rerank_queries=queries)
    (warning,) = record
    assert warning.filename == __file__


def test_hnsw_of_a_subclass_is_told_of_as_well(
    make_searcher: Any, hashing: Reranker, vector_query: Any, query: str, hnsw_index: str, documents: dict[str, str]
) -> None:
    from pyserini.search.lucene import LuceneHnswDenseSearcher

    class Mine(LuceneHnswDenseSearcher):
        pass

    searcher = Mine(hnsw_index)
    searcher.set_reranker(hashing, depth=150, texts=documents)
    with pytest.warns(ShortfallWarning, match="ef_search kept the first stage to 100 of 150"):
        searcher.search(vector_query(query), k=3, rerank_query=query)
    searcher.close()


@pytest.mark.usefixtures("no_shortfall")
def test_hnsw_with_all_that_the_index_has_is_no_shortfall(
    hashing: Reranker, vector_query: Any, query: str, hnsw_index: str, documents: dict[str, str]
) -> None:
    from pyserini.search.lucene import LuceneHnswDenseSearcher

    searcher = LuceneHnswDenseSearcher(hnsw_index, ef_search=1000)
    searcher.set_reranker(hashing, depth=1000, texts=documents)
    hits = searcher.search(vector_query(query), k=1000, rerank_query=query)
    assert len(hits) == len(documents)
    searcher.set_reranker(hashing, depth=50, texts=documents)
    assert len(searcher.search(vector_query(query), k=50, rerank_query=query)) == 50
    searcher.close()


def test_hnsw_searches_open_no_index_each(
    hashing: Reranker, vector_query: Any, query: str, hnsw_index: str, documents: dict[str, str], monkeypatch: Any
) -> None:
    import pyserini.index.lucene as index
    from pyserini.search.lucene import LuceneHnswDenseSearcher

    opened = []
    real = index.LuceneIndexReader
    monkeypatch.setattr(index, "LuceneIndexReader", lambda folder: opened.append(folder) or real(folder))
    searcher = LuceneHnswDenseSearcher(hnsw_index, ef_search=1000)
    searcher.set_reranker(hashing, depth=10, texts=documents)
    for _ in range(3):
        searcher.search(vector_query(query), rerank_query=query)
    searcher.close()
    assert len(opened) <= 1


@pytest.mark.usefixtures("no_shortfall")
def test_hybrid_k0_is_raised_unless_it_is_given(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str
) -> None:
    searcher = make_searcher("hybrid")
    searcher.set_reranker(hashing, depth=40)
    assert len(searcher.search(query, k=30)) == 30
    assert len(backend.pairs) == 40
    assert len(searcher.batch_search([query], ["1"], k=30)["1"]) == 30
    assert len(backend.pairs) == 80
    # Given and large enough, or given and yet enough in the end: nothing to warn of.
    searcher.search(query, k0=40)
    searcher.search(query, k0=38)


def test_hybrid_ties_are_broken_by_docid(tmp_path):
    """Pyserini leaves them in the order of a Python set, another one in every process."""
    from pyserini.search.hybrid import HybridSearcher
    from pyserini.search.lucene import LuceneSearcher

    names = [f"d{number:02}" for number in range(30)]
    folder = build_lucene_index(tmp_path / "index", dict.fromkeys(names, "the same text"))
    searcher = HybridSearcher(LuceneSearcher(folder), LuceneSearcher(folder))
    searcher.set_reranker(ModelReranker(HashBackend(lambda query, text: 0.0), "constant"), depth=10)
    assert docids(searcher.search("same text", k0=30)) == names[:10]
    assert docids(searcher.batch_search(["same text"], ["1"], k0=30)["1"]) == names[:10]
    searcher.sparse_searcher.close()
    searcher.dense_searcher.close()


def test_hybrid_k0_that_is_given_and_too_small_is_warned_of(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, queries: list[str], documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("hybrid"), make_searcher("hybrid")
    searcher.set_reranker(hashing, depth=40)
    first = docids(plain.search(queries[0], k0=5, k=40))
    assert 5 <= len(first) <= 10
    for use in (
        lambda: searcher.search(queries[0], k0=5, k=40),
        lambda: searcher.search(queries[0], 5, 40),
    ):
        with pytest.warns(ShortfallWarning) as record:
            assert listed(use()) == expected(queries[0], first, documents, 40)
        assert f"k0=5 kept the first stage to {len(first)} of 40 candidates for 1 of 1" in str(record[0].message)
        assert len(record) == 1
    with pytest.warns(
        ShortfallWarning, match=r"k0=5 kept the first stage to \d+ of 40 .* for 6 of 6 queries"
    ) as record:
        searcher.batch_search(queries, QIDS, k0=5)
    assert len(record) == 1


@pytest.mark.usefixtures("no_shortfall")
def test_binary_k_is_raised_and_not_above_the_index(
    make_searcher: Any, hashing: Reranker, query: str, numbered: dict[str, str]
) -> None:
    plain, searcher = make_searcher("binary"), make_searcher("binary")
    for depth in (10, 150, len(numbered), 1000):
        searcher.set_reranker(hashing, depth=depth, texts=numbered)
        size = min(depth, len(numbered))
        first = docids(plain.search(query, k=size, binary_k=max(100, size)))
        assert len(first) == size
        wanted = expected(query, first, numbered, 1000)[:10]
        assert listed(searcher.search(query)) == wanted
        assert listed(searcher.batch_search([query], ["1"])["1"]) == wanted
    # So many hits are not there, and Pyserini itself would raise an OverflowError.
    assert len(searcher.search(query, k=5000)) == len(numbered)


def test_binary_k_that_is_given_counts_and_is_warned_of(
    make_searcher: Any, hashing: Reranker, query: str, numbered: dict[str, str]
) -> None:
    plain, searcher = make_searcher("binary"), make_searcher("binary")
    searcher.set_reranker(hashing, depth=50, texts=numbered)
    first = docids(plain.search(query, k=50, binary_k=20))
    assert len(first) == 20
    with pytest.warns(ShortfallWarning, match="binary_k=20 kept the first stage to 20 of 50 candidates for 1 of 1"):
        assert listed(searcher.search(query, binary_k=20, k=50)) == expected(query, first, numbered, 50)
    with pytest.warns(ShortfallWarning, match="binary_k=20 kept the first stage to 20 of 50"):
        searcher.batch_search([query], ["1"], binary_k=20)


def test_hamming_distances_of_which_the_lowest_is_best(
    make_searcher: Any, hashing: Reranker, query: str, numbered: dict[str, str]
) -> None:
    plain, searcher = make_searcher("binary"), make_searcher("binary")
    searcher.set_reranker(hashing, depth=20, texts=numbered)
    first = docids(plain.search(query, k=30, rerank=False))
    hits = searcher.search(query, k=30, rerank=False)
    assert listed(hits)[:20] == expected(query, first[:20], numbered, 20)
    assert docids(hits)[20:] == first[20:]
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


def test_fusion_is_cut_to_k(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str, documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("fusion"), make_searcher("fusion")
    first = docids(plain.search(query, k=10))
    assert len(first) > 10, "Pyserini gives more than it is asked for"
    searcher.set_reranker(hashing, depth=10)
    assert listed(searcher.search(query, k=4)) == expected(query, first[:10], documents, 4)
    assert len(backend.pairs) == 10
    assert len(searcher.search(query, k=10)) == 10


def test_negative_rocchio_sees_the_k_it_is_called_with(
    make_searcher: Any, hashing: Reranker, documents: dict[str, str]
) -> None:
    query = "read the contents of a file as text or bytes and close it again"

    def negative(searcher: Any) -> Any:
        searcher.set_rocchio(
            top_fb_docs=3, bottom_fb_docs=5, bottom_fb_terms=20, beta=0.5, gamma=2.0, use_negative=True
        )
        return searcher

    plain, searcher = negative(make_searcher("bm25")), negative(make_searcher("bm25"))
    deep, shallow = docids(plain.search(query, 60)), docids(plain.search(query, 10))
    assert deep[:10] != shallow, "k is what the feedback sees"
    searcher.set_reranker(hashing, depth=60)
    assert listed(searcher.search(query, 10)) == expected(query, deep, documents, 10)
    assert listed(searcher.batch_search([query], ["1"], 10)["1"]) == expected(query, deep, documents, 10)


def test_faiss_padding_is_never_reranked(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str, documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("faiss"), make_searcher("faiss")
    everything = docids(plain.search(query, k=len(documents)))
    padded = plain.search(query, k=len(documents) + 5, remove_dups=True)
    assert len(padded) == len(documents) + 1, "Pyserini appends a hit that is none"
    searcher.set_reranker(hashing, depth=len(documents) + 5, texts=documents)
    for more in ({"remove_dups": True}, {}):
        hits = searcher.search(query, k=len(documents) + 5, **more)
        assert listed(hits) == expected(query, everything, documents, len(documents))
        assert backend.planned[-1] == [(query, documents[docid]) for docid in everything]
    assert len(searcher.batch_search([query], ["1"], k=5000)["1"]) == len(documents)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("remove_dups", [False, True])
def test_ivf_padding_is_never_reranked(
    normalize: bool, remove_dups: bool, ivf_index: str, encoder: Any, hashing: Reranker, backend: HashBackend,
    query: str, documents: dict[str, str],
) -> None:  # fmt: skip
    from pyserini.search.faiss import FaissSearcher

    plain = FaissSearcher(ivf_index, encoder, normalize_distances=normalize)
    searcher = FaissSearcher(ivf_index, encoder, normalize_distances=normalize)
    cell = docids(plain.search(query, k=len(documents)))
    assert 10 < len(cell) < len(documents)
    searcher.set_reranker(hashing, depth=len(documents), texts=documents)
    hits = searcher.search(query, k=len(documents), remove_dups=remove_dups)
    assert listed(hits) == expected(query, cell, documents, len(cell))
    assert len(backend.pairs) == len(cell)
    batch = searcher.batch_search([query], ["1"], k=len(documents))["1"]
    assert listed(batch) == expected(query, cell, documents, len(cell))


def test_vectors_are_passed_through_untouched(
    make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str, documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher("faiss"), make_searcher("faiss")
    searcher.set_reranker(hashing, texts=documents)
    vector, hits = plain.search(query, k=3, return_vector=True)
    same, found = searcher.search(query, k=3, return_vector=True)
    assert np.array_equal(vector, same)
    assert type(found[0]) is type(hits[0])
    assert [(hit.docid, hit.score) for hit in found] == [(hit.docid, hit.score) for hit in hits]
    assert all(np.array_equal(a.vectors, b.vectors) for a, b in zip(found, hits, strict=True))

    vectors, results = plain.batch_search([query], ["1"], k=3, return_vector=True)
    same, found = searcher.batch_search([query], ["1"], k=3, return_vector=True)
    assert np.array_equal(vectors, same)
    assert listed(found["1"]) == listed(results["1"])
    assert backend.planned == []


# The bulk path


@pytest.mark.parametrize("kind", ["bm25", "impact", "hnsw", "flat"])
def test_a_batch_in_bulk_equals_searches_one_by_one(
    kind: str, make_searcher: Any, hashing: Reranker, queries: list[str], vector_query: Any, documents: dict[str, str]
) -> None:
    searcher = make_searcher(kind)
    dense = kind in ("hnsw", "flat")
    searcher.set_reranker(hashing, depth=20, texts=documents if dense else None)
    from pyserini_rerank.retrieval.searcher_adapter import _java_object

    assert _java_object(searcher._reranking.first_stage._plain()), "this is about the bulk path"
    batch = [vector_query(query) for query in queries] if dense else queries
    results = searcher.batch_search(batch, QIDS, k=30, threads=2, **({"rerank_queries": queries} if dense else {}))
    for qid, asked, query in zip(QIDS, batch, queries, strict=True):
        hits = searcher.search(asked, k=30, **({"rerank_query": query} if dense else {}))
        assert docids(hits) == docids(results[qid])
        for one, other in zip(hits, results[qid], strict=True):
            assert type(one) is type(other)
            assert one.score == pytest.approx(other.score, abs=1e-4)
            assert one.lucene_docid == other.lucene_docid
            field = "id" if dense else "raw"
            assert one.lucene_document.get(field) == other.lucene_document.get(field) is not None


def test_a_batch_in_bulk_with_the_real_model(searcher: Any, reranker: Reranker, queries: list[str]) -> None:
    searcher.set_reranker(reranker, depth=4)
    results = searcher.batch_search(queries[:2], QIDS[:2], k=8)
    for qid, query in zip(QIDS, queries[:2], strict=False):
        hits = searcher.search(query, k=8)
        assert docids(hits) == docids(results[qid])
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in results[qid]], abs=1e-4)


def test_a_batch_in_shards_equals_one_in_a_piece(
    searcher: Any, hashing: Reranker, backend: HashBackend, queries: list[str], monkeypatch: Any
) -> None:
    searcher.set_reranker(hashing, depth=10)
    whole = lists(searcher.batch_search([*queries, queries[0]], [*QIDS, "again"], k=12))
    monkeypatch.setattr(pyserini_rerank.searcher, "SHARD", 30)
    backend.planned.clear()
    results = searcher.batch_search([*queries, queries[0]], [*QIDS, "again"], k=12)
    assert lists(results) == whole
    assert list(results) == [*QIDS, "again"]
    assert len(backend.planned) > 1
    # The same query twice is in one shard, and its pairs are scored once.
    assert len(backend.pairs) == len(set(backend.pairs))


def mine(name: str) -> Any:
    """Make a subclass of LuceneSearcher that overrides one method, and finds only what is of pathlib."""
    from pyserini.search.lucene import LuceneSearcher

    def of_pathlib(hits: Any) -> Any:
        return [hit for hit in hits if hit.docid.startswith("pathlib")]

    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = getattr(LuceneSearcher, name)(self, *args, **kwargs)
        return {qid: of_pathlib(hits) for qid, hits in found.items()} if name.startswith("batch") else of_pathlib(found)

    # Pyserini's own signature, as somebody who overrides it writes it.
    override.__signature__ = __import__("inspect").signature(getattr(LuceneSearcher, name))  # type: ignore[attr-defined]
    return type("Mine", (LuceneSearcher,), {name: override}), override


OVERRIDDEN = ["search", "batch_search", "search_raw", "batch_search_raw"]


def check_candidates_are_the_methods(
    searcher: Any, plain: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    searcher.set_reranker(hashing, depth=15)
    one_by_one = {qid: plain.search(query, 15) for qid, query in zip(QIDS, queries, strict=True)}
    batch = plain.batch_search(queries, QIDS, 15)
    found = [*one_by_one.values(), *batch.values()]
    assert any(all(docid.startswith("pathlib") for docid in docids(hits)) for hits in found)
    assert lists({qid: searcher.search(query, 7) for qid, query in zip(QIDS, queries, strict=True)}) == ours(
        documents, queries, one_by_one, 7, 15
    )
    assert lists(searcher.batch_search(queries, QIDS, 7)) == ours(documents, queries, batch, 7, 15)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_a_subclass_overrides_gives_the_candidates(
    name: str, lucene_index: str, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    kind, _ = mine(name)
    searcher, plain = kind(lucene_index), kind(lucene_index)
    check_candidates_are_the_methods(searcher, plain, hashing, queries, documents)
    searcher.close()
    plain.close()


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_an_instance_overrides_gives_the_candidates(
    name: str, make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    _, override = mine(name)
    searcher, plain = make_searcher("bm25"), make_searcher("bm25")
    for one in (searcher, plain):
        setattr(one, name, override.__get__(one))
    check_candidates_are_the_methods(searcher, plain, hashing, queries, documents)
    searcher.unset_reranker()
    assert getattr(searcher, name).__func__ is override, "what was there before is there again"


@pytest.mark.parametrize("name", ["search_raw", "batch_search_raw"])
def test_what_an_instance_overrides_afterwards_counts_too(
    name: str, make_searcher: Any, hashing: Reranker, queries: list[str], documents: dict[str, str]
) -> None:
    _, override = mine(name)
    searcher, plain = make_searcher("bm25"), make_searcher("bm25")
    searcher.set_reranker(hashing, depth=15)
    for one in (searcher, plain):
        setattr(one, name, override.__get__(one))
    check_candidates_are_the_methods(searcher, plain, hashing, queries, documents)


# Reranked once, and from the inside out


@pytest.mark.parametrize("pool", [False, True], ids=["loop", "threads"])
def test_a_batch_search_that_calls_search_is_reranked_once(
    pool: bool, lucene_index: str, make_searcher: Any, hashing: Reranker, backend: HashBackend, queries: list[str],
    documents: dict[str, str],
) -> None:  # fmt: skip
    from pyserini.search.lucene import LuceneSearcher

    class Mine(LuceneSearcher):
        def batch_search(self, queries: list[str], qids: list[str], k: int = 10, threads: int = 1) -> dict[str, Any]:
            if not pool:
                return {qid: self.search(query, k) for qid, query in zip(qids, queries, strict=True)}
            with ThreadPoolExecutor(2) as executor:
                return dict(
                    zip(qids, executor.map(lambda query: detached(self.search, query, k), queries), strict=True)
                )

    searcher, plain = Mine(lucene_index), make_searcher("bm25")
    searcher.set_reranker(hashing, depth=15)
    results = searcher.batch_search(queries, QIDS, 7)
    first = {qid: plain.search(query, 15) for qid, query in zip(QIDS, queries, strict=True)}
    assert lists(results) == ours(documents, queries, first, 7, 15)
    assert len(backend.pairs) == sum(len(hits) for hits in first.values())
    assert len(backend.planned) == 1, "reranked as one batch"
    # The trace is that of the first stage too.
    traces = pyserini_rerank.trace(results[QIDS[0]])
    assert [trace.docid for trace in traces] == [docids(first[QIDS[0]])[trace.first_rank - 1] for trace in traces]
    searcher.close()


def test_a_search_that_calls_batch_search_is_reranked_once(
    lucene_index: str, make_searcher: Any, hashing: Reranker, backend: HashBackend, query: str,
    documents: dict[str, str],
) -> None:  # fmt: skip
    from pyserini.search.lucene import LuceneSearcher

    class Mine(LuceneSearcher):
        def search(self, q: str, k: int = 10) -> Any:
            return self.batch_search([q], ["1"], k)["1"]

    searcher = Mine(lucene_index)
    searcher.set_reranker(hashing, depth=15)
    first = docids(make_searcher("bm25").search(query, 15))
    assert listed(searcher.search(query, 7)) == expected(query, first, documents, 7)
    assert len(backend.pairs) == 15
    searcher.close()


def test_a_first_stage_that_fails_leaves_the_searcher_reranking(
    lucene_index: str, hashing: Reranker, query: str
) -> None:
    from pyserini.search.lucene import LuceneSearcher

    class Mine(LuceneSearcher):
        failing = True

        def search(self, q: str, k: int = 10) -> Any:
            if self.failing:
                raise KeyError("something of theirs")
            return super().search(q, k)

    searcher = Mine(lucene_index)
    searcher.set_reranker(hashing, depth=15)
    with pytest.raises(KeyError, match="something of theirs"):
        searcher.search(query)
    searcher.failing = False
    assert searcher.search(query)[0].score > 5  # a hash's, BM25's are lower here
    searcher.close()


def fused(runs: list[list[str]]) -> dict[str, float]:
    """Fuse by reciprocal rank, with Pyserini's constant."""
    scores: dict[str, float] = {}
    for run in runs:
        for rank, docid in enumerate(run, 1):
            scores[docid] = scores.get(docid, 0) + 1 / (60 + rank)
    return scores


def test_the_rerankers_of_fused_searchers_come_first_then_fusion(
    lucene_index: str, query: str, documents: dict[str, str]
) -> None:
    from pyserini.fusion import FusionMethod
    from pyserini.search.lucene import LuceneFusionSearcher

    fusion = LuceneFusionSearcher([lucene_index, lucene_index], FusionMethod.RRF)
    one, two = fusion.get_searchers()
    two.set_bm25(0.01, 0.99)
    first = [docids(searcher.search(query, 30)) for searcher in (one, two)]
    assert first[0] != first[1]

    def shortest(_: str, text: str) -> float:
        return -len(text)

    inner, other, outer = HashBackend(shortest), HashBackend(lambda q, t: hashed(t, q)), HashBackend()
    one.set_reranker(ModelReranker(inner, "shortest"), depth=30)
    two.set_reranker(ModelReranker(other, "other"), depth=30)
    reranked = [
        [docid for docid, _ in expected(query, first[0], documents, 30, shortest)],
        [docid for docid, _ in expected(query, first[1], documents, 30, lambda q, t: hashed(t, q))],
    ]
    assert dict(listed(fusion.search(query, k=12))) == pytest.approx(fused([run[:12] for run in reranked]), abs=1e-6)

    fusion.set_reranker(ModelReranker(outer, "outer"), depth=12)
    hits = fusion.search(query, k=12)
    candidates = {text for _, text in outer.pairs}
    assert len(candidates) == 12
    unranked = LuceneFusionSearcher.search(fusion, query, k=12)
    assert listed(hits) == expected(query, docids(unranked)[:12], documents, 12)
    assert candidates == {documents[docid] for docid in docids(unranked)[:12]}
    assert {len(inner.planned[-1]), len(other.planned[-1])} == {30}
    for searcher in (one, two):
        searcher.close()


def test_the_rerankers_of_a_hybrids_parts_come_first(
    make_searcher: Any, query: str, documents: dict[str, str], hashing: Reranker
) -> None:
    plain, hybrid = make_searcher("hybrid"), make_searcher("hybrid")

    def one(query: str, text: str) -> float:
        return hashed(text, query)

    def other(query: str, text: str) -> float:
        return hashed(text, query.upper())

    dense, sparse = HashBackend(one), HashBackend(other)
    hybrid.dense_searcher.set_reranker(ModelReranker(dense, "dense"), depth=40, texts=documents)
    hybrid.sparse_searcher.set_reranker(ModelReranker(sparse, "sparse"), depth=30)
    parts = {
        "dense": expected(query, docids(plain.dense_searcher.search(query, 40)), documents, 20, one),
        "sparse": expected(query, docids(plain.sparse_searcher.search(query, 30)), documents, 20, other),
    }
    lowest = {name: hits[-1][1] for name, hits in parts.items()}
    both = {name: dict(hits) for name, hits in parts.items()}
    mixed = {
        docid: 0.1 * both["sparse"].get(docid, lowest["sparse"]) + both["dense"].get(docid, lowest["dense"])
        for docid in both["dense"].keys() | both["sparse"].keys()
    }
    wanted = sorted(mixed, key=lambda docid: -mixed[docid])[:20]
    assert docids(hybrid.search(query, k0=20, k=20)) == wanted
    assert docids(hybrid.batch_search([query], ["1"], k0=20, k=20)["1"]) == wanted
    assert {len(pairs) for pairs in dense.planned} == {40}
    assert {len(pairs) for pairs in sparse.planned} == {30}

    hybrid.set_reranker(hashing, depth=20)
    assert listed(hybrid.search(query, k=9)) == expected(query, wanted, documents, 9)
    assert listed(hybrid.batch_search([query], ["1"], k=9)["1"]) == expected(query, wanted, documents, 9)


# What others hold is left as it is


def test_a_searcher_that_keeps_its_lists_gets_them_back_unchanged(
    lucene_index: str, make_searcher: Any, hashing: Reranker, query: str, documents: dict[str, str]
) -> None:
    from pyserini.search.lucene import LuceneSearcher

    class Caching(LuceneSearcher):
        kept: dict[Any, Any] = {}  # noqa: RUF012

        def search(self, q: str, k: int = 10) -> Any:
            if (q, k) not in self.kept:
                self.kept[q, k] = super().search(q, k)
            return self.kept[q, k]

        def batch_search(self, queries: list[str], qids: list[str], k: int = 10, threads: int = 1) -> Any:
            if k not in self.kept:
                self.kept[k] = super().batch_search(queries, qids, k, threads)
            return self.kept[k]

    searcher = Caching(lucene_index)
    searcher.set_reranker(hashing, depth=15)
    first = listed(make_searcher("bm25").search(query, 15))
    wanted = expected(query, [docid for docid, _ in first], documents, 10)
    for _ in range(2):
        assert listed(searcher.search(query)) == wanted
        assert listed(searcher.batch_search([query], ["1"])["1"]) == wanted
        assert listed(searcher.kept[query, 15]) == listed(searcher.kept[15]["1"]) == first
    searcher.close()


def test_results_of_an_earlier_search_stay(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    searcher.set_reranker(hashing, depth=15)
    kept = [searcher.search(queries[0]), searcher.batch_search(queries[:2], QIDS[:2])["q6"]]
    before = [listed(hits) for hits in kept]
    searcher.set_reranker(ModelReranker(HashBackend(lambda q, t: 1.0), "constant"), depth=15)
    for query in queries[:2]:
        searcher.search(query)
        searcher.batch_search([query], ["1"])
    searcher.unset_reranker()
    assert [listed(hits) for hits in kept] == before


def test_given_arguments_are_left_as_they_are(searcher: Any, hashing: Reranker, queries: list[str]) -> None:
    searcher.set_reranker(hashing, depth=15)
    batch, qids, fields = list(queries), list(QIDS), {"contents": 1.0}
    searcher.batch_search(batch, qids, fields=fields)
    assert (batch, qids, fields) == (queries, QIDS, {"contents": 1.0})


def detached(call: Any, *args: Any) -> Any:
    """Call something in a thread that Java has to let go of afterwards."""
    import jnius

    try:
        return call(*args)
    finally:
        jnius.detach()


def test_reranking_searcher_over_a_searcher_that_reranks_later(
    searcher: Any, hashing: Reranker, backend: HashBackend, query: str
) -> None:
    outer = HashBackend()
    reranking = RerankingSearcher(searcher, ModelReranker(outer, "outer"), depth=15)
    before = listed(reranking.search(query))
    searcher.set_reranker(hashing, depth=15)
    searcher.unset_reranker()
    assert listed(reranking.search(query)) == before
