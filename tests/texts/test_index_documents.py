"""All documents of a real Lucene index, in order, as the hits' own texts are read."""

import json
from pathlib import Path

import pytest
from pyserini_rerank.retrieval import candidates
from pyserini_rerank.texts.index_documents import IndexedDocuments


def index(folder, rows):
    """Index raw documents, each as it is given."""
    from pyserini.index.lucene import LuceneIndexer

    indexer = LuceneIndexer(args=["-index", str(folder), "-storeRaw"], threads=1)
    indexer.add_batch_raw([json.dumps(row) for row in rows])
    indexer.close()
    return str(folder)


def java(name):
    """Find a Java class, once Pyserini has started Java."""
    from jnius import autoclass

    return autoclass(name)


def read(documents, start=0):
    return [pair for _, chunk in documents.read(start) for pair in chunk]


def test_all_of_them_once(lucene_index, documents):
    found = IndexedDocuments(lucene_index)
    assert found.end == len(documents)
    pairs = read(found)
    assert len(pairs) == len(documents) and dict(pairs) == documents


def test_from_any_position_on(lucene_index, monkeypatch):
    monkeypatch.setattr(candidates, "FIRST_HITS", 5)
    monkeypatch.setattr(candidates, "MOST_HITS", 20)
    found = IndexedDocuments(lucene_index)
    pairs = read(found)
    chunks = list(found.read(0))
    assert max(len(chunk) for _, chunk in chunks) == 20 and len(chunks) > 10
    for position, _ in chunks:
        assert read(found, position) == pairs[position:]
    assert chunks[-1][0] == found.end and read(found, found.end) == []


def lucene_writer(folder):
    """Open Lucene's own writer on an index."""
    store = java("org.apache.lucene.store.FSDirectory").open(java("java.io.File")(folder).toPath())
    return java("org.apache.lucene.index.IndexWriter")(store, java("org.apache.lucene.index.IndexWriterConfig")())


def test_texts_are_cleaned(tmp_path):
    rows = [
        {"id": "a", "contents": " \n flea ☃ \ud83d\t"},
        {"id": "b", "contents": None, "title": "T", "text": "body"},
    ]
    assert read(IndexedDocuments(index(tmp_path / "index", rows))) == [("a", "flea ☃ \ufffd"), ("b", "T body")]


def test_documents_as_anserini_does_not_write_them(tmp_path, searcher):
    """It leaves empty ones out, and mends half a pair; so Lucene itself writes these."""
    writer = lucene_writer(str(tmp_path))
    for fields in (
        {"id": "empty", "raw": '{"contents": " "}'},
        {"id": "none"},
        {"id": "half", "raw": '{"contents": "half \\ud83d a pair"}'},
        {"id": "no raw", "contents": " text \n"},
    ):
        document = java("org.apache.lucene.document.Document")()
        for name, value in fields.items():
            document.add(java("org.apache.lucene.document.StoredField")(name, value))
        writer.addDocument(document)
    writer.close()
    assert read(IndexedDocuments(tmp_path)) == [
        ("empty", ""),
        ("none", None),
        ("half", "half \ufffd a pair"),
        ("no raw", "text"),
    ]


def test_deleted_documents_are_left_out(tmp_path):
    folder = index(tmp_path / "index", [{"id": f"d{i}", "contents": f"text {i}"} for i in range(9)])
    before = IndexedDocuments(folder)
    writer = lucene_writer(folder)
    term = java("org.apache.lucene.index.Term")("id", "d4")
    writer.deleteDocuments(java("org.apache.lucene.search.TermQuery")(term))
    writer.close()
    after = IndexedDocuments(folder)
    assert [docid for docid, _ in read(after)] == [f"d{i}" for i in range(9) if i != 4]
    assert after.end == 9
    assert before.location == after.location == Path(folder)
    assert before.file != after.file and not before.file.exists(), "what tells that the index has changed"


def test_the_newest_commit_is_the_one_that_lucene_opens(tmp_path):
    """Lucene counts its commits in base 36: segments_10 comes after segments_z."""
    folder = index(tmp_path / "index", [{"id": "a", "contents": "text"}])
    writer = lucene_writer(folder)
    while not Path(folder, "segments_10").exists():
        writer.addDocument(java("org.apache.lucene.document.Document")())
        writer.commit()
    writer.close()
    Path(folder, "segments_z").write_bytes(b"an old one that could not be deleted")
    assert IndexedDocuments(folder).file == Path(folder, "segments_10")


def test_text_that_cannot_be_read(tmp_path):
    folder = index(tmp_path / "index", [{"id": "a", "contents": "text"}, {"id": "b", "contents": "x", "text": {}}])
    assert len(read(IndexedDocuments(folder))) == 2
    folder = index(tmp_path / "other", [{"id": "b", "contents": None, "text": {"no": "text"}}])
    with pytest.raises(ValueError, match="document b: its field 'text' is a dict"):
        read(IndexedDocuments(folder))


def test_no_index(tmp_path):
    with pytest.raises(FileNotFoundError, match="neither a folder nor a prebuilt index"):
        IndexedDocuments(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="which Lucene cannot open as an index"):
        IndexedDocuments(tmp_path)
