"""The http backend against servers of the tests' own on loopback: right ones of all five APIs, and faulty ones."""

import json
import logging
import re
import ssl
import threading
import time
import traceback
import zlib
from concurrent.futures import ThreadPoolExecutor
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from types import SimpleNamespace
from urllib.parse import quote, quote_plus

import numpy as np
import pyserini_rerank
import pytest
from experiment import arguments, run, write_experiment
from pyserini_rerank.scoring.backends import http_backend
from pyserini_rerank.scoring.backends.http_backend import HttpBackend
from pyserini_rerank.scoring.rerank_apis import APIS
from pyserini_rerank.testing import PAIRS, BackendContract

KEY = "sk-do-not-show-1234"
DOCUMENTS = ["one", "two", "three"]


def raw(query, text):
    return zlib.crc32(f"{query}\n{text}".encode()) / 2**32 * 20 - 10


class Server:
    """A rerank server; `answers` are functions of the handler that meet the next requests, later ones get `right`."""

    def __init__(self, api, context=None):
        self.api, self.answers, self.seen = api, [], []
        self.now, self.most_at_once, self.slow, lock = 0, 0, 0.0, threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    seen = SimpleNamespace(
                        path=self.path, body=self.body, headers=dict(self.headers), at=time.monotonic()
                    )
                    outer.seen.append(seen)
                    answer = outer.answers.pop(0) if outer.answers else right
                    outer.now += 1
                    outer.most_at_once = max(outer.most_at_once, outer.now)
                time.sleep(outer.slow)
                try:
                    answer(self)
                except BrokenPipeError:
                    pass
                finally:
                    with lock:
                        outer.now -= 1

            do_GET = do_POST

            def give(self, status, data, **headers):
                self.send_response(status)
                for name, value in {"Content-Length": len(data), **headers}.items():
                    self.send_header(name.replace("_", "-"), str(value))
                self.end_headers()
                self.wfile.write(data)

            def results(self):
                return outer.results(self.path, self.body)

            def log_message(self, *arguments):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.url = f"http{'s' if context else ''}://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=[0.005], daemon=True).start()

    def results(self, path, body):
        """What each of the five answers, written out here from their documentation; best first, as they all do."""
        assert path == {"tei": "/rerank", "infinity": "/rerank", "cohere": "/v2/rerank"}.get(self.api, "/v1/rerank")
        texts = body["texts" if self.api == "tei" else "documents"]
        is_raw = {"tei": "raw_scores" in body and body["raw_scores"], "infinity": body.get("raw_scores")}.get(
            self.api, self.api == "vllm" and body.get("use_activation") is False
        )
        logits = [raw(body["query"], text) for text in texts]
        scores = logits if is_raw else (1 / (1 + np.exp(-np.array(logits)))).tolist()
        name = "score" if self.api == "tei" else "relevance_score"
        found = sorted(({"index": i, name: score} for i, score in enumerate(scores)), key=lambda one: -one[name])
        return found if self.api == "tei" else {"id": "1", "model": body.get("model"), "results": found}

    def close(self):
        self.http.shutdown()
        self.http.server_close()


def right(handler):
    handler.give(200, json.dumps(handler.results()).encode())


def status(code, text="busy", **headers):
    return lambda handler: handler.give(code, text.encode(), **headers)


def changed(change):
    """A TEI server whose results are changed."""

    def answer(handler):
        results = handler.results()
        change(results)
        handler.give(200, json.dumps(results).encode())

    return answer


def slow(handler):
    time.sleep(0.4)
    right(handler)


def closes(handler):
    handler.close_connection = True


def closes_midway(handler):
    data = json.dumps(handler.results()).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def truncated(handler):
    handler.give(200, json.dumps(handler.results()).encode()[:-9])


def garbage(handler):
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.9\r\n")
    handler.close_connection = True


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(http_backend, "BACKOFF", 0.005)


@pytest.fixture
def server():
    made = Server("tei")
    yield made
    made.close()


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    return "MY_KEY"


def load(url, **options):
    return pyserini_rerank.load(url, backend="http", **{"api": "tei", "timeout": 5, "retries": 2, **options})


def expected(query, texts):
    return np.array([raw(query, text) for text in texts], dtype=np.float32)


def one_line(error):
    message = str(error.value)
    assert message and len(message.splitlines()) == 1
    return message


