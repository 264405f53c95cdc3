"""The rerank server over real HTTP: its forms, its limits, and all that a client may send or do."""

import json
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection import HashBackend, hashed
from forking import python
from pyserini_rerank import (
    AsyncReranker,
    Cascade,
    Ensemble,
    Interpolation,
    ModelReranker,
    ReciprocalRankFusion,
    Reranker,
)
from pyserini_rerank.cli.main import app
from pyserini_rerank.scoring.backend import BackendFault
from pyserini_rerank.serving.limits import Limits
from pyserini_rerank.serving.rerank_server import rerank_app
from running import get, post, running
from test_shared_batches import GateBackend
from typer.testing import CliRunner

QUERY = "how long does a flea live"
TEXTS = ["a dog", "The flea lives for two or three months", "Berlin has many museums"]
KEY = "s3cret-key"


@pytest.fixture(scope="module")
def server(reranker: Reranker) -> Iterator[str]:
    """MiniLM-L-12 under two names."""
    with served(reranker, names=["minilm", "rerank-v3.5"]) as url:
        yield url


@contextmanager
def served(reranker: Reranker, **options: Any) -> Iterator[str]:
    """Run a server, and give its address."""
    with closing(AsyncReranker(reranker)) as shared, running(rerank_app(shared, **options)) as url:
        yield url


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores.astype(np.float64)))


