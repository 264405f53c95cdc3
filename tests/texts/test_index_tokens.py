"""`pyserini-rerank index-tokens`, and searches that use what it writes."""

import json
import sys
from dataclasses import asdict

import pyserini_rerank
import pytest
from collection import build_lucene_index, listed
from pyserini_rerank.cli.main import main
from pyserini_rerank.texts import collection as collection_file
from pyserini_rerank.texts.collection import CollectedDocuments, Collection
from pyserini_rerank.texts.source import clean
from pyserini_rerank.texts.token_index import TokenIndex
from tiny_checkpoints import build

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
MULTILINGUAL = "amberoad/bert-multilingual-passage-reranking-msmarco"


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", "index-tokens", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory, lucene_index):
    """A token index of the Lucene index with the bundled model's vocabulary."""
    output = tmp_path_factory.mktemp("tokens") / "bundled"
    with pytest.MonkeyPatch.context() as patched:
        assert run(patched, "--index", lucene_index, "--tokenizer", "bundled", "--output", output) == 0
    return output


# ---------------------------------------------------------------------------------------------------- the same hits


@pytest.mark.parametrize("max_length", [40, 128])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_bundled_model(searcher, queries, indexed, max_length):
    qids = [f"q{i}" for i in range(len(queries))]
    found, counts = [], []
    for source in ({}, {"tokens": indexed}):
        with pyserini_rerank.load("bundled", device="cpu", max_length=max_length) as reranker:
            searcher.set_reranker(reranker, depth=4, **source)
            batch = searcher.batch_search(queries, qids, k=10, threads=2)
            one = searcher.search(queries[0], k=10)
            found.append([(listed(hits), pyserini_rerank.trace(hits)) for hits in (*batch.values(), one)])
            counts.append(asdict(reranker.counts))
            assert one[0].lucene_document.get("raw"), "a hit has all its fields"
        searcher.unset_reranker()
    assert found[0] == found[1] and counts[0] == counts[1]
    assert (counts[0]["cut_passages"] > 5) is (max_length == 40)


@pytest.mark.parametrize("name", [TINY, MULTILINGUAL])
@pytest.mark.parametrize("max_length", [12, 512])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_other_vocabularies(searcher, queries, lucene_index, tmp_path, monkeypatch, name, max_length):
    checkpoint = build(name, tmp_path)
    output = tmp_path / "tokens"
    assert run(monkeypatch, "--index", lucene_index, "--tokenizer", checkpoint, "--output", output) == 0
    options = {"depth": 100, "device": "cpu", "max_length": max_length}
    found = []
    for source in ({}, {"tokens": output}):
        searcher.set_reranker(checkpoint, **source, **options)
        batch = searcher.batch_search(queries, [str(i) for i in range(len(queries))], k=100, threads=2)
        found.append([listed(hits) for hits in (*batch.values(), searcher.search(queries[1], k=100))])
    assert found[0] == found[1]
    assert len({score for hits in found[0] for _, score in hits}) > 50


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_text_is_read(searcher, query, indexed, monkeypatch):
    """Neither from Java nor by the tokenizer, but the query's."""
    read = []
    with pyserini_rerank.load("bundled", device="cpu", max_length=32) as reranker:
        searcher.set_reranker(reranker, depth=5, tokens=indexed)
        encoder = reranker.backend.encoder
        tokenize = encoder.texts
        monkeypatch.setattr(encoder, "texts", lambda texts: read.extend(texts) or tokenize(texts))
        rerank, candidates = reranker.rerank_passages, []
        monkeypatch.setattr(
            reranker,
            "rerank_passages",
            lambda queries, found, *more: candidates.extend(found) or rerank(queries, found, *more),
        )
        searcher.batch_search([query], ["q"], k=5)
    assert read == [query]
    assert candidates[0].documents == [None] * 5 and len(set(candidates[0].docids)) == 5


# --------------------------------------------------------------------------------------------------------- the command


def test_what_it_says(lucene_index, documents, tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, "--index", lucene_index, "--tokenizer", "bundled", "--output", tmp_path / "out") == 0
    said = capsys.readouterr()
    assert f"{len(documents)} documents, " in said.out and "left out" not in said.out
    assert len(TokenIndex(tmp_path / "out")) == len(documents)
    assert run(monkeypatch, "--index", lucene_index, "--tokenizer", "bundled", "--output", tmp_path / "out") == 1
    assert (
        capsys.readouterr().err == f"pyserini-rerank: {tmp_path / 'out'} exists: delete it, or name another output.\n"
    )


