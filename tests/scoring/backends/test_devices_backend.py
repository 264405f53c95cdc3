"""Several devices of one machine: the CPU twice stands for two GPUs, each with a process of its own."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import psutil
import pyserini_rerank
import pytest
import torch
from pyserini_rerank.scoring.backend import Batch, DeviceLostWarning
from pyserini_rerank.scoring.backends.devices_backend import DevicesBackend, _DeviceProcess
from pyserini_rerank.testing import BackendContract
from tiny_checkpoints import build

pytestmark = pytest.mark.slow

NAME = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
TWO = ["cpu", "cpu"]
PAIRS = [(f"how long is the life of a flea {i % 5}", "berlin " * (i % 30 + 1) + str(i)) for i in range(400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return build(NAME, tmp_path_factory.mktemp("devices"))


@pytest.fixture(scope="module")
def expected(folder):
    with pyserini_rerank.load(folder, device="cpu") as one:
        return one.predict(PAIRS)


@pytest.fixture(scope="module")
def two(folder):
    with pyserini_rerank.load(folder, device=TWO) as loaded:
        yield loaded


def children(what: str = "spawn_main") -> list[psutil.Process]:
    """The processes of further devices, or others; multiprocessing's own resource tracker is none."""
    return [child for child in psutil.Process().children() if what in " ".join(child.cmdline())]


def test_the_scores_are_the_same_bits(two, expected, monkeypatch):
    ran = []
    plain = type(two.backend.backend).run

    def run(self, batch):
        ran.append(batch)
        return plain(self, batch)

    monkeypatch.setattr(type(two.backend.backend), "run", run)
    assert two.predict(PAIRS).tobytes() == expected.tobytes()
    assert 0 < len(ran) < len(two.backend.plan(PAIRS).batches), "each of the two has scored some"


def test_several_threads_share_them(two, expected):
    found = {}
    threads = [threading.Thread(target=lambda i=i: found.update({i: two.predict(PAIRS)})) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i].tobytes() for i in range(4)] == [expected.tobytes()] * 4


def test_a_cache_over_them_and_closing(folder, expected, tmp_path):
    before = children()
    with pyserini_rerank.load(folder, device="cpu,cpu", cache=tmp_path) as several:
        assert several.predict(PAIRS).tobytes() == expected.tobytes()
        assert several.backend.known_scores == 0
        assert len(children()) == len(before) + 1
    assert children() == before
    with pyserini_rerank.load(folder, device="cpu", cache=tmp_path) as one:
        assert one.predict(PAIRS).tobytes() == expected.tobytes()
        assert one.backend.known_scores == len(PAIRS)


def test_what_the_other_process_raises_is_raised_here(two, expected):
    other = two.backend.device_processes[0]
    [batch] = two.backend.plan(PAIRS[:1]).batches
    with pytest.raises(AttributeError, match="has no attribute 'lengths'"):
        other.run(Batch(batch.positions, ["no pair"]))
    assert two.predict(PAIRS).tobytes() == expected.tobytes(), "and it goes on"


@pytest.mark.parametrize(
    ("name", "device", "error", "said"),
    [
        ("nowhere", TWO, OSError, "nowhere"),
        (NAME, [], ValueError, r"device=\[\]: name a device, or several"),
        (NAME, ["cpu", "cuda:99"], ValueError, "device='cuda:99' is not there"),
    ],
)
def test_what_cannot_be_loaded_leaves_no_process(folder, name, device, error, said):
    before = children()
    with pytest.raises(error, match=said):
        pyserini_rerank.load(folder.parents[1] / name, device=device)
    assert children() == before


