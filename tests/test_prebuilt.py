"""Prebuilt indexes, topics and qrels by their names: a server on this machine gives real archives of small indexes.

On Pyserini 2.3, whose catalogue is in its jar: its entries are pointed at the server, and topics and qrels, which
Java fetches from GitHub, lie in the cache. For 2.4, see test_pyserini_240.py.
"""

import hashlib
import json
import random
import sys
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from collection import HashBackend, WordEncoder, docids, expected, listed, run_indexer
from pyserini_rerank import ModelReranker
from pyserini_rerank.cli.main import main
from pyserini_rerank.runs.run_file import read
from pyserini_rerank.runs.topics import load_qrels, load_topics
from tiny_checkpoints import build

PLAIN, IMPACT = "msmarco-v1-passage", "msmarco-v1-passage.splade-v3"
MODEL = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
TOPICS = {"19335": "flea market berlin", "47923": "life cycle flea"}
QRELS = {"19335": {"7": 3, "8": 0}, "47923": {"1": 2, "2": 1}}


class Counting(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Counting, directory=folder))
    server.folder, server.asked = folder, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def texts():
    """Passages of very different lengths, so that BM25's parameters matter."""
    numbers = random.Random(1)
    words = ["flea", "market", "berlin", "life", "cycle", "museum", "people", "long", "the", "of"]
    return {str(docid): " ".join(numbers.choices(words, k=numbers.choice((4, 8, 60)))) for docid in range(40)}


@pytest.fixture(scope="module")
def archives(server, texts, tmp_path_factory):
    """The catalogue's entries of a plain index with texts, and of an impact index without."""
    from pyserini.index.lucene import LuceneIndexReader

    encode = WordEncoder().encode
    rows = [{"id": docid, "contents": text, "vector": encode(text)} for docid, text in texts.items()]
    folder = tmp_path_factory.mktemp("indexes")
    options = ("-generator", "DefaultLuceneDocumentGenerator", "-quiet")
    indexes = {
        PLAIN: run_indexer("IndexCollection", "JsonCollection", folder / "plain", rows, *options, "-storeRaw"),
        IMPACT: run_indexer(
            "IndexCollection", "JsonVectorCollection", folder / "impact", rows, *options, "-impact", "-pretokenized"
        ),
    }
    entries = {}
    for name, index in indexes.items():
        file = server.folder / f"lucene-inverted.{name}.tar.gz"
        with tarfile.open(file, "w:gz") as archive:
            archive.add(index, file.name.removesuffix(".tar.gz"))
        content = file.read_bytes()
        stats = LuceneIndexReader(index).stats()
        entries[name] = {
            **{count: stats[count] for count in ("documents", "unique_terms", "total_terms")},
            "description": name,
            "filename": file.name,
            "urls": [f"http://127.0.0.1:{server.server_port}/{file.name}"],
            "md5": hashlib.md5(content).hexdigest(),
            "size": len(content),
        }
    return entries


@pytest.fixture
def pyserinis_cache(archives, server, tmp_path, monkeypatch):
    """An empty cache, in Python and in Java, and the catalogue with the two indexes."""
    from pyserini import prebuilt_index_info
    from pyserini.pyclass import autoclass

    cache = tmp_path / "cache"
    monkeypatch.setenv("PYSERINI_CACHE", str(cache))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(prebuilt_index_info.TF_INDEX_INFO, PLAIN, archives[PLAIN])
    monkeypatch.setitem(prebuilt_index_info.IMPACT_INDEX_INFO, IMPACT, archives[IMPACT])
    system = autoclass("java.lang.System")
    system.setProperty("pyserini.cache", str(cache))
    folder = cache / "topics-and-qrels"
    folder.mkdir(parents=True)
    (folder / "topics.dl19-passage.txt").write_text("".join(f"{qid}\t{query}\n" for qid, query in TOPICS.items()))
    lines = (f"{qid} Q0 {docid} {grade}\n" for qid, own in QRELS.items() for docid, grade in own.items())
    (folder / "qrels.dl19-passage.txt").write_text("".join(lines))
    server.asked.clear()
    yield cache
    system.clearProperty("pyserini.cache")


