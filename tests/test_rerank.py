"""Hits that one already has; pairs; what a result can be used for."""

import copy
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyserini_rerank
import pytest
from collection import HashBackend, build_lucene_index, docids, expected, hashed, listed, threaded, words
from pyserini_rerank import Hits, ModelReranker, Reranker, RerankingSearcher, Trace, trace

QIDS = ["1", "2", "3", "4", "5", "6"]


# Hits already in hand


@pytest.mark.parametrize("kind", ["bm25", "impact", "slim", "fusion", "flat", "faiss", "binary", "hybrid"])
def test_rerank_gives_the_same_structures_and_leaves_the_hits(
    kind: str, make_searcher: Any, vector_query: Any, query: str, hashing: Reranker, documents: Any, numbered: Any
) -> None:
    texts = numbered if kind in ("slim", "binary") else documents
    more = {"k0": 15} if kind == "hybrid" else {}
    hits = make_searcher(kind).search(vector_query(query) if kind == "flat" else query, k=15, **more)
    before, scores, objects = listed(hits), [type(hit.score) for hit in hits], list(hits)
    stored = kind in ("bm25", "impact", "fusion")
    reranked = hashing.rerank(query, hits, texts=None if stored else texts)
    assert listed(reranked) == expected(query, docids(hits), texts, len(hits))
    assert {type(hit) for hit in reranked} == {type(hits[0])}
    assert [docid for docid, _ in before] != docids(reranked)

    # The list, its objects and their scores are what they were.
    assert listed(hits) == before
    assert [type(hit.score) for hit in hits] == scores
    assert all(hit is was for hit, was in zip(hits, objects, strict=True))
    if kind in ("bm25", "impact", "fusion", "flat"):
        by_docid = {hit.docid: hit for hit in hits}
        for hit in reranked:
            was = by_docid[hit.docid]
            assert hit.lucene_docid == was.lucene_docid
            assert hit.lucene_document.get("id") == was.lucene_document.get("id")


def test_rerank_gives_k(searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]) -> None:
    hits = searcher.search(query, 20)
    assert len(hashing.rerank(query, hits)) == 20
    assert listed(hashing.rerank(query, hits, k=3)) == expected(query, docids(hits), documents, 3)
    assert len(hashing.rerank(query, hits, 500)) == 20
    assert hashing.rerank(query, []) == []
    with pytest.raises(ValueError, match="k is 0: give 1 or more"):
        hashing.rerank(query, hits, k=0)


def test_rerank_takes_any_source_of_texts(
    make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str], lucene_index: str
) -> None:
    hits = make_searcher("faiss").search(query, 12)
    wanted = expected(query, docids(hits), documents, 12)
    for texts in (documents, documents.get, documents.__getitem__, lucene_index, Path(lucene_index)):
        assert listed(hashing.rerank(query, hits, texts=texts)) == wanted
    assert listed(hashing.rerank(query, hits, texts=make_searcher("bm25"))) == wanted
    with pytest.raises(pyserini_rerank.MissingText, match=f"hit {hits[0].docid} has no text"):
        hashing.rerank(query, hits)


def test_rerank_of_reranked_hits(searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]) -> None:
    hits = searcher.search(query, 20)
    shortest = ModelReranker(HashBackend(lambda q, t: -len(t)), "shortest")
    once = shortest.rerank(query, hits)
    wanted = expected(query, docids(once), documents, 5)
    assert listed(hashing.rerank(query, once, k=5)) == wanted
    assert [hit.score for hit in once] == sorted((hit.score for hit in once), reverse=True)


def test_duplicates_in_a_list_are_kept_and_scored_once(
    searcher: Any, query: str, hashing: Reranker, backend: HashBackend
) -> None:
    hits = searcher.search(query, 6)
    reranked = hashing.rerank(query, [*hits, *hits])
    assert len(reranked) == 12
    assert docids(reranked)[::2] == docids(reranked)[1::2]
    assert len(backend.pairs) == 6


