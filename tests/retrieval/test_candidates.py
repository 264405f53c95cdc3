"""What the first stage found, in bulk: the values are those that a proxy a hit would give."""

import json
import struct
from types import SimpleNamespace

import numpy as np
import pyserini_rerank  # noqa: F401  # before Pyserini
import pytest
from pyserini.index.lucene import LuceneIndexer
from pyserini.pyclass import JArrayList, autoclass
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.retrieval import candidates
from pyserini_rerank.retrieval.candidates import from_hits, from_java, java_lists, read_documents

ScoredDoc = autoclass("io.anserini.search.ScoredDoc")
Document = autoclass("org.apache.lucene.document.Document")
StoredField = autoclass("org.apache.lucene.document.StoredField")
StringField = autoclass("org.apache.lucene.document.StringField")
BytesRef = autoclass("org.apache.lucene.util.BytesRef")
YES = autoclass("org.apache.lucene.document.Field$Store").YES

ODD_IDS = ["plain", 'a "quoted" id', "back\\slash", "nul\0inside", "emoji 😺", "قطة", "line\nbreak", " spaces ", "{}"]


def document(*fields):
    """A Lucene document of stored fields: a string, bytes, or a Java number."""
    made = Document()
    for name, value in fields:
        made.add(StoredField(name, BytesRef(value) if isinstance(value, bytes) else value))
    return made


def hits_of(documents, scores=None, docids=None):
    scores = scores if scores is not None else range(len(documents), 0, -1)
    docids = docids or [f"d{i}" for i in range(len(documents))]
    rows = zip(docids, scores, documents, strict=True)
    return [ScoredDoc(docid, row, float(score), one) for row, (docid, score, one) in enumerate(rows)]


def java_list(hits):
    made = JArrayList()
    for hit in hits:
        made.add(hit)
    return made


