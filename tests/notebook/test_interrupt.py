"""What a cell that is interrupted leaves behind: nothing."""

import os
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import start_new_kernel
from notebooks import EXAMPLES, WIDGET

#: Seconds in which a kernel answers, on a machine where others work, too.
PATIENCE = 240
#: Seconds in which the kernel is done with sending what a cell has shown. An interrupt of the sending itself is lost in
#: zmq's code (`Exception ignored in: 'zmq.backend.cython._zmq.Frame.__dealloc__'`), whatever the cell executes.
SENDING = 0.1
#: Started in the cell that is interrupted, Java is what hears of it first.
SETUP = """
import tempfile
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from small_library import lucene_index

folder = tempfile.TemporaryDirectory()
searcher = LuceneSearcher(lucene_index(folder.name))
print("running", flush=True)
while True:
    searcher.search("folder", k=1)
"""
MODEL = """
reranker = pyserini_rerank.load("bundled")
searcher.set_reranker(reranker, depth=5)
queries, qids = [f"copy a folder {i}" for i in range(1000)], [str(i) for i in range(1000)]
texts = [f"passage {i}, which is about copying folders" for i in range(5000)]
"""
#: What a search and a score give, to the last bit, and whether a lock is still held.
RESULTS = """
found = searcher.batch_search(queries[:2], qids[:2], k=5)
print([(hit.docid, hit.score) for hits in found.values() for hit in hits], reranker.score("copy", texts[:5]).tolist())
"""


class Kernel:
    """A kernel that executes one cell after the other."""

    def __init__(self, manager: Any, client: Any) -> None:
        self.manager, self.client = manager, client

    def execute(self, code: str, interrupt_at: str | None = None) -> tuple[str, str]:
        """Execute a cell, and interrupt it when it has shown something.

        Parameters
        ----------
        interrupt_at : str, optional
            A text that the cell prints, or the type of something that it displays.

        Returns
        -------
        (str, str)
            What it printed, and its error.
        """
        cell = self.client.execute(code)
        printed, error, end = "", "", time.monotonic() + PATIENCE
        while True:
            assert self.manager.is_alive(), "the kernel has died"
            assert time.monotonic() < end, f"the kernel has not answered; it printed {printed!r}"
            try:
                message = self.client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            content = message["content"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return printed, error
            printed += content["text"] if message["msg_type"] == "stream" else ""
            error = f"{content['ename']}: {content['evalue']}" if message["msg_type"] == "error" else error
            if interrupt_at and (interrupt_at in printed or interrupt_at in content.get("data", {})):
                interrupt_at = None
                time.sleep(SENDING)
                self.manager.interrupt_kernel()


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(EXAMPLES), os.environ.get("PYTHONPATH", "")])}
    folder = str(tmp_path_factory.mktemp("kernel"))
    manager, client = start_new_kernel(startup_timeout=PATIENCE, kernel_name="python3", cwd=folder, env=environment)
    yield Kernel(manager, client)
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def expected(kernel: Kernel) -> str:
    """The results before anything but Java's first search was interrupted."""
    assert kernel.execute(SETUP, "running") == ("running\n", "KeyboardInterrupt: "), "Java has ended the kernel"
    assert kernel.execute(MODEL) == ("", "")
    printed, error = kernel.execute(RESULTS)
    assert error == "" and "shutil.copytree" in printed
    return printed


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        pytest.param("searcher.batch_search(queries, qids, k=5)", id="batch_search"),
        pytest.param("reranker.score('copy', texts)", id="score", marks=pytest.mark.stress),
    ],
)
def test_the_next_cell_has_the_same_results(kernel: Kernel, expected: str, call: str) -> None:
    """Interrupted at once, which is before the scoring begins, and in the midst of it: when its bar is there."""
    for code, moment in ((f"print('begun', flush=True)\n{call}", "begun"), (call, WIDGET)):
        _, error = kernel.execute(code, moment)
        assert error == "KeyboardInterrupt: "
        assert kernel.execute(RESULTS) == (expected, "")
    _, error = kernel.execute("assert not reranker._lock.locked()")
    assert error == ""
