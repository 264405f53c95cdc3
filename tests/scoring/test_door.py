"""Closing while others score, closing twice, and forks: nobody hangs, and nobody gets what is not theirs."""

import gc
import multiprocessing
import os
import signal
import subprocess
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend
from forking import python
from pyserini_rerank.model import ModelReranker
from pyserini_rerank.scoring.backend import create
from pyserini_rerank.scoring.backends.cached_backend import CachedBackend
from pyserini_rerank.scoring.score_store import ScoreStore
from pyserini_rerank.testing import PAIRS
from tiny_checkpoints import build

NAME = "cross-encoder/ms-marco-MiniLM-L-2-v2"
CLOSED = r"is closed: load it again\.$"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(NAME, tmp_path_factory.mktemp("door"))


@pytest.fixture(scope="module", autouse=True)
def graphs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("graphs")))
        yield


class Slow(HashBackend):
    """Waits in each of its calls, until it is let go on."""

    def __init__(self, call="run", workers=1):
        super().__init__()
        self.call, self.workers = call, workers
        self.entered, self.go_on, self.log = threading.Semaphore(0), threading.Event(), []

    def plan(self, pairs):
        return self._do("plan", super().plan, pairs)

    def run(self, batch):
        return self._do("run", super().run, batch)

    def close(self):
        self.log.append("close")

    def _do(self, name, call, argument):
        if name == self.call:
            self.entered.release()
            assert self.go_on.wait(30)
        answer = call(argument)
        self.log.append(name)
        return answer


@pytest.mark.parametrize(("call", "workers"), [("run", 1), ("run", 2), ("plan", 1)])
def test_closing_waits_for_the_batches_that_are_under_way_and_refuses_others(call, workers):
    backend = Slow(call, workers)
    reranker = ModelReranker(backend, "slow")
    with ThreadPoolExecutor(6) as pool:
        scoring = [pool.submit(reranker.predict, PAIRS[:4]) for _ in range(2)]
        assert backend.entered.acquire(timeout=30)
        closing = [pool.submit(reranker.close) for _ in range(2)]
        time.sleep(0.1)
        assert not any(future.done() for future in closing) and "close" not in backend.log
        with pytest.raises(RuntimeError, match=CLOSED):
            reranker.predict(PAIRS)
        backend.go_on.set()
        for future in closing:
            future.result(timeout=30)
        for future in scoring:  # one that was done in time has its scores
            try:
                assert np.isfinite(future.result(timeout=30)).all()
            except RuntimeError as error:
                assert str(error) == "the reranker slow is closed: load it again."
    assert backend.log.count("close") == 1 and backend.log[-1] == "close"
    reranker.close()
    assert backend.log.count("close") == 1
    for use in (lambda: reranker.score("flea", []), lambda: reranker.backend, lambda: reranker.fingerprint):
        with pytest.raises(RuntimeError, match=CLOSED):
            use()


@pytest.mark.slow
def test_a_signals_handler_that_interrupts_a_call_can_close():
    """In a process of its own: among many libraries' threads, such a signal has once ended the whole test run."""
    process = multiprocessing.get_context("spawn").Process(target=_close_in_a_signals_handler)
    process.start()
    process.join(120)
    assert process.exitcode == 0


def _close_in_a_signals_handler():
    backend = Slow()
    reranker = ModelReranker(backend, "slow")

    def handler(*_):
        reranker.close()
        backend.go_on.set()

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        sender = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGUSR1))
        sender.start()
        assert len(reranker.predict(PAIRS[:1])) == 1
        with pytest.raises(RuntimeError, match=CLOSED):
            reranker.predict(PAIRS)
    finally:
        signal.signal(signal.SIGUSR1, before)