# ------------------------------------------------------------------------------------------------------------- contract


class TestContract(BackendContract):
    @pytest.fixture(autouse=True)
    def serve(self, server):
        self.url = server.url

    def make(self):
        return HttpBackend(self.url, api="tei", batch_size=3, concurrency=2, fingerprint="as of today")


class TestContractWithoutFingerprint(TestContract):
    def make(self):
        return HttpBackend(self.url, api="tei")


# ----------------------------------------------------------------------------------------------------------------- APIs


@pytest.mark.parametrize("api", APIS)
def test_each_api(api, key):
    server = Server(api)
    try:
        scores = load(server.url, api=api, model="a-model", key_env=key).score("flea", DOCUMENTS)
    finally:
        server.close()
    logits = expected("flea", DOCUMENTS)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits)) if api in ("jina", "cohere") else logits, atol=1e-6)
    [seen] = server.seen
    assert seen.headers["Authorization"] == f"Bearer {KEY}" and seen.headers["Content-Type"] == "application/json"
    assert seen.body["query"] == "flea" and seen.body["model"] == "a-model" and "top_n" not in seen.body
    assert seen.body.get("truncate" if api == "tei" else "query"), "TEI refuses long passages unless it is told to cut"


@pytest.mark.parametrize("ending", ["", "/", "/rerank", "/rerank/"])
def test_urls(server, ending):
    assert load(server.url + ending).score("flea", ["cat"]) == expected("flea", ["cat"])
    assert server.seen[0].path == "/rerank"


def test_no_key_and_no_model_are_sent_unasked(server):
    load(server.url).score("flea", ["cat"])
    assert "Authorization" not in server.seen[0].headers and "model" not in server.seen[0].body


def test_requests_have_one_query_and_so_many_documents(server):
    reranker = load(server.url, batch_size=4)
    pairs = [(query, f"{query} {i}") for i in range(10) for query in ("flea", "cat", "dog")]
    scores = reranker.predict(pairs)
    assert scores.tolist() == [np.float32(raw(*pair)) for pair in pairs]
    sent = sorted((seen.body["query"], len(seen.body["texts"])) for seen in server.seen)
    assert sent == [(query, n) for query in ("cat", "dog", "flea") for n in (2, 4, 4)]


def test_tei_gets_32_documents_at_most(server):
    load(server.url).score("flea", [f"cat {i}" for i in range(70)])
    assert sorted(len(seen.body["texts"]) for seen in server.seen) == [6, 32, 32]


@pytest.mark.parametrize("concurrency", [1, 3])
def test_the_limit_of_requests_at_a_time_is_kept_and_reached(server, concurrency):
    server.slow = 0.02
    load(server.url, batch_size=1, concurrency=concurrency).score("flea", [f"cat {i}" for i in range(15)])
    assert server.most_at_once == concurrency


# --------------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "faults",
    [
        [status(500)],
        [status(502), status(503)],
        [status(504)],
        [status(429, Retry_After=0)],
        [closes],
        [closes_midway],
        [garbage],
        [slow],
        [status(500), closes_midway],
    ],
)
def test_what_passes_is_tried_again(server, faults):
    server.answers = list(faults)
    assert load(server.url, timeout=0.2).score("flea", DOCUMENTS).tolist() == expected("flea", DOCUMENTS).tolist()
    assert len(server.seen) == len(faults) + 1
    assert all(seen.body == server.seen[0].body for seen in server.seen)


def test_retry_after_is_heeded_up_to_a_limit(server, monkeypatch):
    server.answers = [status(429, Retry_After=1)]
    start = time.monotonic()
    load(server.url).score("flea", DOCUMENTS)
    assert 1 <= time.monotonic() - start < 2
    monkeypatch.setattr(http_backend, "LONGEST_WAIT", 0.1)
    server.answers = [status(503, Retry_After=86400)]
    start = time.monotonic()
    load(server.url).score("flea", DOCUMENTS)
    assert 0.1 <= time.monotonic() - start < 1


@pytest.mark.parametrize("wait", ["1.5", "60s", "soon"])
def test_a_time_that_is_none_is_not_waited_for(server, monkeypatch, wait):
    monkeypatch.setattr(http_backend, "BACKOFF", 0.01)
    server.answers = [status(503, Retry_After=wait)] * 2
    load(server.url).score("flea", DOCUMENTS)
    assert len(server.seen) == 3