# Scores and pairs


def test_score_and_predict(hashing: Reranker, backend: HashBackend) -> None:
    scores = hashing.score("a query", ["one", "two", "one"])
    assert scores.dtype == np.float32
    assert scores.tolist() == [hashed("a query", text) for text in ("one", "two", "one")]
    assert len(backend.pairs) == 2
    pairs = [("a query", "two"), ("another", "two"), ("a query", "one")]
    assert hashing.predict(pairs).tolist() == [hashed(*pair) for pair in pairs]
    assert hashing.score("a query", []).shape == hashing.predict([]).shape == (0,)
    assert hashing.score("a query", ["one"], probability=True)[0] == pytest.approx(
        1 / (1 + np.exp(-hashed("a query", "one")))
    )
    assert (hashing.counts.pairs, hashing.counts.scored) == (7, 6)


def test_the_model_cards_own_pairs(reranker: Reranker) -> None:
    question = "How many people live in Berlin?"
    texts = [
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        "New York City is famous for the Metropolitan Museum of Art.",
    ]
    scores = reranker.predict([(question, text) for text in texts])
    assert scores.shape == (2,)
    assert scores[0] > 5 > -5 > scores[1]
    assert np.array_equal(reranker.score(question, texts), scores)


# Plain texts


def test_rank_gives_plain_texts_best_first(hashing: Reranker, documents: dict[str, str], query: str) -> None:
    texts = list(documents.values())[:30]
    wanted = sorted(((hashed(query, text), -i) for i, text in enumerate(texts)), reverse=True)
    for given in (texts, tuple(texts), (text for text in texts), np.array(texts), pd.Series(texts, index=range(30, 60)),
                  dict(enumerate(texts)).values()):  # fmt: skip
        ranked = hashing.rank(query, given)
        assert [(one.score, -one.index) for one in ranked] == wanted
        assert [one.text for one in ranked] == [texts[one.index] for one in ranked]
    index, score, text = hashing.rank(query, texts, top_k=np.int64(3))[2]
    assert (score, -index) == wanted[2] and type(index) is int and type(score) is float and type(text) is str
    assert len(hashing.rank(query, texts, 500)) == 30 and hashing.rank(query, []) == []
    assert [one.index for one in hashing.rank(query, ["same"] * 4, 3)] == [0, 1, 2]


def test_rank_by_combinations(hashing: Reranker, query: str) -> None:
    texts = [f"{'a ' * i}{i}" for i in range(1, 7)]
    shortest = ModelReranker(HashBackend(lambda q, t: -len(t)), "shortest")
    # The last stage scores the three shortest, and the longer ones follow in the order of the first.
    ranked = pyserini_rerank.Cascade([(shortest, 6), (hashing, 3)]).rank(query, texts)
    best = sorted(range(3), key=lambda i: -hashed(query, texts[i]))
    assert [one.index for one in ranked] == [*best, 3, 4, 5]
    assert all(one.score > after.score for one, after in pairwise(ranked))

    class Partial(Reranker):
        def relevance(self, queries: Any, found: Any, counts: Any) -> list[Any]:
            return [[float("nan") if len(text) > 5 else -len(text) for text in of.texts] for of in found]

    ranked = Partial("partial").rank(query, texts)
    assert [one.index for one in ranked] == [0, 1, 2, 3, 4, 5] and ranked[1].score == -5.0 > ranked[2].score
    with pytest.raises(TypeError, match=r"takes the first stage's scores into account: use rerank\(query, hits\)"):
        pyserini_rerank.Interpolation(hashing).rank(query, texts)