OPTIONS = {
    "torch": {"device": "cpu"},
    "sentence-transformers": {"device": "cpu"},
    "onnx": {},
    "openvino": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", OPTIONS)
def test_each_backend_is_closed_in_the_midst_of_many_calls(folder, tmp_path, name, cached):
    pairs = [(query, f"{text} {i}") for i in range(60) for query, text in PAIRS]
    given = {"cache": tmp_path} if cached else {}
    reranker = pyserini_rerank.load(folder, backend=name, batch_tokens=200, **OPTIONS[name], **given)
    backend = reranker.backend
    started = threading.Event()

    def score():
        started.set()
        with pytest.raises(RuntimeError, match=CLOSED):
            while True:
                reranker.predict(pairs)

    with ThreadPoolExecutor(3) as pool:
        scoring = [pool.submit(score) for _ in range(3)]
        assert started.wait(30)
        time.sleep(0.1)
        reranker.close()
        for future in scoring:
            future.result(timeout=60)
    reranker.close()
    backend.close()  # a backend may be closed again by itself


def test_a_backend_and_a_store_that_are_closed_say_so_themselves(folder, tmp_path):
    backend = create("torch")(folder, device="cpu")
    [batch] = backend.plan(PAIRS[:1]).batches
    backend.close()
    with pytest.raises(RuntimeError, match=r"^this backend is closed: load it again\.$"):
        backend.run(batch)
    store = ScoreStore(tmp_path)
    store.close()
    store.close()
    with pytest.raises(RuntimeError, match="the score cache .* is closed"):
        store.get([b"key"])
    with pytest.raises(RuntimeError, match="the score cache .* is closed"):
        store.put({b"key": 1.0})


def in_a_fork(do):
    """What a fork says of something, within half a minute."""
    reads, writes = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        child = os.fork()
    if not child:
        try:
            said = do()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writes, str(said).encode())
        os._exit(0)
    os.close(writes)
    timer = threading.Timer(30, os.kill, (child, signal.SIGKILL))
    timer.start()
    with os.fdopen(reads) as answer:
        said = answer.read()
    timer.cancel()
    os.waitpid(child, 0)
    return said


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")


@pytest.mark.slow
@needs_fork
@pytest.mark.parametrize("name", OPTIONS)
def test_a_fork_says_at_once_that_it_has_to_load(folder, tmp_path, name):
    """And it leaves what its parent has: processes, connections, files."""

    def dropped():
        reranker.__dict__.clear()
        gc.collect()

    with pyserini_rerank.load(folder, backend=name, cache=tmp_path, **OPTIONS[name]) as reranker:
        expected = reranker.predict(PAIRS)
        said = in_a_fork(lambda: reranker.predict([("flea", "new")]))
        assert said.startswith(f"RuntimeError: this process was forked from the one that loaded the reranker {folder}")
        assert "load it here, or start processes by" in said and "\n" not in said
        assert in_a_fork(lambda: reranker.close()) == "None"
        assert in_a_fork(dropped) == "None"
        assert reranker.predict([*PAIRS, ("flea", "new one")])[:-1].tobytes() == expected.tobytes()


@needs_fork
def test_a_fork_beside_a_call_and_one_that_loads(folder):
    """The parent's thread is in the midst of a batch, with its locks; the fork loads, and has the same scores."""
    backend = Slow()
    slow = ModelReranker(backend, "slow")
    with ThreadPoolExecutor(1) as pool, pyserini_rerank.load(folder, device="cpu") as reranker:
        expected = reranker.predict(PAIRS).tobytes()
        scoring = pool.submit(slow.predict, PAIRS)
        assert backend.entered.acquire(timeout=30)
        assert "was forked" in in_a_fork(lambda: slow.predict(PAIRS))

        def loads():
            with pyserini_rerank.load(folder, device="cpu") as own:
                return own.predict(PAIRS).tobytes() == expected

        assert in_a_fork(loads) == "True"
        backend.go_on.set()
        scoring.result(timeout=30)


AT_EXIT = """
import sys, threading
import pyserini_rerank

if __name__ == "__main__":
    reranker = pyserini_rerank.load(sys.argv[1], device="cpu")
    backend = reranker.backend
    thread = threading.Thread(target=lambda: [reranker.predict([("flea", "cat")]) for _ in range(10**9)], daemon=True)
    thread.start()
    print("exits", flush=True)
"""


@pytest.mark.slow
def test_at_exit_nothing_hangs_in_a_thread_that_scores(folder, tmp_path):
    (tmp_path / "script.py").write_text(AT_EXIT)
    done = subprocess.run(
        [python(), str(tmp_path / "script.py"), str(folder)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "exits\n"), done.stderr


def test_a_cache_over_a_closed_backend(tmp_path):
    backend = HashBackend()
    backend.fingerprint = "hash"
    cached = CachedBackend(backend, tmp_path)
    with ModelReranker(cached, "hashing") as reranker:
        reranker.predict(PAIRS)
    cached.close()
    with pytest.raises(RuntimeError, match=CLOSED):
        reranker.predict(PAIRS)