BOTH = pytest.mark.parametrize(
    "reading", [from_hits, lambda hits, depth: from_java(java_list(hits), depth)], ids=["hits", "java"]
)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A real index, 300 documents of different scores and lengths for some queries."""
    folder = tmp_path_factory.mktemp("words") / "index"
    indexer = LuceneIndexer(args=["-index", str(folder), "-storeRaw"], threads=1)
    random = np.random.default_rng(0)
    vocabulary = ["flea", "cat", "dog", "bird", "fish", "tree", "river", "stone"]
    for row in range(300):
        text = " ".join(random.choice(vocabulary, random.integers(1, 60)))
        indexer.add_doc_raw(json.dumps({"id": f"d{row}", "contents": text}))
    indexer.close()
    return LuceneSearcher(str(folder))


# ---------------------------------------------------------------------------------------------------------- the values


@BOTH
def test_the_stored_fields_by_name(reading):
    found = reading(hits_of([document(("id", "d0"), ("raw", "{}"), ("title", "T"))]), 1)
    assert found.docids == ["d0"]
    assert found.documents == [{"id": "d0", "raw": "{}", "title": "T"}]


@BOTH
def test_odd_docids_and_texts(reading):
    hits = hits_of([document(("id", odd), ("raw", f"text of {odd}")) for odd in ODD_IDS], docids=ODD_IDS)
    found = reading(hits, len(hits))
    assert found.docids == ODD_IDS
    assert found.documents == [{"id": odd, "raw": f"text of {odd}"} for odd in ODD_IDS]
    assert [found.hit(rank).docid for rank in range(len(hits))] == [hit.docid for hit in hits]


@BOTH
def test_a_hit_without_a_document(reading):
    found = reading(hits_of([document(("raw", "one")), None, document(("raw", "three"))]), 3)
    assert found.documents == [{"raw": "one"}, None, {"raw": "three"}]


@BOTH
def test_the_first_hit_without_a_document(reading):
    assert reading(hits_of([None, document(("raw", "two"))]), 2).documents == [None, {"raw": "two"}]


@BOTH
def test_a_document_without_any_field(reading):
    assert reading(hits_of([document()]), 1).documents == [{}]


@BOTH
def test_binary_and_numeric_fields_are_no_text(reading):
    fields = ("year", 1998), ("weight", 1.5), ("raw", "text"), ("vector", b"\x00\xff{}")
    hits = hits_of([document(*fields)])
    assert reading(hits, 1).documents == [{"raw": "text"}]


@BOTH
def test_a_binary_field_named_raw_does_not_hide_the_text(reading):
    hits = hits_of([document(("raw", b"\x00\x01"), ("raw", "the text"))])
    assert reading(hits, 1).documents == [{"raw": "the text"}]


@BOTH
def test_of_a_repeated_field_the_first_counts_as_it_does_for_lucene(reading):
    hits = hits_of([document(("raw", "first"), ("raw", "second"), ("id", "d"))])
    assert hits[0].lucene_document.get("raw") == "first"
    assert reading(hits, 1).documents == [{"raw": "first", "id": "d"}]


@BOTH
def test_an_indexed_field_is_read_as_a_stored_one(reading):
    made = document(("raw", "text"))
    made.add(StringField("id", "d0", YES))
    assert reading(hits_of([made]), 1).documents == [{"raw": "text", "id": "d0"}]


@BOTH
def test_an_empty_string_is_a_text_and_not_nothing(reading):
    assert reading(hits_of([document(("raw", ""))]), 1).documents == [{"raw": ""}]


SCORES = [3.4028235e38, 17.25, 1 / 3, 0.1, 1.4e-45, 0.0, -0.0, -7.0000005, -1e30]


@BOTH
def test_scores_are_the_float32_that_a_proxy_gives(reading):
    hits = hits_of([None] * len(SCORES), SCORES)
    found = reading(hits, len(hits))
    given = [struct.pack("f", found.hit(rank).score) for rank in range(len(hits))]
    assert given == [struct.pack("f", hit.score) for hit in hits]
    assert given == [struct.pack("f", score) for score in SCORES]


@BOTH
def test_the_rest_below_the_depth_is_counted_and_not_read(reading):
    found = reading(hits_of([document(("raw", str(row))) for row in range(10)]), 4)
    assert found.count == 10
    assert (found.docids, len(found.documents)) == (["d0", "d1", "d2", "d3"], 4)
    assert found.hit(9).docid == "d9"


@BOTH
def test_no_hits(reading):
    found = reading([], 10)
    assert (found.count, found.docids, found.documents) == (0, [], [])


def test_documents_looked_up_by_docid():
    documents = autoclass("java.util.HashMap")()
    for odd in ODD_IDS:
        documents.put(odd, document(("id", odd), ("raw", f"text of {odd}"), ("year", 1998)))
    assert read_documents(documents) == {odd: {"id": odd, "raw": f"text of {odd}"} for odd in ODD_IDS}
    assert read_documents(autoclass("java.util.HashMap")()) == {}


def test_hits_of_other_kinds_have_no_document():
    hits = [SimpleNamespace(docid=f"d{row}", score=1.0) for row in range(3)]
    found = from_hits(hits, 2)
    assert (found.count, found.docids, found.documents) == (3, ["d0", "d1"], [None, None])
    assert found.hit(2) is hits[2]


# -------------------------------------------------------------------------------------------------- against the proxies


def proxies(hits):
    """Everything a hit holds, one crossing each."""
    return [(hit.docid, hit.score, hit.lucene_document.get("id"), hit.lucene_document.get("raw")) for hit in hits]


def bulk(found):
    documents = zip(found.docids, found.documents, strict=True)
    return [
        (docid, found.hit(rank).score, fields["id"], fields["raw"]) for rank, (docid, fields) in enumerate(documents)
    ]


@pytest.mark.parametrize("depth", [1, 10, 300])
def test_search(words, depth):
    hits = words.search("flea cat", k=300)
    assert len(hits) > 200
    assert bulk(from_hits(hits, depth)) == proxies(hits[:depth])


def batch(words, queries, k=300):
    queries = {f'qid "{row}" 😺': query for row, query in enumerate(queries)}
    return queries, words.object.batch_search(java_list(queries.values()), java_list(queries), k, 2)


def test_batch_search(words):
    queries, results = batch(words, ["flea", "dog bird", "stone", "no such word", "river tree fish", "flea"])
    lists = java_lists(results)
    assert lists.keys() == queries.keys()
    expected = words.batch_search(list(queries.values()), list(queries), k=300)
    for qid in queries:
        found = from_java(lists[qid], 250)
        assert found.count == len(expected[qid])
        assert bulk(found) == proxies(expected[qid][:250])


def test_java_lists_of_one_query_and_of_none(words):
    assert {qid: hits.size() for qid, hits in java_lists(batch(words, ["flea"], k=7)[1]).items()} == {'qid "0" 😺': 7}
    assert java_lists(autoclass("java.util.HashMap")()) == {}


def test_java_lists_do_not_mix_up_their_hits(words):
    """pyjnius binds methods on the class: a list has to be asked itself, whatever was asked before."""
    queries, results = batch(words, ["flea", "dog", "stone", "no such word"])
    lists = {qid: from_java(hits, 5) for qid, hits in java_lists(results).items()}
    first = {qid: found.hit(0).docid if found.count else None for qid, found in lists.items()}
    again = {qid: found.hit(0).docid if found.count else None for qid, found in reversed(lists.items())}
    assert first == again
    assert first == {qid: found.docids[0] if found.docids else None for qid, found in lists.items()}
    assert list(first.values()).count(None) == 1
    assert queries.keys() == lists.keys()


# ----------------------------------------------------------------------------------------------------------- in chunks


@pytest.mark.parametrize(
    "bounds",
    [
        {"FIRST_HITS": 1},
        {"FIRST_HITS": 7, "MOST_HITS": 10},
        {"FIRST_HITS": 128, "MOST_HITS": 1},
        {"MOST_CHARACTERS": 2000, "FIRST_HITS": 3},
        {"MOST_CHARACTERS": 1, "FIRST_HITS": 1},
    ],
    ids=str,
)
def test_small_chunks_give_the_same(words, bounds, monkeypatch):
    hits = words.search("flea cat", k=300)
    expected = from_hits(hits, 251)
    sizes = chunks(monkeypatch)
    for name, value in bounds.items():
        monkeypatch.setattr(candidates, name, value)
    found = from_hits(hits, 251)
    assert (found.docids, found.documents) == (expected.docids, expected.documents)
    assert sum(hits for hits, _ in sizes) == 251
    assert sizes[0][0] == min(251, candidates.FIRST_HITS)
    assert all(hits <= max(candidates.MOST_HITS, candidates.FIRST_HITS) for hits, _ in sizes)


def chunks(monkeypatch):
    """Note the hits and the characters of every crossing."""
    sizes = []
    real = candidates._json

    def write(hits, *unread):
        text = real(hits, *unread)
        sizes.append((hits.size(), len(text)))
        return text

    monkeypatch.setattr(candidates, "_json", write)
    return sizes


def test_one_crossing_for_the_usual_depth(words, monkeypatch):
    hits = words.search("flea", k=100)
    sizes = chunks(monkeypatch)
    from_hits(hits, 100)
    assert [size for size, _ in sizes] == [100]


def test_a_thousand_hits_take_two_crossings(monkeypatch):
    hits = hits_of([document(("raw", "x" * 500)) for _ in range(1000)])
    sizes = chunks(monkeypatch)
    from_hits(hits, 1000)
    assert [size for size, _ in sizes] == [candidates.FIRST_HITS, 1000 - candidates.FIRST_HITS]


def test_long_documents_make_small_chunks(monkeypatch):
    """A chunk is about as large as the one before foretells: documents of one length stay within the bound."""
    monkeypatch.setattr(candidates, "MOST_CHARACTERS", 100_000)
    monkeypatch.setattr(candidates, "FIRST_HITS", 4)
    hits = hits_of([document(("raw", "x" * 10_000)) for _ in range(60)])
    sizes = chunks(monkeypatch)
    found = from_hits(hits, 60)
    assert [fields["raw"] for fields in found.documents] == ["x" * 10_000] * 60
    assert all(characters <= 100_000 for _, characters in sizes)
    assert len(sizes) < 10


def test_the_bounds_are_those_of_the_facts():
    assert candidates.MOST_HITS <= 20_000
    assert candidates.MOST_CHARACTERS <= 64_000_000
    assert candidates.FIRST_HITS <= candidates.MOST_HITS


# ------------------------------------------------------------------------------------------------------------ ownership


def test_somebody_elses_hits_are_copied():
    hits = hits_of([document(("raw", "text"))], [2.5])
    found = from_hits(hits, 1)
    changed = found.rescored(found.hit(0), -1.25)
    assert (hits[0].score, changed.score) == (2.5, -1.25)
    assert (changed.docid, changed.lucene_docid) == (hits[0].docid, hits[0].lucene_docid)
    assert changed.lucene_document.get("raw") == "text"
    assert type(changed) is type(hits[0])


def test_our_own_hits_are_changed_in_place():
    owned = java_list(hits_of([document(("raw", "text"))], [2.5]))
    found = from_java(owned, 1)
    assert found.rescored(found.hit(0), -1.25).score == -1.25
    assert owned.get(0).score == -1.25
