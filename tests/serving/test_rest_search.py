"""Pyserini's REST server, whose searches are reranked: real requests to a real server on real indexes."""

import hashlib
import http.server
import json
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from collection import HashBackend, hashed
from pyserini_rerank import ModelReranker
from pyserini_rerank.cli.main import main
from pyserini_rerank.serving.shared_batches import with_shared_batches
from running import running
from served_indexes import DEPTH, KINDS, Library, known_scores, listed, write_config
from test_shared_batches import GateBackend

DOCUMENT = "tempfile.mkdtemp"


@pytest.fixture(scope="module")
def config(request, tmp_path_factory, encoder):
    with pytest.MonkeyPatch.context() as patch:
        yield write_config(request.getfixturevalue, tmp_path_factory.mktemp("served"), encoder, patch)


@pytest.fixture(scope="module")
def app(config):
    from pyserini.server.rest.app import create_app
    from pyserini_rerank.serving.rest_search import rerank_searches

    app = create_app(config, no_prebuilt_indexes=True)
    rerank_searches(app, known_scores(), depth=DEPTH)
    return app


@pytest.fixture(scope="module")
def url(app):
    with running(app) as url:
        yield url


@pytest.fixture
def library(make_searcher, documents, encoder):
    return Library(make_searcher, documents, encoder)


def get(url, path, headers=None, **parameters):
    """Give the status and the JSON of an answer."""
    request = urllib.request.Request(f"{url}{path}?{urllib.parse.urlencode(parameters)}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def search(url, index, query, **parameters):
    status, answer = get(url, f"/v1/{index}/search", query=query, **parameters)
    assert status == 200, answer
    assert answer["api"] == "v1" and answer["index"] == index and answer["query"] == {"text": query}
    return answer["candidates"]


def wrong(url, index, **parameters):
    """Give the status and the message of an error."""
    status, answer = get(url, f"/v1/{index}/search", **parameters)
    assert answer.keys() == {"error"}, answer
    return status, answer["error"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_type_of_index_is_reranked_as_by_the_library(url, app, library, documents, queries, kind):
    for query in queries[:3]:
        found = search(url, kind, query, hits=5)
        assert listed(found) == library(kind, query, 5)
        assert [one["doc"] for one in found] == [documents[one["docid"]] for one in found]
        # Deeper than the default where more hits are asked for; a depth of the request's own.
        assert listed(search(url, kind, query, hits=20)) == library(kind, query, 20, 20)
        assert listed(search(url, kind, query, hits=3, depth=30, rerank="true")) == library(kind, query, 3, 30)
        plain = app.state.search_backend.search(query, kind, 5)["candidates"]
        assert search(url, kind, query, hits=5, rerank="false") == plain and "first_rank" not in plain[0]


def test_the_parameters_of_pyserinis_own(url, queries, documents):
    found = search(url, "bm25", queries[0], hits=3, max_doc_length=10)
    assert [one["doc"] for one in found] == [documents[one["docid"]][:10] for one in found]
    found = search(url, "bm25", queries[0], hits=3, parse="false")
    assert json.loads(found[0]["doc"]) == {"id": found[0]["docid"], "contents": documents[found[0]["docid"]]}
    first_scores = [
        {one["docid"]: one["first_score"] for one in search(url, "bm25", queries[0], hits=3, **bm25)}
        for bm25 in ({}, {"k1": 0.9, "b": 0.4}, {"k1": 2, "b": 0.9})
    ]
    assert first_scores[0] == first_scores[1] != first_scores[2]


def test_plain_and_reranked_answers_are_not_confused(url, app, queries):
    """In turn, for one query and one number of hits, which are what Pyserini's cache goes by."""
    cache = app.state.search_backend._search_cached
    plain, reranked = (search(url, "bm25", queries[4], rerank=rerank) for rerank in ("false", "true"))
    assert plain != reranked and all("first_rank" in one for one in reranked)
    before = cache.cache_info()
    for _ in range(3):
        assert search(url, "bm25", queries[4], rerank="true") == reranked
        assert search(url, "bm25", queries[4], rerank="false") == plain
    assert cache.cache_info().hits == before.hits + 3 and cache.cache_info().misses == before.misses


@pytest.mark.stress
def test_eight_clients_at_once(url, app, library, documents, queries):
    """All types of indexes, reranked and plain, and documents; some with a searcher of their own k1 and b."""
    asked = [(kind, query) for kind in KINDS for query in queries[:3]]
    expected = {(kind, query): library(kind, query, 5) for kind, query in asked}
    plain = {(kind, query): app.state.search_backend.search(query, kind, 5)["candidates"] for kind, query in asked}

    def client(number):
        for turn in range(len(asked)):
            kind, query = asked[(number * 7 + turn) % len(asked)]
            assert listed(search(url, kind, query, hits=5)) == expected[kind, query]
            if turn % 3 == number % 3:
                assert search(url, kind, query, hits=5, rerank="false") == plain[kind, query]
                search(url, "bm25", query, hits=5, k1=1 + number / 10, b=0.5)
            docid = expected[kind, query][0][0]
            assert get(url, f"/v1/{kind}/doc/{docid}")[1]["doc"] == documents[docid]

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, range(8)))