@pytest.mark.parametrize("moment", ["meanwhile", pytest.param("before", marks=pytest.mark.stress)])
def test_a_process_that_is_killed_is_replaced(folder, expected, moment):
    pairs, before = PAIRS[:100], children()
    with pyserini_rerank.load(folder, device=["cpu", torch.device("cpu")], batch_tokens=300) as loaded:
        plain = loaded.predict(pairs)
        [other] = loaded.backend.device_processes
        if moment == "meanwhile":  # it has a batch, and gives no answer
            os.kill(other.process.pid, signal.SIGSTOP)
            threading.Timer(0.5, os.kill, (other.process.pid, signal.SIGKILL)).start()
        else:
            os.kill(other.process.pid, signal.SIGKILL)
        said = r"the process of cpu has ended \(exit code -9\): was it killed, .* The other devices go on without it"
        with pytest.warns(DeviceLostWarning, match=said):
            assert loaded.predict(pairs).tobytes() == plain.tobytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert loaded.predict(pairs).tobytes() == plain.tobytes()
            deadline = time.monotonic() + 60
            while loaded.backend._free.qsize() < 2:
                assert time.monotonic() < deadline, "no new process has loaded"
                time.sleep(0.1)
            [new] = loaded.backend.device_processes
            assert new.process.pid != other.process.pid and new.process.is_alive()
            [batch] = loaded.backend.plan(pairs[:3]).batches
            assert new.run(batch).tobytes() == loaded.backend.backend.run(batch).tobytes()
            assert loaded.predict(pairs).tobytes() == plain.tobytes()
    assert children() == before
    with pytest.raises(RuntimeError, match="is closed: load it again"):
        loaded.predict(pairs)
    np.testing.assert_allclose(plain, expected[:100], rtol=0, atol=1e-4)


def test_an_answer_that_nobody_waited_for_is_not_the_next_ones(two):
    """As Ctrl-C leaves it: the batch was sent, and the answer not received."""
    other, plain = two.backend.device_processes[0], _DeviceProcess.receive
    first, second = two.backend.plan(PAIRS).batches[:2]

    def interrupted(self):
        raise KeyboardInterrupt

    _DeviceProcess.receive = interrupted
    try:
        with pytest.raises(KeyboardInterrupt):
            other.run(first)
    finally:
        _DeviceProcess.receive = plain
    assert other.run(second).tobytes() == two.backend.backend.run(second).tobytes()


@pytest.mark.stress
def test_what_is_dropped_leaves_no_process(folder):
    before = children()
    loaded = pyserini_rerank.load(folder, device=["cpu", "cpu"])
    assert len(children()) == len(before) + 1
    del loaded
    gc.collect()
    assert children() == before


#: Both processes have too little memory: spawned ones import the script as well.
SCRIPT = """
import sys
import pyserini_rerank, torch
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend

plain = TorchBackend._forward

def forward(self, pairs):
    if len(pairs) > 4:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return plain(self, pairs)

TorchBackend._forward = forward
if __name__ == "__main__":
    reranker = pyserini_rerank.load(sys.argv[1], device=["cpu", "cpu"])
    other = reranker.backend.device_processes[0]
    [batch] = reranker.backend.plan([("flea", f"berlin {i}") for i in range(9)]).batches
    other.run(batch)
    print(other.process.pid, flush=True)
    while True:
        reranker.predict([("flea", f"berlin {i}") for i in range(2000)])
"""


@pytest.mark.stress
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_warning_reaches_this_process_and_its_end_is_the_others_too(folder, tmp_path, sent):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), str(folder)]
    # A group of its own, which Ctrl-C goes to as a terminal sends it.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    other = psutil.Process(int(process.stdout.readline()))
    assert len(psutil.Process(process.pid).children()) >= 1
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)
    else:
        process.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == -sent
    assert "OutOfMemoryWarning: cpu had no memory for" in errors
    assert errors.count("Traceback") == (sent == signal.SIGINT), "the other one says nothing of its own"
    psutil.wait_procs([other], timeout=30)
    assert not other.is_running()


class Shared:
    """The two devices, which stay open for the next test."""

    def __init__(self, backend):
        self._backend = backend

    def __getattr__(self, name):
        return getattr(self._backend, name)

    def close(self):
        pass


class TestDevices(BackendContract):
    @pytest.fixture(autouse=True)
    def shared(self, two):
        self.backend = two.backend

    def make(self):
        return Shared(self.backend)


@pytest.mark.stress
class TestDevicesMadeAnew(BackendContract):
    @pytest.fixture(autouse=True)
    def checkpoint(self, folder):
        self.folder = folder

    def make(self):
        return DevicesBackend(self.folder, TWO, {"batch_tokens": 600})