@pytest.mark.parametrize(
    ("documents", "top_k", "message"),
    [
        ("a text", None, "documents is one string: give a list of them"),
        ({"d1": "a text"}, None, r"documents is a dict: give one of its columns or views, such as .values\(\)"),
        (["a text", 3], None, "text 1 is a int, not a string"),
        (["a text", " "], None, "text 1 is empty"),
        (["a text"], 0, "top_k is 0: give 1 or more"),
        (["a text"], 1.5, "top_k is 1.5: give a whole number"),
    ],
)
def test_what_cannot_be_ranked(documents: Any, top_k: Any, message: str, hashing: Reranker) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        hashing.rank("a query", documents, top_k)
    with pytest.raises(ValueError, match="the query is empty"):
        hashing.rank(" ", ["a text"])
    with pytest.raises(TypeError, match=r"^hits are texts: .* call rank\(query, texts\) for texts\.$"):
        hashing.rerank("a query", ["a text"])


# Queries that are no text


def test_a_lucene_query(searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]) -> None:
    from pyserini.search.lucene import querybuilder

    builder = querybuilder.get_boolean_query_builder()
    for word in ("temporary", "directory"):
        builder.add(querybuilder.get_term_query(word), querybuilder.JBooleanClauseOccur["should"].value)
    lucene_query = builder.build()
    first = docids(searcher.search(lucene_query, 15))
    assert len(first) == 15
    searcher.set_reranker(hashing, depth=15)
    hits = searcher.search(lucene_query, 5, rerank_query=query)
    assert listed(hits) == expected(query, first, documents, 5)
    with pytest.raises(TypeError, match=r"the query is a [\w.]+, not text: .*rerank_query="):
        searcher.search(lucene_query, 5)


def test_vectors_and_dicts(make_searcher: Any, encoder: Any, queries: list[str], hashing: Any, documents: Any) -> None:
    plain, searcher = make_searcher("faiss"), make_searcher("faiss")
    searcher.set_reranker(hashing, depth=15, texts=documents)
    matrix = np.array([encoder.encode(query) for query in queries])
    dicts = [{"text": query} for query in queries]
    first = plain.batch_search(matrix, QIDS, 15)
    wanted = {qid: expected(query, docids(first[qid]), documents, 5) for qid, query in zip(QIDS, queries, strict=True)}
    for batch in (matrix, dicts):
        results = searcher.batch_search(batch, QIDS, 5, rerank_queries=queries)
        assert {qid: listed(hits) for qid, hits in results.items()} == wanted
        with pytest.raises(TypeError, match="not text: .*rerank_queries="):
            searcher.batch_search(batch, QIDS, 5)
    assert listed(searcher.search(matrix[:1], 5, rerank_query=queries[0])) == wanted["1"]
    assert listed(searcher.search(dicts[0], 5, rerank_query=queries[0])) == wanted["1"]
    for other in (matrix[:1], dicts[0]):
        with pytest.raises(TypeError, match=r"the query is a (ndarray|dict), not text: .*rerank_query="):
            searcher.search(other, 5)


@pytest.mark.parametrize("kind", ["hnsw", "flat"])
def test_json_vectors(
    kind: str, make_searcher: Any, vector_query: Any, queries: list[str], hashing: Reranker, documents: Any
) -> None:
    plain, searcher = make_searcher(kind), make_searcher(kind)
    searcher.set_reranker(hashing, depth=15, texts=documents)
    vector = vector_query(queries[0])
    wanted = expected(queries[0], docids(plain.search(vector, 15)), documents, 5)
    assert listed(searcher.search(vector, 5, rerank_query=queries[0])) == wanted
    assert listed(searcher.batch_search([vector], ["1"], 5, rerank_queries=queries[:1])["1"]) == wanted
    with pytest.raises(ValueError, match="the query is a JSON vector, not text: .*rerank_query="):
        searcher.search(vector, 5)
    with pytest.raises(ValueError, match="the query is a JSON vector, not text: .*rerank_queries="):
        searcher.batch_search([vector], ["1"], 5)