def test_each_wait_is_longer_than_the_one_before(server, monkeypatch):
    monkeypatch.setattr(http_backend, "BACKOFF", 0.1)
    server.answers = [status(500)] * 4
    load(server.url, retries=4).score("flea", ["cat"])
    first, *waits = (after.at - before.at for before, after in pairwise(server.seen))
    assert first < 0.2 and [wait >= least for wait, least in zip(waits, (0.2, 0.4, 0.8), strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        (status(500, "out of\nmemory"), ConnectionError, r"answered 500: out of memory"),
        (status(429), ConnectionError, r"answered 429: busy"),
        (slow, TimeoutError, r"gave no answer within 0.2 seconds"),
        (closes, ConnectionError, r"cannot be reached: .*closed connection"),
        (closes_midway, ConnectionError, r"cannot be reached: .*IncompleteRead"),
    ],
)
def test_what_does_not_pass_is_an_error(server, fault, kind, message):
    server.answers = [fault] * 3
    with pytest.raises(kind) as error:
        load(server.url, timeout=0.2).score("flea", DOCUMENTS)
    assert re.search(f"^{server.url}/rerank {message}", one_line(error))
    assert len(server.seen) == 3, "two retries"


def drop(results):
    results.pop()


def add(results):
    results.append({"index": 3, "score": 1.0})


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (status(400, '{"error": "no such model"}'), r"answered 400: .*no such model"),
        (status(401, "Unauthorized"), r"answered 401: Unauthorized"),
        (status(413, "batch size 3 > maximum 2"), r"answered 413: batch size 3"),
        (status(302, "", Location="http://elsewhere/"), r"answered 302: a redirect to http://elsewhere/, which is not"),
        (status(308, "", Location="/v2"), r"answered 308: a redirect to /v2, which is not followed"),
        (truncated, r"gave an answer that is no JSON: \[\{"),
        (status(200, "<html>\n<p>Welcome"), r"gave an answer that is no JSON: <html> <p>Welcome"),
        (status(200, ""), r"gave an answer that is no JSON:"),
        (status(200, '{"results": []}'), r"gave no list of results \(is api= right\?\): \{"),
        (status(200, "[[0, 0.5], [1, 0.5], [2, 0.5]]"), r"gave no list of results"),
        (changed(drop), r"gave 2 results for 3 documents"),
        (changed(add), r"gave 4 results for 3 documents"),
        (changed(lambda results: results[1].update(index=results[0]["index"])), r"gave the index \d twice"),
        (changed(lambda results: results[0].update(index=3)), r"gave the index 3 for 3 documents"),
        (changed(lambda results: results[0].update(index=-1)), r"gave the index -1 for 3 documents"),
        (changed(lambda results: results[0].update(index=True)), r"gave the index True for"),
        (changed(lambda results: results[0].update(index=[0])), r"gave the index \[0\] for"),
        (changed(lambda results: results[0].pop("index")), r"gave the index None for"),
        (changed(lambda results: results[0].update(score=float("nan"))), r"gave the score nan, which is no finite"),
        (changed(lambda results: results[0].update(score=float("-inf"))), r"gave the score -inf"),
        (changed(lambda results: results[0].update(score=1e39)), r"gave the score 1e\+39"),
        (changed(lambda results: results[0].update(score="1.5")), r"gave the score '1.5'"),
        (changed(lambda results: results[0].update(score=None)), r"gave the score None"),
        (changed(lambda results: results[0].update(score=True)), r"gave the score True"),
    ],
)
def test_a_wrong_answer_is_an_error_at_once(server, fault, message):
    server.answers = [fault]
    with pytest.raises(ValueError) as error:
        load(server.url).score("flea", DOCUMENTS)
    assert re.search(f"^{server.url}/rerank {message}", one_line(error))
    assert len(server.seen) == 1


def test_another_api_than_the_servers(server):
    server.api = "infinity"
    server.results = lambda path, body: {"results": []}
    with pytest.raises(ValueError, match="is api= right"):
        load(server.url).score("flea", DOCUMENTS)


def test_one_failed_request_of_many_ends_the_call_and_the_rest_is_not_sent(server):
    server.answers = [status(400, "no")]
    with pytest.raises(ValueError, match="answered 400"):
        load(server.url, batch_size=1, concurrency=1).score("flea", [f"cat {i}" for i in range(40)])
    assert len(server.seen) <= 3