def test_scoring_holds_up_no_search(config, queries):
    """One client is scored, and another searches meanwhile; the server is somebody's own, with the router."""
    from fastapi import FastAPI
    from pyserini.server.backend import SharedSearchBackend
    from pyserini_rerank.serving.rest_search import search_router

    is_scored, go = threading.Event(), threading.Event()

    def score(query, text):
        is_scored.set()
        assert go.wait(30)
        return hashed(query, text)

    app = FastAPI()
    app.state.search_backend = SharedSearchBackend(config, no_prebuilt_indexes=True)
    app.include_router(search_router(ModelReranker(HashBackend(score), "slow"), rerank=False), prefix="/v1")
    with running(app) as url, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(search, url, "bm25", queries[0], rerank="true")
        assert is_scored.wait(30)
        plain = search(url, "bm25", queries[0])
        assert get(url, f"/v1/bm25/doc/{DOCUMENT}")[0] == 200 and not waiting.done()
        go.set()
        assert len(waiting.result()) == len(plain) == 10 and "first_rank" not in plain[0]
        described = get(url, "/openapi.json")[1]["paths"]["/v1/{index}/search"]["get"]["parameters"]
        assert {one["name"] for one in described} > {"query", "hits", "k1", "b", "rerank", "depth"}


@pytest.mark.parametrize(
    "index, parameters, status, message",
    [
        ("bm25", {"hits": 5, "depth": 4}, 400, "depth=4 is below hits=5: give a depth of at least 5."),
        ("bm25", {"depth": "deep"}, 400, "Parameter 'depth' must be an integer"),
        ("bm25", {"depth": 0}, 400, "Parameter 'depth' must be positive"),
        ("bm25", {"rerank": "maybe"}, 400, "Parameter 'rerank' must be 'true' or 'false'"),
        ("bm25", {"query": " "}, 400, "Parameter 'query' is required"),
        ("bm25", {"k1": 1}, 400, "BM25 parameters k1 and b must be set together"),
        ("hnsw", {"k1": 1, "b": 1}, 400, "BM25 parameters k1 and b apply only to sparse (tf) indexes"),
        ("bm25", {"max_doc_length": 5, "parse": "false"}, 400, "Parameter 'max_doc_length' requires parse=true"),
        ("nowhere", {}, 400, "Index not configured for this server: nowhere"),
        ("no-text", {}, 400, "hit page has no text in the text index"),
        ("bm25", {"query": "temporary NaN"}, 500, "hashing scored nan for 4 pairs"),
        ("bm25", {"query": "temporary refused"}, 502, "the server cannot be reached"),
        ("bm25", {"query": "temporary garbled"}, 502, "the server gave no list of results"),
    ],
)
def test_bad_input(url, index, parameters, status, message):
    given = {"query": "a temporary zither", **parameters}
    found = wrong(url, index, **given)
    assert found[0] == status and message in found[1], found
    assert wrong(url, index, **given) == found and len(search(url, "bm25", "temporary")) == 4


def test_a_query_that_finds_nothing(url):
    assert search(url, "bm25", "qwertzuiop") == []