def test_json_vectors_of_a_subclass(
    flat_index: str, vector_query: Any, query: str, hashing: Reranker, documents: dict[str, str]
) -> None:
    from pyserini.search.lucene import LuceneFlatDenseSearcher

    class Mine(LuceneFlatDenseSearcher):
        pass

    searcher = Mine(flat_index)
    searcher.set_reranker(hashing, depth=15, texts=documents)
    with pytest.raises(ValueError, match="the query is a JSON vector, not text"):
        searcher.search(vector_query(query), 5)
    with pytest.raises(ValueError, match="the query is a JSON vector, not text"):
        RerankingSearcher(Mine(flat_index), hashing, texts=documents).search(vector_query(query), 5)
    searcher.close()


def test_wordpieces(make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]) -> None:
    plain, searcher = make_searcher("wordpieces"), make_searcher("wordpieces")
    searcher.set_reranker(hashing, depth=15)
    pieces = " ".join(words(query))
    wanted = expected(query, docids(plain.search(pieces, 15)), documents, 5)
    assert listed(searcher.search(pieces, 5, rerank_query=query)) == wanted
    assert listed(searcher.batch_search([pieces], ["1"], 5, rerank_queries=[query])["1"]) == wanted
    with pytest.raises(ValueError, match="the query is pre-tokenized .*, not text: .*rerank_query="):
        searcher.search(pieces, 5)
    with pytest.raises(ValueError, match="the query is pre-tokenized .*, not text: .*rerank_queries="):
        searcher.batch_search([pieces], ["1"], 5)


def test_a_text_of_ones_own_to_rerank_with(
    searcher: Any, queries: list[str], hashing: Reranker, documents: Any
) -> None:
    first = docids(searcher.search(queries[0], 15))
    searcher.set_reranker(hashing, depth=15)
    assert listed(searcher.search(queries[0], 5, rerank_query=queries[1])) == expected(queries[1], first, documents, 5)
    with pytest.raises(ValueError, match="there are 1 rerank_queries for 2 queries"):
        searcher.batch_search(queries[:2], QIDS[:2], rerank_queries=queries[:1])


# Where the hits came from


@pytest.mark.parametrize("kind", ["bm25", "faiss"])
@pytest.mark.parametrize("batch", [False, True], ids=["search", "batch"])
def test_a_trace_has_the_first_stages_ranks_and_scores(
    kind: str, batch: bool, make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str]
) -> None:
    plain, searcher = make_searcher(kind), make_searcher(kind)
    first = plain.batch_search([query], ["1"], k=20)["1"] if batch else plain.search(query, k=20)
    ranks = {hit.docid: (rank, hit.score) for rank, hit in enumerate(first, 1)}
    searcher.set_reranker(hashing, depth=12, texts=documents if kind == "faiss" else None)
    hits = searcher.batch_search([query], ["1"], k=20)["1"] if batch else searcher.search(query, k=20)
    traces = trace(hits)
    assert len(traces) == len(hits) == 20
    for found, hit in zip(traces, hits, strict=True):
        assert isinstance(found, Trace)
        assert (found.docid, found.score) == (hit.docid, hit.score)
        assert (found.first_rank, found.first_score) == ranks[hit.docid]
        assert type(found.first_score) is float
    assert [found.first_rank for found in traces[12:]] == list(range(13, 21))


def test_a_trace_of_hits_in_hand(searcher: Any, query: str, hashing: Reranker) -> None:
    hits = searcher.search(query, 8)
    reranked = hashing.rerank(query, hits, k=3)
    assert [(t.docid, t.first_score) for t in trace(reranked)] == [
        listed(hits)[t.first_rank - 1] for t in trace(reranked)
    ]
    assert "3 reranked hits" in repr(reranked)
    for other in (hits, reranked[:2], None):
        with pytest.raises(TypeError, match="the list that a reranked search returned"):
            trace(other)
    assert isinstance(reranked, Hits)


# Once, and the same each time