def test_nobody_listens(server):
    server.close()
    with pytest.raises(ConnectionError) as error:
        load(server.url, retries=1).score("flea", ["cat"])
    assert f"{server.url}/rerank cannot be reached: " in one_line(error) and "refused" in str(error.value)


def test_a_host_that_does_not_exist():
    with pytest.raises(ConnectionError) as error:
        load("http://rerank.invalid", retries=0).score("flea", ["cat"])
    assert "http://rerank.invalid/rerank cannot be reached: " in one_line(error)


def test_several_threads(server):
    reranker = load(server.url, batch_size=2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: reranker.score(f"flea {i}", DOCUMENTS), range(16)))
    assert [scores.tolist() for scores in found] == [expected(f"flea {i}", DOCUMENTS).tolist() for i in range(16)]


# ------------------------------------------------------------------------------------------------------------------ TLS


@pytest.fixture
def serve_tls(tmp_path):
    """Start a server on this machine with a certificate of its own, which is for a name; give its URL and the file."""
    from datetime import UTC, datetime, timedelta

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    servers = []

    def serve(name):
        key, subject = ec.generate_private_key(ec.SECP256R1()), x509.Name.from_rfc4514_string("CN=a test")
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )
        both, alone = tmp_path / "both.pem", tmp_path / "certificate.pem"
        alone.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        how = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        both.write_bytes(key.private_bytes(*how) + alone.read_bytes())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        servers.append(Server("tei", context))
        return servers[-1], f"https://localhost:{servers[-1].http.server_port}", alone

    yield serve
    for server in servers:
        server.close()


def test_a_certificate_that_is_trusted(serve_tls, monkeypatch):
    _, url, certificate = serve_tls("localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert load(url, retries=0).score("flea", ["cat"]) == expected("flea", ["cat"])


@pytest.mark.parametrize(
    ("name", "is_trusted", "message"),
    [("localhost", False, "self-signed certificate"), ("rerank.invalid", True, "Hostname mismatch")],
)
def test_a_certificate_that_is_not_the_servers(serve_tls, monkeypatch, name, is_trusted, message):
    server, url, certificate = serve_tls(name)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with pytest.raises(ConnectionError) as error:
        load(url, retries=0).score("flea", ["cat"])
    assert "CERTIFICATE_VERIFY_FAILED" in one_line(error) and message in str(error.value)
    assert not server.seen


# ----------------------------------------------------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "fault",
    [
        status(401, f"Incorrect API key provided: {KEY}"),
        status(200, f"{KEY} is no JSON"),
        status(302, "", Location=f"/login?key={KEY}"),
        changed(lambda results: results[0].update(index=KEY)),
        changed(lambda results: results[0].update(score=KEY)),
        status(500, f"failed for {KEY}"),
        closes,
    ],
)
def test_the_key_is_in_no_error_log_or_repr(server, key, fault, caplog):
    caplog.set_level(logging.DEBUG)
    server.answers = [fault] * 3
    reranker = load(server.url, key_env=key)
    with pytest.raises((ValueError, OSError)) as error:
        reranker.score("flea", DOCUMENTS)
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"
    assert KEY not in "".join(traceback.format_exception(error.value)) and KEY not in one_line(error)
    assert KEY not in caplog.text and KEY not in repr(reranker.backend) and KEY not in str(vars(reranker.backend))
    assert KEY not in str(reranker.backend.description)


SPECIAL = "sk-a/b+c\"d\\e&f'g<h"


@pytest.mark.parametrize(
    "shown",
    [
        *(SPECIAL, json.dumps(SPECIAL), json.dumps(json.dumps(SPECIAL)), json.dumps(SPECIAL).replace("/", "\\/")),
        *(quote(SPECIAL), quote_plus(SPECIAL), re.sub("%..", lambda code: code[0].lower(), quote_plus(SPECIAL))),
        *(escape(SPECIAL), repr(SPECIAL), json.dumps(SPECIAL).replace("&", "\\u0026").replace("<", "\\u003C")),
    ],
)
def test_the_key_is_not_shown_as_others_write_it(server, monkeypatch, shown):
    monkeypatch.setenv("MY_KEY", SPECIAL)
    server.answers = [status(401, f"no such key: {shown}!"), changed(lambda results: results[0].update(index=shown))]
    reranker = load(server.url, key_env="MY_KEY")
    for before in ("no such key: ", "gave the index "):
        with pytest.raises(ValueError) as error:
            reranker.score("flea", DOCUMENTS)
        assert re.search(f"{before}\\W*\\*\\*\\*\\W*(!$|for 3 documents)", one_line(error)), "nothing of it is left"