def test_the_description_names_the_parameters(url):
    with urllib.request.urlopen(f"{url}/openapi.yaml") as answer:
        described = yaml.safe_load(answer)
    assert described == get(url, "/openapi.json")[1]
    parameters = {one["name"]: one for one in described["paths"]["/{index}/search"]["get"]["parameters"]}
    assert parameters["depth"]["schema"]["default"] == DEPTH and parameters["rerank"]["schema"]["default"] is True
    assert {"first_rank", "first_score"} <= described["components"]["schemas"]["Candidate"]["properties"].keys()
    assert get(url, "/")[1]["name"] == "Pyserini API" and get(url, "/v2")[0] == 404


def test_keys_and_a_path_in_the_url(lucene_index, queries, tmp_path):
    """As Pyserini has them: 401 without a key; the path of an index that no configuration names."""
    from pyserini.server.rest.app import create_app
    from pyserini_rerank.serving.rest_search import rerank_searches

    (tmp_path / "keys.yaml").write_text("api_keys: [secret-key]")
    app = create_app(str(tmp_path / "keys.yaml"))
    rerank_searches(app, known_scores(), rerank=False)
    with running(app) as url:
        status, answer = get(url, f"/v1/{lucene_index}/search", query=queries[0])
        assert status == 401 and "Unauthorized" in answer["error"]
        asked = {"query": queries[0], "rerank": "true", "headers": {"X-API-Key": "secret-key"}}
        assert get(url, f"/v1/{lucene_index}/search", **asked)[1]["candidates"][0]["first_rank"] <= 100


def test_a_download_holds_up_nobody(lucene_index, queries, tmp_path, monkeypatch):
    """A prebuilt index is on its way: others search. It is downloaded once, and served when it is there."""
    from pyserini.index.lucene import LuceneIndexReader
    from pyserini.prebuilt_index_info import TF_INDEX_INFO
    from pyserini.server.backend import SharedSearchBackend
    from pyserini_rerank.serving.pyserini_search import reranked_search

    archive = tmp_path / "tiny.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(lucene_index, arcname="tiny")
    asked, go = threading.Semaphore(0), threading.Event()

    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.release()
            assert go.wait(30)
            self.send_response(200)
            self.send_header("Content-Length", str(archive.stat().st_size))
            self.end_headers()
            self.wfile.write(archive.read_bytes())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server, ThreadPoolExecutor(3) as pool:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        record = {
            "description": "tiny", "filename": "tiny.tar.gz", "urls": [f"http://127.0.0.1:{server.server_port}/tiny"],
            "md5": hashlib.md5(archive.read_bytes()).hexdigest(), "size": archive.stat().st_size,
            **LuceneIndexReader(lucene_index).stats(),
        }  # fmt: skip
        monkeypatch.setitem(TF_INDEX_INFO, "tiny", record)
        monkeypatch.setenv("PYSERINI_CACHE", str(tmp_path))
        backend, reranker = SharedSearchBackend(), known_scores()
        expected = reranked_search(backend, reranker, queries[0], lucene_index)
        slow = [pool.submit(reranked_search, backend, reranker, queries[0], "tiny") for _ in range(2)]
        slow.append(pool.submit(backend.search, queries[0], "tiny"))
        assert asked.acquire(timeout=30)
        assert reranked_search(backend, reranker, queries[0], lucene_index) == expected
        assert backend.search(queries[0], lucene_index)["candidates"]
        go.set()
        assert [one.result() for one in slow[:2]] == [expected] * 2
        assert len(slow[2].result()["candidates"]) == 10
        assert not asked.acquire(blocking=False), "it was downloaded twice"
        server.shutdown()
    backend.close_all()


@pytest.mark.slow
def test_ten_shards(hnsw_index, lucene_index, queries, vector_query):
    """Pyserini searches the shards of MS MARCO V2.1 in ten threads; here all have one index."""
    from pyserini.search.lucene import LuceneHnswDenseSearcher, LuceneSearcher
    from pyserini.server.backend import SharedSearchBackend
    from pyserini.server.utils import SHARDS, IndexConfig
    from pyserini_rerank.serving.pyserini_search import reranked_search

    backend = SharedSearchBackend()
    backend.indexes["texts"] = IndexConfig("texts", searcher=LuceneSearcher(lucene_index), index_type="tf")
    for name in SHARDS:
        backend.indexes[name] = IndexConfig(
            name, searcher=LuceneHnswDenseSearcher(hnsw_index), encoder="ArcticEmbedL", base_index="texts",
            index_type="lucene_hnsw",
        )  # fmt: skip
    vectors = [vector_query(query) for query in queries]
    for query in vectors * 5:
        found = reranked_search(backend, known_scores(), query, next(iter(SHARDS)), 1, depth=30)["candidates"]
        plain = backend.search(query, next(iter(SHARDS)), 30)["candidates"]
        assert len({one["docid"] for one in plain}) == 3, "each document comes from ten shards"
        best = max(plain, key=lambda one: hashed(query, one["doc"]))
        assert found[0]["docid"] == best["docid"]
    backend.close_all()