def test_equal_pairs_of_a_batch_are_scored_once(
    searcher: Any, queries: list[str], hashing: Reranker, backend: HashBackend
) -> None:
    searcher.set_reranker(hashing, depth=10)
    batch = [queries[0], queries[1], queries[0], queries[2], queries[1], queries[0]]
    results = searcher.batch_search(batch, QIDS, k=5)
    assert len(backend.pairs) == len(set(backend.pairs)) < hashing.counts.pairs
    assert hashing.counts.scored == len(backend.pairs)
    assert listed(results["1"]) == listed(results["3"]) == listed(results["6"])
    assert listed(results["2"]) == listed(results["5"]) != listed(results["1"])
    # They are hits of their own all the same.
    results["1"][0].score = 99.0
    assert results["3"][0].score != 99.0


def test_equal_texts_under_different_docids_tie_in_first_stage_order(tmp_path: Any, reranker: Reranker) -> None:
    from pyserini.search.lucene import LuceneSearcher

    text = "Return the middle value of numeric data."
    others = ["Return the mean value of data.", "Return the most common value.", "A value, and a long way to it. " * 6]
    documents = {f"copy{i}": text for i in range(4)} | {f"other{i}": other for i, other in enumerate(others)}
    index = build_lucene_index(tmp_path / "index", documents)
    searcher = LuceneSearcher(index)
    first = docids(searcher.search("middle value of data", 7))
    searcher.set_reranker(reranker, depth=7)
    for hits in (
        searcher.search("middle value of data", 7),
        searcher.batch_search(["middle value of data"], ["1"], 7)["1"],
    ):
        copies = [hit for hit in hits if hit.docid.startswith("copy")]
        assert len({hit.score for hit in copies}) == 1
        assert docids(copies) == [docid for docid in first if docid.startswith("copy")]
    searcher.close()


def test_scores_are_reproducible_to_the_bit_and_independent_of_duplicates(
    searcher: Any, queries: list[str], reranker: Reranker, documents: dict[str, str]
) -> None:
    searcher.set_reranker(reranker, depth=4)
    batch, qids = queries[:2], QIDS[:2]
    once = {qid: listed(hits) for qid, hits in searcher.batch_search(batch, qids, 6).items()}
    again = {qid: listed(hits) for qid, hits in searcher.batch_search(batch, qids, 6).items()}
    assert again == once
    doubled = searcher.batch_search([*batch, *batch], QIDS[:4], 6)
    for i, qid in enumerate(qids):
        assert listed(doubled[qid]) == listed(doubled[QIDS[i + 2]]) == once[qid]

    texts = sorted(documents.values(), key=len)[::12][:10]
    scores = reranker.score(queries[0], texts)
    assert np.array_equal(reranker.score(queries[0], [*texts, *texts[3:], texts[0]])[:10], scores)
    # Whatever else is in a batch changes no more than the last digits.
    alone = np.array([reranker.score(queries[0], [text])[0] for text in texts[:4]])
    assert alone == pytest.approx(scores[:4], abs=1e-4)


# Several threads