def test_a_prebuilt_index_is_reranked(pyserinis_cache, server, texts):
    from pyserini.search.lucene import LuceneSearcher

    searcher = LuceneSearcher.from_prebuilt_index(PLAIN)
    first = docids(searcher.search("flea market", k=20))
    searcher.set_reranker(ModelReranker(HashBackend(), "hashing"), depth=20)
    assert listed(searcher.search("flea market", k=20)) == expected("flea market", first, texts, 20)
    assert server.asked == [f"/lucene-inverted.{PLAIN}.tar.gz"]
    searcher.close()


def test_the_texts_of_an_impact_index_are_in_that_of_its_stem(pyserinis_cache, server, texts):
    from pyserini.search.lucene import LuceneImpactSearcher

    searcher = LuceneImpactSearcher.from_prebuilt_index(IMPACT, WordEncoder())
    first = docids(searcher.search("flea market", k=20))
    searcher.set_reranker(ModelReranker(HashBackend(), "hashing"), depth=20)
    assert listed(searcher.search("flea market", k=20)) == expected("flea market", first, texts, 20)
    assert server.asked == [f"/lucene-inverted.{name}.tar.gz" for name in (IMPACT, PLAIN)]
    searcher.close()


def test_a_damaged_archive_is_not_believed(pyserinis_cache, archives, monkeypatch):
    from pyserini import prebuilt_index_info

    monkeypatch.setitem(prebuilt_index_info.TF_INDEX_INFO, PLAIN, {**archives[PLAIN], "md5": "0" * 32})
    with pytest.raises(ConnectionError, match=f"'{PLAIN}' came damaged .* does not match checksum") as error:
        ModelReranker(HashBackend(), "hashing").rerank("flea", [], texts=PLAIN)
    assert len(str(error.value).splitlines()) == 1


def test_topics_and_qrels_by_name(pyserinis_cache):
    assert load_topics("dl19-passage") == TOPICS
    assert load_qrels("dl19-passage") == QRELS


@pytest.mark.slow
def test_reproduce_runs_the_packaged_conditions(pyserinis_cache, texts, tmp_path, monkeypatch, capsys):
    from pyserini.search.lucene import LuceneSearcher

    words = ["reproduce", "--test-set", "dl19-passage", "--first-stage", "bm25", "--first-stage", "bm25-tuned"]
    words += [
        "--model",
        str(build(MODEL, tmp_path)),
        "--device",
        "cpu",
        "--depth",
        "10",
        "--output",
        str(tmp_path),
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    rows = json.loads(capsys.readouterr().out)
    assert [(row["first_stage"], row["first_stage_published"]) for row in rows] == [
        ("bm25", 0.5058),
        ("bm25-tuned", 0.4973),
    ]
    searcher = LuceneSearcher.from_prebuilt_index(PLAIN)
    orders = []
    for row, parameters in zip(rows, ((0.9, 0.4), (0.82, 0.68)), strict=True):
        searcher.set_bm25(*parameters)
        orders.append({qid: docids(searcher.search(query, k=10)) for qid, query in TOPICS.items()})
        run = dict(read(tmp_path / f"dl19-passage.{row['first_stage']}-10.run"))
        assert {qid: docids(hits) for qid, hits in run.items()} == orders[-1]
        (reranked,) = tmp_path.glob(f"dl19-passage.{row['first_stage']}-10.*.run")
        assert {qid: set(docids(hits)) for qid, hits in read(reranked)} == {
            qid: set(found) for qid, found in orders[-1].items()
        }
        assert row["queries"] == 2 and 0 <= row["measured"] <= 1 and PLAIN in row["texts"]
    assert orders[0] != orders[1], "or the parameters made no difference"
    searcher.close()