@pytest.mark.parametrize(
    ("words", "given"),
    [([], ""), (["--index", "a", "--collection", "b"], "--index and --collection were given together: ")],
)
def test_the_documents_have_to_be_named_once(tmp_path, monkeypatch, capsys, words, given):
    assert run(monkeypatch, *words, "--tokenizer", "bundled", "--output", tmp_path / "out") == 1
    assert f"{given}name the documents, by one of --index and --collection" in capsys.readouterr().err


def test_an_index_that_has_changed(documents, tmp_path, monkeypatch, searcher):
    from pyserini.index.lucene import LuceneIndexer

    def add(docids, **options):
        indexer = LuceneIndexer(args=["-index", index, "-storeRaw"], **options)
        indexer.add_batch_raw([json.dumps({"id": docid, "contents": documents[docid]}) for docid in docids])
        indexer.close()

    index = str(tmp_path / "index")
    add(["bisect", "csv"])
    assert run(monkeypatch, "--index", index, "--tokenizer", "bundled", "--output", tmp_path / "out") == 0
    add(["glob"], append=True)
    with pytest.raises(ValueError, match=f"out is stale, since {index} has changed: build it again"):
        searcher.set_reranker("bundled", tokens=tmp_path / "out")
    assert not searcher.is_using_reranker()


def test_an_index_of_other_documents(documents, tmp_path, monkeypatch, searcher, query):
    """A hit that is not in the token index is an error, as one without text is."""
    index = build_lucene_index(tmp_path / "index", dict(list(documents.items())[:3]))
    assert run(monkeypatch, "--index", index, "--tokenizer", "bundled", "--output", tmp_path / "out") == 0
    searcher.set_reranker("bundled", tokens=tmp_path / "out", device="cpu")
    with pytest.raises(
        pyserini_rerank.MissingText, match="in the token index .*: the token index is of other or older"
    ):
        searcher.search(query)


# --------------------------------------------------------------------------------------------------------- collections


@pytest.mark.parametrize("suffix", ["jsonl", "tsv"])
def test_a_collection_is_read_as_rerank_reads_it(tmp_path, documents, monkeypatch, suffix):
    texts = {docid: " ".join(text.split()) for docid, text in documents.items()} | {"e": "", "ü": "\u200b x \ufffd "}
    file = tmp_path / f"docs.{suffix}"
    rows = {
        "jsonl": (
            json.dumps({"_id": docid, "title": "T" * (len(text) % 2), "text": text}) for docid, text in texts.items()
        ),
        "tsv": (f"{docid}\t{text}" for docid, text in texts.items()),
    }[suffix]
    file.write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    collection = Collection(file)
    monkeypatch.setattr(collection_file, "MOST_BYTES", 5000)
    pairs, found = [], CollectedDocuments(file)
    chunks = list(found.read(0))
    for position, chunk in chunks:
        pairs += chunk
        assert [pair for _, some in found.read(position) for pair in some] == [
            (docid, clean(collection.get(docid))) for docid in list(texts)[len(pairs) :]
        ]
    assert 5 < len(chunks) < 20 and [docid for docid, _ in pairs] == list(texts)
    assert pairs[0][1] == clean(collection.get(pairs[0][0])) and chunks[-1][0] == found.end
    assert run(monkeypatch, "--collection", file, "--tokenizer", "bundled", "--output", tmp_path / "out") == 0
    assert len(TokenIndex(tmp_path / "out")) == len(texts)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("docs.jsonl", b'{"id": "a"}\n{"text": "x"}\n', "line at byte 12: it has no docid"),
        ("docs.jsonl", b'{"id": "a"}\n["id"]\n', "line at byte 12: it has no docid"),
        ("docs.jsonl", b'{"id": "a"}\n{"id\n', "line at byte 12: "),
        ("docs.jsonl", b'{"id": "a", "text": 3}\n', "line at byte 0: its field 'text' is a int"),
        ("docs.tsv", b"a\tx\nb x\n", "line at byte 4: it has no docid"),
        ("docs.tsv", b"a\tx\nb\t\xff\n", "line at byte 4: "),
        ("docs.jsonl", b"\x1f\x8b", "is compressed, and a collection is read from the middle: unpack it"),
        ("docs.jsonl", b'{"id": "a"}\n', "none of the 1 documents of"),
        ("docs.jsonl", b"", "none of the 0 documents of"),
    ],
)
def test_bad_collections(tmp_path, monkeypatch, capsys, name, content, said):
    (tmp_path / name).write_bytes(content)
    words = ("--collection", tmp_path / name, "--tokenizer", "bundled", "--output", tmp_path / "out")
    assert run(monkeypatch, *words) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert said in line and [path.name for path in tmp_path.iterdir()] == [name]