FORMS = {
    "tei": ("/rerank", {"query": QUERY, "texts": TEXTS}, {"raw_scores": True}),
    "infinity": ("/rerank", {"query": QUERY, "documents": TEXTS, "model": "minilm"}, {"raw_scores": True}),
    "vllm": ("/v1/rerank", {"query": QUERY, "documents": TEXTS, "model": "minilm"}, {"use_activation": False}),
    "jina": ("/v1/rerank", {"query": QUERY, "documents": TEXTS, "model": "minilm", "return_documents": False}, None),
    "cohere": (
        "/v2/rerank",
        {"query": QUERY, "documents": TEXTS, "model": "rerank-v3.5", "max_tokens_per_doc": None},
        None,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_and_order_in_every_form(form: str, server: str, reranker: Reranker) -> None:
    path, body, raw = FORMS[form]
    logits = reranker.score(QUERY, TEXTS)
    best = [text.index for text in reranker.rank(QUERY, TEXTS)]
    asked = {"probabilities": (body, sigmoid(logits)), **({"raw": ({**body, **raw}, logits)} if raw else {})}
    for sent, expected in asked.values():
        reply = post(server + path, sent)
        results = reply.body if form == "tei" else reply.body["results"]
        score = "score" if form == "tei" else "relevance_score"
        assert reply.status == 200 and [result["index"] for result in results] == best
        np.testing.assert_allclose([result[score] for result in results], expected[best], rtol=1e-4, atol=1e-6)


def test_what_stands_beside_the_scores(server: str) -> None:
    """The documents, the number of results, and the keys of the original answers."""
    tei = post(f"{server}/rerank", {"query": QUERY, "texts": TEXTS, "return_text": True}).body
    assert [result["text"] for result in tei] == [TEXTS[1], TEXTS[0], TEXTS[2]] and tei[0].keys() == {
        "index", "score", "text",
    }  # fmt: skip
    objects = [{"text": TEXTS[0], "id": 7}, TEXTS[1], {"text": TEXTS[2]}]
    common = {"query": QUERY, "documents": objects, "top_n": 2}
    infinity = post(f"{server}/rerank", {**common, "return_documents": True}).body
    assert infinity["object"] == "rerank" and [result["document"] for result in infinity["results"]] == [
        TEXTS[1], TEXTS[0],
    ]  # fmt: skip
    vllm = post(f"{server}/v1/rerank", {**common, "model": None}).body
    assert vllm["results"][0]["document"] == {"text": TEXTS[1]} and vllm["model"] == "minilm"
    assert vllm["usage"]["total_tokens"] == vllm["usage"]["prompt_tokens"] > 30
    cohere = post(f"{server}/v2/rerank", {**common, "model": "rerank-v3.5"}).body
    assert cohere.keys() == {"id", "results", "meta"} and cohere["results"][0].keys() == {"index", "relevance_score"}
    assert len(post(f"{server}/v1/rerank", {**common, "top_n": 0}).body["results"]) == 3


def test_infinitys_client_without_a_model(server: str) -> None:
    body = {"query": QUERY, "documents": TEXTS, "model": "default/not-specified"}
    assert post(f"{server}/rerank", body).body["model"] == "minilm"
    assert post(f"{server}/v1/rerank", body).status == 404


def test_score_of_vllm(server: str, reranker: Reranker) -> None:
    """One query for all texts, or one for each; in the order of the request."""
    raw = {"use_activation": False, "model": "minilm"}
    one = post(f"{server}/v1/score", {"text_1": QUERY, "text_2": TEXTS, **raw}).body
    assert one["object"] == "list" and [item["index"] for item in one["data"]] == [0, 1, 2]
    np.testing.assert_allclose([item["score"] for item in one["data"]], reranker.score(QUERY, TEXTS), atol=1e-4)
    pairs = [("a dog", TEXTS[2]), (QUERY, TEXTS[1])]
    several = {"queries": [query for query, _ in pairs], "documents": [text for _, text in pairs]}
    two = post(f"{server}/v1/score", {**several, **raw}).body
    np.testing.assert_allclose([item["score"] for item in two["data"]], reranker.predict(pairs), atol=1e-4)
    wrong = post(f"{server}/v1/score", {"queries": ["a", "b"], "documents": TEXTS})
    assert (wrong.status, wrong.body["message"]) == (422, "2 queries for 3 documents: give one, or as many.")


BAD = {
    "an empty query": ("/v1/rerank", {"query": " ", "documents": TEXTS}, 422, "the query is empty"),
    "no query": ("/v1/rerank", {"documents": TEXTS}, 422, "query: field required."),
    "no documents": ("/v1/rerank", {"query": QUERY}, 422, "documents: field required."),
    "an empty list": ("/v2/rerank", {"query": QUERY, "documents": []}, 422, "there are no documents"),
    "an empty document": ("/v1/rerank", {"query": QUERY, "documents": ["a", ""]}, 422, "text 1 is empty"),
    "a number": ("/v1/rerank", {"query": QUERY, "documents": ["a", 5]}, 422, "documents.1: input should be a"),
    "null": ("/v1/rerank", {"query": QUERY, "documents": [None]}, 422, "documents.0: input should be a valid string"),
    "an object": ("/v1/rerank", {"query": QUERY, "documents": [{"title": "a"}]}, 422, "documents.0: input should be"),
    "one string": ("/v1/rerank", {"query": QUERY, "documents": "a"}, 422, "documents: input should be a valid list"),
    "a list of queries": ("/v1/rerank", {"query": [QUERY], "documents": ["a"]}, 422, "query: input should be a valid"),
    "top_n": ("/v1/rerank", {"query": QUERY, "documents": TEXTS, "top_n": -1}, 422, "top_n: input should be greater"),
    "a list": ("/v1/rerank", [QUERY, TEXTS], 422, "the body is a JSON list: send an object."),
    "no JSON": ("/v1/rerank", b"query=a", 422, "the body is no JSON: it begins with 'query=a'."),
    "half a surrogate": ("/v1/rerank", b'{"query": "\\ud800", "documents": ["a"]}', 422, "the body is no JSON"),
    "deep": ("/v1/rerank", b"[" * 100_000, 422, "the body is no JSON"),
    "nothing": ("/v1/rerank", b"", 422, "the body is no JSON"),
    "bytes": ("/v1/rerank", b"\xff\xfe", 422, "the body is no JSON"),
    "another model": ("/v1/rerank", {"model": "gpt", "query": QUERY, "documents": TEXTS}, 404, "there is no model"),
    "10,000 documents": ("/v2/rerank", {"query": QUERY, "documents": ["a"] * 10_000}, 413, "10,000 documents are more"),
    "10,000 numbers": ("/v1/rerank", {"query": QUERY, "documents": [1] * 10_000}, 413, "10,000 documents are more"),
    "10,000 queries": ("/v1/score", {"queries": [1] * 10_000, "documents": []}, 413, "10,000 documents are more"),
    "characters": ("/v1/rerank", {"query": QUERY, "documents": ["a" * 4_000_000]}, 413, "4,000,025 characters are"),
    "a long body": ("/v1/rerank", b"[" + b" " * 49_000_000, 413, "the body has more than 48,100,000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_one_line(case: str, server: str) -> None:
    path, body, status, message = BAD[case]
    reply = post(server + path, body)
    assert reply.status == status
    assert reply.body["message"].startswith(message) and "\n" not in reply.body["message"]
    assert reply.body["error"]["message"] == reply.body["message"]
    assert post(f"{server}/v1/rerank", {"query": QUERY, "documents": ["a"]}).status == 200


def test_tei_says_it_in_its_own_form(server: str) -> None:
    reply = post(f"{server}/rerank", {"query": QUERY, "texts": []})
    assert (reply.status, reply.body) == (
        422, {"error": "there are no documents: send at least one.", "error_type": "Validation"},
    )  # fmt: skip


def test_a_million_characters_are_cut(server: str, reranker: Reranker) -> None:
    long = "the flea lives for months " * 38_000
    before = _metric(server, "cut_passages_total")
    reply = post(f"{server}/rerank", {"query": QUERY, "texts": [long], "raw_scores": True})
    with pytest.warns(UserWarning) if reranker.counts.cut_passages == 0 else _nothing():
        assert abs(reply.body[0]["score"] - reranker.score(QUERY, [long])[0]) < 1e-4
    assert _metric(server, "cut_passages_total") == before + 1


def test_info_and_health_and_the_form_of_requests(server: str, reranker: Reranker) -> None:
    assert get(f"{server}/health").body == {"status": "ok"}
    info = get(f"{server}/info").body
    assert info["model_id"] == "bundled" and info["names"] == ["minilm", "rerank-v3.5"]
    assert info["fingerprint"] == reranker.fingerprint and info["max_input_length"] == 512
    assert (info["dtype"], info["max_client_batch_size"], info["scale"]) == ("float32", 1000, "logit")
    paths = get(f"{server}/openapi.json").body["paths"]
    assert paths.keys() == {
        "/rerank", "/v1/rerank", "/v2/rerank", "/v1/score", "/health", "/info", "/metrics",
    }  # fmt: skip
    assert "top_n" in json.dumps(paths["/v1/rerank"]["post"]["requestBody"])
    assert get(f"{server}/docs").status == 200


def _metric(url: str, name: str) -> float:
    lines = get(f"{url}/metrics").body.splitlines()
    [line] = [line for line in lines if line.startswith(f"pyserini_rerank_{name} ")]
    return float(line.split()[1])


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *exc: object) -> None: ...


def test_a_line_for_each_request(server: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "pyserini_rerank.requests"):
        reply = post(f"{server}/v1/rerank", {"query": QUERY, "documents": TEXTS}, X_Request_Id="mine-1")
        post(f"{server}/v1/rerank", b"no JSON", X_Request_Id="x" * 101)
    assert reply.headers["X-Request-Id"] == "mine-1" and reply.body["id"] == "mine-1"
    first, second = (json.loads(record.getMessage()) for record in caplog.records)
    assert first.keys() == {
        "time", "id", "route", "status", "documents", "pairs", "tokens", "cut", "waited", "tokenized", "scored",
        "seconds",
    }  # fmt: skip
    assert (first["id"], first["status"], first["documents"], first["cut"]) == ("mine-1", 200, 3, 0)
    assert first["tokens"] == reply.body["usage"]["total_tokens"] and 0 < first["scored"] <= first["seconds"]
    assert (second["status"], second["error"], len(second["id"])) == (422, "Validation", 32)
    assert "flea" not in caplog.text


def test_texts_are_logged_if_that_is_asked_for(caplog: pytest.LogCaptureFixture, hashing: Reranker) -> None:
    with caplog.at_level(logging.INFO, "pyserini_rerank.requests"), served(hashing, log_texts=True) as url:
        post(f"{url}/rerank", {"query": QUERY, "texts": TEXTS})
    line = json.loads(caplog.records[-1].getMessage())
    assert (line["queries"], line["texts"]) == ([QUERY], TEXTS)


def test_a_key(monkeypatch: pytest.MonkeyPatch, hashing: Reranker, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.delenv("RERANK_KEY", raising=False)
    with (
        pytest.raises(ValueError, match="the environment variable RERANK_KEY is not set"),
        served(hashing, key_env="RERANK_KEY"),
    ):
        pass
    monkeypatch.setenv("RERANK_KEY", KEY)
    body = {"query": QUERY, "texts": TEXTS}
    with (
        caplog.at_level(logging.INFO),
        served(hashing, key_env="RERANK_KEY") as url,
    ):
        for wrong in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": KEY}, {"Authorization": "Bearer é"}):
            headers = {name: value.encode().decode("latin-1") for name, value in wrong.items()}
            reply = post(f"{url}/rerank", body, **headers)
            assert (reply.status, reply.body["error_type"]) == (401, "Unauthorized")
        assert post(f"{url}/rerank", body, Authorization=f"Bearer {KEY}").status == 200
        assert get(f"{url}/health").status == 200 and KEY not in get(f"{url}/metrics").body
    assert KEY not in caplog.text


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_no_number_is_an_error_that_names_it_and_the_server_lives(score: float) -> None:
    backend = HashBackend(lambda query, text: score if text == "bad" else hashed(query, text))
    with served(ModelReranker(backend, "broken")) as url:
        for _ in range(3):
            reply = post(f"{url}/v1/rerank", {"query": QUERY, "documents": ["good", "bad"]})
            assert reply.status == 500 and f"broken scored {score}" in reply.body["message"]
            assert post(f"{url}/v1/rerank", {"query": QUERY, "documents": ["good"]}).status == 200


def test_a_full_queue(hashing: Reranker) -> None:
    backend = GateBackend()
    with served(_opened(backend), limits=Limits(tokens=500)) as url, ThreadPoolExecutor(2) as pool:
        backend.close_gate()
        waiting = pool.submit(post, f"{url}/rerank", {"query": QUERY, "texts": ["word " * 300]})
        assert backend.entered.wait(30)
        refused = post(f"{url}/rerank", {"query": QUERY, "texts": ["word " * 200]})
        assert refused.status == 429 and refused.body["error_type"] == "Overloaded"
        assert 1 <= int(refused.headers["Retry-After"]) <= 60
        pairs = {"queries": ["word " * 50] * 10, "documents": ["word"] * 10}
        assert post(f"{url}/v1/score", pairs).status == 429, "each pair has a query of its own"
        small = pool.submit(post, f"{url}/rerank", {"query": QUERY, "texts": ["word"]})
        backend.gate.set()
        assert waiting.result().status == small.result().status == 200
        assert post(f"{url}/rerank", {"query": QUERY, "texts": ["word " * 2000]}).status == 200, "it is alone"
        assert _metric(url, "queue_tokens") == _metric(url, "queue_requests") == 0


def _opened(backend: GateBackend) -> Reranker:
    """A reranker whose gate is open while the server starts."""
    backend.gate.set()
    return ModelReranker(backend, "gated")


def test_work_is_dropped_when_nobody_waits_for_it() -> None:
    """A deadline that has passed, and a client that disconnects."""
    backend = GateBackend()
    with served(_opened(backend)) as url, ThreadPoolExecutor(2) as pool:
        backend.close_gate()
        first = pool.submit(post, f"{url}/rerank", {"query": QUERY, "texts": ["first"]})
        assert backend.entered.wait(30)
        late = post(f"{url}/v1/rerank", {"query": QUERY, "documents": ["late"]}, X_Request_Timeout="0.2")
        assert late.status == 504 and "within the 0.2 seconds" in late.body["message"]
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            body = json.dumps({"query": QUERY, "texts": ["gone"]}).encode()
            connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            _until(lambda: _metric(url, "queue_requests") == 2)
        _until(lambda: _metric(url, "queue_requests") == 1)
        backend.gate.set()
        assert first.result().status == 200
        assert post(f"{url}/rerank", {"query": QUERY, "texts": ["last"]}).status == 200
        assert [text for batch in backend.batches for _, text in batch] == ["first", "last"]
        for wrong in ("soon", "0", "nan", "-1"):
            assert post(f"{url}/rerank", {"query": QUERY, "texts": ["a"]}, X_Request_Timeout=wrong).status == 422


def _until(is_so: Any) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_half_a_body(hashing: Reranker, caplog: pytest.LogCaptureFixture) -> None:
    """One client waits for an answer, and another one goes."""
    with caplog.at_level(logging.INFO, "pyserini_rerank"), served(hashing, limits=Limits(body_seconds=0.5)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b'POST /v2/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"query": ')
            answer = b"".join(iter(lambda: connection.recv(10_000), b""))
        assert answer.startswith(b"HTTP/1.1 408") and b"did not arrive within 0.5 seconds" in answer
        assert b"connection: close" in answer.lower()
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b'POST /v2/rerank HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"query": ')
        _until(lambda: len(caplog.records) == 2)
        assert post(f"{url}/rerank", {"query": QUERY, "texts": ["a"]}).status == 200
    lines = [json.loads(record.getMessage()) for record in caplog.records]
    assert [(line["status"], line.get("error")) for line in lines] == [
        (408, "Validation"), (499, "ClientGone"), (200, None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "status"),
    [(TimeoutError("no answer in 60 s"), 502), (BackendFault("gave no list of results"), 502), (MemoryError(), 500)],
)
def test_an_error_of_the_backend_is_named(error: Exception, status: int, caplog: pytest.LogCaptureFixture) -> None:
    def score(query: str, text: str) -> float:
        if text == "bad":
            raise error
        return hashed(query, text)

    with served(ModelReranker(HashBackend(score), "broken")) as url:
        reply = post(f"{url}/v1/rerank", {"query": QUERY, "documents": ["bad"]})
        assert (reply.status, reply.body["message"]) == (
            status, f"{type(error).__name__}: {str(error) or type(error).__name__}",
        )  # fmt: skip
        assert post(f"{url}/v1/rerank", {"query": QUERY, "documents": ["good"]}).status == 200
    assert "Traceback" in caplog.text


@pytest.mark.slow
def test_clients_at_once_and_clients_that_go(hashing: Reranker, documents: dict[str, str]) -> None:
    """Every answer is right, none is lost, while others disconnect in the midst of it."""
    texts = list(documents.values())
    stop = threading.Event()
    with served(hashing) as url, ThreadPoolExecutor(9) as pool:
        host, port = url.removeprefix("http://").split(":")

        def leave() -> None:
            while not stop.is_set():
                body = json.dumps({"query": QUERY, "texts": texts}).encode()
                with socket.create_connection((host, int(port))) as connection:
                    connection.sendall(b"POST /rerank HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
                    connection.sendall(body[: len(body) // 2] if len(body) % 2 else body)
                time.sleep(0.02)

        leaver = pool.submit(leave)

        def ask(number: int) -> None:
            asked = texts[number % 50 : number % 50 + 1 + number % 30]
            reply = post(f"{url}/rerank", {"query": f"{QUERY} {number % 7}", "texts": asked, "raw_scores": True})
            assert reply.status == 200
            scores = {result["index"]: result["score"] for result in reply.body}
            assert scores == {index: hashed(f"{QUERY} {number % 7}", text) for index, text in enumerate(asked)}

        list(pool.map(ask, range(400)))
        stop.set()
        leaver.result()
        _until(lambda: _metric(url, "queue_requests") == 0)


COMBINED: dict[str, Callable[[Any, Any], Reranker]] = {
    "a cascade": lambda one, two: Cascade([(one, 5), (two, 2)]),
    "an ensemble": lambda one, two: Ensemble([(one, 1), (two, 2)]),
    "an ensemble of cascades": lambda one, two: Ensemble([(Cascade([(one, 5)]), 1), (Cascade([(two, 9)]), 2)]),
}


@pytest.mark.parametrize("combination", COMBINED)
def test_a_combination(combination: str) -> None:
    """Its scores as they are; and a cascade takes as many documents as its first stage scores."""
    parts = [ModelReranker(HashBackend(lambda q, t, sign=sign: sign * hashed(q, t)), "part") for sign in (1, -0.5)]
    combined = COMBINED[combination](*parts)
    with served(combined) as url:
        reply = post(f"{url}/v1/rerank", {"query": QUERY, "documents": TEXTS, "return_documents": False})
        assert [(result["index"], result["relevance_score"]) for result in reply.body["results"]] == [
            (text.index, text.score) for text in combined.rank(QUERY, TEXTS)
        ]
        six = post(f"{url}/v1/rerank", {"query": QUERY, "documents": TEXTS * 2})
        assert six.status == (200 if combination == "an ensemble" else 413)
        assert get(f"{url}/info").body["max_client_batch_size"] == (1000 if combination == "an ensemble" else 5)


NEED_A_FIRST_STAGE: dict[str, Callable[[Reranker], Reranker]] = {
    "an interpolation": Interpolation,
    "a rank fusion": ReciprocalRankFusion,
    "an interpolation within a cascade": lambda one: Cascade([(Interpolation(one), 10), (one, 5)]),
}


@pytest.mark.parametrize("combination", NEED_A_FIRST_STAGE)
def test_a_reranker_that_needs_a_first_stage_is_refused(combination: str, hashing: Reranker) -> None:
    with (
        pytest.raises(ValueError, match="needs the scores of a first stage, which a request does not have"),
        served(NEED_A_FIRST_STAGE[combination](hashing)),
    ):
        pass


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    """It starts, answers, and after SIGTERM answers what is under way and takes nothing new."""
    process = _serve("--model", "bundled", "--device", "cpu", "--port", "0", "--name", "ours")
    try:
        line = process.stderr.readline()
        assert "serving bundled at http://127.0.0.1:" in line
        url = line.split()[-1]
        port = url.rpartition(":")[2]
        taken = _serve("--model", "bundled", "--port", port)
        _, said = taken.communicate(timeout=60)
        assert taken.returncode == 1
        assert said == (
            f"pyserini-rerank: cannot listen on 127.0.0.1, port {port}: Address already in use. Choose another by "
            "--port.\n"
        )
        many = {"query": QUERY, "documents": [f"{text} {n}" for n in range(60) for text in TEXTS], "model": "ours"}
        with ThreadPoolExecutor(1) as pool:
            under_way = pool.submit(post, f"{url}/v1/rerank", many)
            _until(lambda: _metric(url, "queue_requests") == 1)
            process.send_signal(signal.SIGTERM)
            assert len(under_way.result().body["results"]) == 180
        assert process.wait(30) == 0
        [logged] = map(json.loads, process.stdout.read().splitlines())
        assert (logged["route"], logged["status"], logged["documents"]) == ("/v1/rerank", 200, 180)
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", int(port)))
    finally:
        process.kill()


def test_a_model_that_does_not_load(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"the folder {tmp_path / 'nothing'} is not there"):
        CliRunner().invoke(app, ["serve", "--model", str(tmp_path / "nothing"), "--port", "0"], catch_exceptions=False)


def _serve(*arguments: str) -> "subprocess.Popen[str]":
    command = [python(), "-m", "pyserini_rerank", "serve", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