def test_the_key_is_in_no_variable_that_a_traceback_shows(server, key):
    server.answers = [closes] * 3
    with pytest.raises(ConnectionError) as error:
        load(server.url, key_env=key).score("flea", DOCUMENTS)
    shown = traceback.TracebackException.from_exception(error.value, capture_locals=True)
    ours = [frame.locals for frame in shown.stack if frame.filename == http_backend.__file__]
    assert len(ours) > 1 and KEY not in str(ours)


@pytest.mark.parametrize("value", [None, "", f"{KEY}\n", f"{KEY} x", f"{KEY}é"])
def test_a_key_that_is_none(server, monkeypatch, value):
    if value is None:
        monkeypatch.delenv("MY_KEY", raising=False)
    else:
        monkeypatch.setenv("MY_KEY", value)
    with pytest.raises(ValueError) as error:
        load(server.url, key_env="MY_KEY")
    assert "key_env='MY_KEY': this environment variable " in one_line(error) and KEY not in str(error.value)


@pytest.mark.parametrize("url", [f"http://me:{KEY}@host", f"https://host/?key={KEY}", f"https://host/#{KEY}"])
def test_a_url_with_a_secret_in_it_is_refused_and_not_repeated(url):
    with pytest.raises(ValueError) as error:
        load(url)
    assert "key_env=" in one_line(error) and KEY not in str(error.value)


# -------------------------------------------------------------------------------------------------------------- options


def test_a_fingerprint_is_the_users_word_for_the_model(server, tmp_path):
    def printed(**options):
        return HttpBackend(server.url, **{"api": "tei", **options}).fingerprint

    assert printed() == "" and printed(model="a") == ""
    prints = [printed(fingerprint="1"), printed(fingerprint="2"), printed(fingerprint="1", model="a")]
    prints.append(printed(fingerprint="1", api="jina"))
    assert len(set(prints)) == 4 and all(prints)
    with pytest.raises(ValueError, match="no fingerprint"):
        load(server.url, cache=tmp_path)
    for _ in range(2):
        with load(server.url, cache=tmp_path, fingerprint="1") as reranker:
            assert reranker.score("flea", DOCUMENTS).tolist() == expected("flea", DOCUMENTS).tolist()
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "options",
    [
        *({"api": "openai"}, {"timeout": 0}, {"retries": -1}, {"concurrency": 0}, {"batch_size": 0}),
        *({"timeout": "soon"}, {"timeout": float("nan")}, {"timeout": float("inf")}, {"timeout": True}),
        *({"retries": 1.5}, {"retries": "2"}, {"concurrency": None}, {"batch_size": 2.0}),
    ],
)
def test_bad_options(server, options):
    with pytest.raises(ValueError) as error:
        load(server.url, **options)
    assert f"{next(iter(options))}=" in one_line(error)


@pytest.mark.parametrize("url", ["", "localhost:8080", "ftp://host", "http://", "a/b", "/tmp"])
def test_what_is_no_url(url):
    with pytest.raises(ValueError) as error:
        load(url)
    assert "is no URL of a server" in one_line(error)


def test_the_commands_options_and_no_cache_without_a_fingerprint(server, tmp_path, monkeypatch):
    """`rerank` keeps its scores by itself, where it can."""
    folder = write_experiment(tmp_path, queries=2, hits=4)
    given = ["--backend", "http", "--option", "api=tei", "--option", "batch_size=2", "--option"]
    for number, option in enumerate(("retries=0", "fingerprint=1")):
        words = arguments(folder, f"{number}.run", *given, option)
        del words[words.index("--device") : words.index("--device") + 2]
        words[words.index("--model") + 1] = server.url
        assert run(monkeypatch, *words) == 0
    assert len(server.seen) == 8
    assert (folder / "0.run").read_text() == (folder / "1.run").read_text()
    assert len((folder / "0.run").read_text().splitlines()) == 8


def test_the_contracts_pairs_are_worth_it():
    assert len({query for query, _ in PAIRS}) > 1
