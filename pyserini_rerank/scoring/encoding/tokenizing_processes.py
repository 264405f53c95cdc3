"""Processes that tokenize beside this one, whose threads take turns at Python and cannot feed a fast GPU alone."""

import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from typing import IO, Any

import numpy as np
import orjson
from tokenizers import Tokenizer

from ...arguments import count_option
from .text_tokenizer import Ids, TextTokenizer

NONE: Ids = np.empty(0, dtype=np.int32)


class TokenizingProcesses:
    """Tokenizes in processes of their own, each with a share of the texts.

    They are none of multiprocessing's, which would run the user's script anew. They end with this object, and with this
    process.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer.
    count : int
        How many processes.

    Raises
    ------
    ValueError
        There is no such number of processes.
    """

    def __init__(self, tokenizer: Tokenizer, count: Any) -> None:
        self.count = count_option(count, "processes", "a number of processes, or leave it out")
        self._file = tokenizer.to_str().encode()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._processes, os.getpid())
        self._start()

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Give the ids of texts' tokens, as a `TextTokenizer` does.

        Raises
        ------
        RuntimeError
            A process has ended. Others take the place of all of them. Or they have been closed.
        """
        found = [NONE] * len(texts)
        with self._lock:
            if not self._processes:
                raise RuntimeError("the processes that tokenize are closed: load the reranker again.")
            try:
                for first, process in enumerate(self._processes):
                    assert process.stdin, "it is a pipe"
                    _send(process.stdin, orjson.dumps(texts[first :: self.count]))
                for first, process in enumerate(self._processes):
                    assert process.stdout, "it is a pipe"
                    bounds = np.frombuffer(_receive(process.stdout), dtype=np.int64).tolist()
                    ids = np.frombuffer(_receive(process.stdout), dtype=np.int32)
                    found[first :: self.count] = [ids[start:stop] for start, stop in pairwise(bounds)]
            except BaseException as error:  # or the next texts would be given what these are still owed
                _end(self._processes, os.getpid())
                self._start()
                if isinstance(error, (EOFError, OSError)):
                    raise RuntimeError(
                        "a process that tokenizes has ended: was it killed, or is there no memory left?"
                    ) from None
                raise
        return found

    def _start(self) -> None:
        # Each has one core; it finds this package where this process does.
        environment = {
            **os.environ,
            "TOKENIZERS_PARALLELISM": "false",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        command = [sys.executable, "-P", "-m", __name__]
        for _ in range(self.count):
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
            self._processes.append(process)
        for process in self._processes:
            assert process.stdin, "it is a pipe"
            _send(process.stdin, self._file)

    def close(self) -> None:
        """End the processes, once what is under way is done."""
        with self._lock:
            _end(self._processes, os.getpid())


def _end(processes: list[subprocess.Popen[bytes]], parent: int) -> None:
    """End processes; a fork of their parent leaves them alone."""
    while processes and os.getpid() == parent:
        process = processes.pop()
        process.kill()
        with suppress(OSError):  # what it was still to be sent
            process.communicate()


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """Read what was sent; raises EOFError where the other end is closed."""
    head = stream.read(8)
    data = stream.read(int.from_bytes(head, "little"))
    if len(head) < 8 or len(data) < int.from_bytes(head, "little"):
        raise EOFError
    return data


def serve() -> None:
    """Read a tokenizer's file, then lists of texts; answer each with the bounds of the texts' ids, and the ids."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's, which then ends this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    with suppress(EOFError, OSError):  # the other process is done, or dead
        tokenize = TextTokenizer(Tokenizer.from_str(_receive(sys.stdin.buffer).decode()))
        while True:
            ids = tokenize(orjson.loads(_receive(sys.stdin.buffer)))
            _send(answers, np.cumsum([0, *map(len, ids)], dtype=np.int64).tobytes())
            _send(answers, np.concatenate([NONE, *ids]).tobytes())


if __name__ == "__main__":
    serve()