def test_eight_threads_on_one_searcher_with_the_real_model(
    searcher: Any, queries: list[str], reranker: Reranker
) -> None:
    searcher.set_reranker(reranker, depth=3)
    serial = {query: listed(searcher.search(query, 6)) for query in queries}

    def search(place: int) -> Any:
        query = queries[place % 6]
        hits = searcher.search(query, 6) if place % 2 else searcher.batch_search([query], ["1"], 6)["1"]
        return listed(hits) == serial[query]

    assert threaded(8, search, list(range(10))) == [True] * 10


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bm25", "impact", "flat", "faiss", "hybrid"])
def test_eight_threads_on_one_searcher_of_any_kind(
    kind: str, make_searcher: Any, vector_query: Any, queries: list[str], hashing: Reranker, documents: dict[str, str]
) -> None:
    searcher = make_searcher(kind)
    searcher.set_reranker(hashing, depth=15, texts=documents)
    vectors = {query: vector_query(query) if kind == "flat" else query for query in queries}
    asked = [queries[i % 6 :] + queries[: i % 6] for i in range(16)]

    def batch(some: list[str]) -> Any:
        more = {"rerank_queries": some} if kind == "flat" else {}
        results = searcher.batch_search([vectors[query] for query in some], QIDS, k=20, threads=1, **more)
        hits = searcher.search(vectors[some[0]], k=20, **({"rerank_query": some[0]} if kind == "flat" else {}))
        return {qid: listed(found) for qid, found in results.items()}, listed(hits)

    serial = [batch(some) for some in asked[:6]]
    assert threaded(8, batch, asked) == [serial[i % 6] for i in range(16)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bm25", "impact"])
def test_many_batches_of_eight_threads(
    kind: str, make_searcher: Any, queries: list[str], hashing: Reranker, documents: dict[str, str]
) -> None:
    # pyjnius keeps the object that a method was looked up on with the method, which all threads share:
    # without a lock this ends in wrong hits, Java's errors, or the JVM's crash.
    searcher = make_searcher(kind)
    searcher.set_reranker(hashing, depth=5)
    plain = {query: docids(type(searcher).search(searcher, query, 5)) for query in queries}
    wanted = {query: expected(query, plain[query], documents, 5) for query in queries}

    def batch(place: int) -> bool:
        query = queries[place % 6]
        return listed(searcher.batch_search([query], ["1"], 5)["1"]) == wanted[query]

    assert threaded(8, batch, list(range(300))) == [True] * 300


@pytest.mark.slow
def test_threads_with_text_indexes_of_their_own(
    make_searcher: Any, query: str, hashing: Reranker, documents: dict[str, str], lucene_index: str, tmp_path: Any
) -> None:
    from pyserini.search.lucene import LuceneSearcher

    shouted = {docid: text.upper() for docid, text in documents.items()}
    hits = make_searcher("faiss").search(query, 2)
    indexes = LuceneSearcher(lucene_index), LuceneSearcher(build_lucene_index(tmp_path / "index", shouted))
    wanted = [expected(query, docids(hits), texts, 2) for texts in (documents, shouted)]
    often = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        results = threaded(8, lambda i: listed(hashing.rerank(query, hits, texts=indexes[i % 2])), list(range(400)))
    finally:
        sys.setswitchinterval(often)
    assert sum(result != wanted[i % 2] for i, result in enumerate(results)) == 0
    for index in indexes:
        index.close()


def test_counts_of_several_threads_add_up(hashing: Reranker) -> None:
    def score(i: int) -> Any:
        return hashing.score(f"query {i}", [f"text {j}" for j in range(20)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(score, range(64)))
    assert (hashing.counts.pairs, hashing.counts.scored) == (1280, 1280)


# What a result can be used for


@pytest.fixture
def results(make_searcher: Any, hashing: Reranker, queries: list[str]) -> dict[str, Any]:
    """A batch of which a part is below the depth."""
    searcher = make_searcher("bm25")
    searcher.set_reranker(hashing, depth=5)
    return dict(searcher.batch_search(queries, QIDS, k=9))


def written(results: dict[str, Any], path: Path, form: str, **options: Any) -> list[list[str]]:
    from pyserini.output_writer import OutputFormat, get_output_writer

    with get_output_writer(str(path), OutputFormat(form), "w", tag="ours", **options) as writer:
        for qid, hits in results.items():
            writer.write(qid, hits)
    return [line.split() for line in path.read_text().splitlines()]


def test_pyserinis_writers_take_it(results: dict[str, Any], tmp_path: Path) -> None:
    lines = written(results, tmp_path / "run.trec", "trec")
    rows = [(qid, rank, hit) for qid, hits in results.items() for rank, hit in enumerate(hits, 1)]
    assert lines == [[qid, "Q0", hit.docid, str(rank), f"{hit.score:.6f}", "ours"] for qid, rank, hit in rows]
    # The order can be told from the printed scores alone.
    for qid in results:
        scores = [float(line[4]) for line in lines if line[0] == qid]
        assert scores == sorted(set(scores), reverse=True)
    lines = written(results, tmp_path / "run.msmarco", "msmarco", max_hits=4)
    assert lines == [[qid, hit.docid, str(rank)] for qid, rank, hit in rows if rank <= 4]
    parts = written(
        results, tmp_path / "run.max", "trec", use_max_passage=True, max_passage_delimiter=".", max_passage_hits=100
    )
    assert [line[2] for line in parts if line[0] == "1"] == list(
        dict.fromkeys(docid.split(".")[0] for docid in docids(results["1"]))
    )


def test_pyserinis_fusion_takes_it(
    results: dict[str, Any], make_searcher: Any, queries: list[str], tmp_path: Path
) -> None:
    from pyserini.fusion import reciprocal_rank_fusion
    from pyserini.trectools import TrecRun

    plain = make_searcher("bm25").batch_search(queries, QIDS, k=9)
    written(results, tmp_path / "reranked", "trec")
    written(plain, tmp_path / "first", "trec")
    runs = [TrecRun(str(tmp_path / name)) for name in ("reranked", "first")]
    merged = reciprocal_rank_fusion(runs, rrf_k=60, k=9)
    for qid in QIDS:
        scores: dict[str, float] = {}
        for hits in (results[qid], plain[qid]):
            for rank, docid in enumerate(docids(hits), 1):
                scores[docid] = scores.get(docid, 0) + 1 / (60 + rank)
        fused = merged.get_docs_by_topic(qid if qid in merged.topics() else int(qid))
        assert list(fused["score"]) == pytest.approx(sorted(scores.values(), reverse=True)[:9])
        found = dict(zip(fused["docid"], fused["score"], strict=True))
        assert found == pytest.approx({docid: scores[docid] for docid in found})

    run = TrecRun.from_search_results(listed(results["1"]))
    assert [row[2] for row in run.to_numpy()] == docids(results["1"])


@pytest.mark.filterwarnings("ignore:The inplace keyword")
def test_trectools_takes_it(results: dict[str, Any], tmp_path: Path) -> None:
    import trectools

    written(results, tmp_path / "run", "trec")
    # The document at each topic's second rank is the relevant one.
    (tmp_path / "qrels").write_text("".join(f"{qid} 0 {hits[1].docid} 1\n" for qid, hits in results.items()))
    run = trectools.TrecRun(str(tmp_path / "run"))
    assert [str(topic) for topic in run.topics()] == QIDS
    for qid, hits in results.items():
        rows = run.run_data[run.run_data["query"].astype(str) == qid].sort_values("score", ascending=False)
        assert list(rows["docid"]) == docids(hits)
    evaluation = trectools.TrecEval(run, trectools.TrecQrel(str(tmp_path / "qrels")))
    assert evaluation.get_reciprocal_rank() == pytest.approx(0.5)
    assert evaluation.get_ndcg(depth=10) == pytest.approx(1 / np.log2(3))


def test_pyserinis_tie_breaker_keeps_the_order_where_scores_differ(results: dict[str, Any]) -> None:
    from pyserini.output_writer import tie_breaker

    for hits in results.values():
        assert docids(tie_breaker(hits)) == docids(hits)


def test_a_list_of_hits_is_a_list(results: dict[str, Any]) -> None:
    hits = results["1"]
    assert hits[0].docid == docids(hits)[0]
    assert docids(hits[2:4]) == docids(hits)[2:4]
    assert docids(sorted(hits, key=lambda hit: hit.docid)) == sorted(docids(hits))
    assert len([*hits, *hits]) == 2 * len(hits) == len(hits + hits)
    assert type(copy.copy(list(hits))) is list