# The command


@pytest.fixture
def command(monkeypatch, capfd):
    """Run the command line, which fails, and give what it printed last."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pyserini-rerank", *map(str, words)])
        with pytest.raises(SystemExit) as stopped:
            main()
        assert stopped.value.code == 1
        return capfd.readouterr().err.splitlines()

    return run


@pytest.mark.slow
def test_what_keeps_the_server_from_starting(command, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = command("serve-rest", "--model", "bundled", "--host", "127.0.0.1", "--port", port)
        assert len(said) == 1 and f"port {port}: Address already in use" in said[0]
        said = command("serve-mcp", "--model", "bundled", "--transport", "http", f"--port={port}")
        assert len(said) == 1 and "Choose another by --port" in said[0]
    for name in ("serve-rest", "serve-mcp"):
        said = command(name, "--model", str(tmp_path / "nothing"))
        assert len(said) == 1 and "nothing" in said[0] and said[0].startswith("pyserini-rerank: ")
        said = command(name, "--model", "bundled", "--device", "cpu", "--config", str(tmp_path / "none.yaml"))
        assert said[-1] == f"pyserini-rerank: Config file not found: {tmp_path / 'none.yaml'}"


@pytest.mark.stress
def test_the_command(lucene_index, queries, make_searcher, reranker, tmp_path):
    """A server of its own, with a flag of Pyserini's and two of ours; it ends at Ctrl-C."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = ["serve-rest", "--host", "127.0.0.1", "--port", str(port), "--model", "bundled", "--device", "cpu"]
    words += ["--search-cache-size", "7", "--no-rerank", "--depth", "20"]
    with open(tmp_path / "log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "pyserini_rerank", *words], stdout=log, stderr=log)
    try:
        while "Uvicorn running" not in (tmp_path / "log").read_text():
            assert server.poll() is None, (tmp_path / "log").read_text()
            threading.Event().wait(0.2)
        url = f"http://127.0.0.1:{port}"
        assert "first_rank" not in search(url, lucene_index, queries[0])[0]
        found = search(url, lucene_index, queries[0], rerank="true")
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0, (tmp_path / "log").read_text()
    searcher = make_searcher("bm25")
    searcher.set_reranker(reranker, depth=20)
    traces = searcher.search(queries[0]).traces
    assert [(one["docid"], one["first_rank"]) for one in found] == [(one.docid, one.first_rank) for one in traces]
    assert [one["score"] for one in found] == pytest.approx([one.score for one in traces], abs=2e-6)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_work_of_a_client_that_has_gone_is_dropped(config, queries):
    """Its candidates wait for a batch when it disconnects; they are not scored any more."""
    from pyserini.server.rest.app import create_app
    from pyserini_rerank.serving.rest_search import rerank_searches

    backend = GateBackend()
    shared = with_shared_batches(ModelReranker(backend, "gated"))
    app = create_app(config, no_prebuilt_indexes=True)
    rerank_searches(app, shared, depth=DEPTH)
    with shared, running(app) as url, ThreadPoolExecutor(1) as pool:
        first = pool.submit(search, url, "bm25", queries[0])
        assert backend.entered.wait(30)
        host, port = url.removeprefix("http://").split(":")
        asked = urllib.parse.urlencode({"query": queries[1]})
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(f"GET /v1/bm25/search?{asked} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            _until(lambda: len(shared.backend._jobs) == 2)  # the first request has candidates for several batches
        _until(lambda: [job.done.cancelled() for job in shared.backend._jobs] == [False, True])
        backend.gate.set()
        assert first.result() and search(url, "bm25", queries[2])
    assert {query for batch in backend.batches for query, _ in batch} == {queries[0], queries[2]}


def _until(is_so):
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)
