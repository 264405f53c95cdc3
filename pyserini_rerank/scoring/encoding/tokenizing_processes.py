"""Processes that tokenize. The threads of one process take turns at running Python and cannot feed a fast GPU."""

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

#: The ids of no tokens.
NONE: Ids = np.empty(0, dtype=np.int32)


class TokenizingProcesses:
    """Tokenizes in several processes, each with a share of the texts.

    The processes are not started by multiprocessing, which would run the user's script again in each of them. They end
    with this object, and with this process.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer.
    count : int
        How many processes.

    Raises
    ------
    ValueError
        `count` is not a number of processes.
    """

    def __init__(self, tokenizer: Tokenizer, count: Any) -> None:
        self.count = count_option(count, "processes", "a number of processes, or leave it out")
        self._file = tokenizer.to_str().encode()
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[bytes]] = []
        weakref.finalize(self, _end, self._processes, os.getpid())
        self._start()

    def __call__(self, texts: Sequence[str]) -> list[Ids]:
        """Give the ids of each text's tokens, as a `TextTokenizer` does.

        Raises
        ------
        RuntimeError
            A process has ended, and all of them were replaced. Or the processes have been closed.
        """
        ids_of_texts = [NONE] * len(texts)
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
                    ids_of_texts[first :: self.count] = [ids[start:stop] for start, stop in pairwise(bounds)]
            except BaseException as error:  # an answer that was not read would be taken for that to the next texts
                _end(self._processes, os.getpid())
                self._start()
                if isinstance(error, (EOFError, OSError)):
                    raise RuntimeError(
                        "a process that tokenizes has ended: was it killed, or is there no memory left?"
                    ) from None
                raise
        return ids_of_texts

    def _start(self) -> None:
        # Each process uses one core, and finds this package on the same path as this process.
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
        """End the processes, once the call that is under way is done."""
        with self._lock:
            _end(self._processes, os.getpid())


def _end(processes: list[subprocess.Popen[bytes]], parent: int) -> None:
    """End processes; do nothing in a fork of their parent."""
    while processes and os.getpid() == parent:
        process = processes.pop()
        process.kill()
        with suppress(OSError):  # it has not read all that was sent
            process.communicate()


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(len(data).to_bytes(8, "little"))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """Read the data of one `_send`; raises EOFError if the other end is closed."""
    head = stream.read(8)
    data = stream.read(int.from_bytes(head, "little"))
    if len(head) < 8 or len(data) < int.from_bytes(head, "little"):
        raise EOFError
    return data


def serve() -> None:
    """Read a tokenizer's file, then lists of texts; answer each list with the bounds of the texts' ids, and the ids."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which then ends this process
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # text that libraries print does not get into the answers
    with suppress(EOFError, OSError):  # the parent has ended
        tokenize = TextTokenizer(Tokenizer.from_str(_receive(sys.stdin.buffer).decode()))
        while True:
            ids = tokenize(orjson.loads(_receive(sys.stdin.buffer)))
            _send(answers, np.cumsum([0, *map(len, ids)], dtype=np.int64).tobytes())
            _send(answers, np.concatenate([NONE, *ids]).tobytes())


if __name__ == "__main__":
    serve()
