"""Processes that tokenize beside this one, whose threads take turns at Python and cannot feed a fast GPU alone."""

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer


class TokenizingProcesses:
    """Tokenizes in processes of their own, each with a share of the texts.

    They are none of multiprocessing's, which would import the user's script anew. They end with this process.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer without truncation and padding.
    count : int
        How many processes.
    """

    def __init__(self, tokenizer: Tokenizer, count: int) -> None:
        self.count = count
        self._file = tokenizer.to_str()
        self._lock = threading.Lock()
        self._start()

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Give texts' tokens, without special ones: what `pyserini_rerank.scoring.pairs.Encoder.tokenize` gives.

        Raises
        ------
        RuntimeError
            A process has ended. Others take the place of all of them.
        """
        found: list[NDArray[np.int32]] = [np.empty(0, dtype=np.int32)] * len(texts)
        with self._lock:
            try:
                for first, process in enumerate(self._processes):
                    _send(process, texts[first :: self.count])
                for first, process in enumerate(self._processes):
                    assert process.stdout, "it is a pipe"
                    ids, lengths = pickle.load(process.stdout)
                    bounds = np.cumsum([0, *lengths]).tolist()
                    found[first :: self.count] = [ids[start:stop] for start, stop in pairwise(bounds)]
            except BaseException as error:  # or the next texts would be given what these are still owed
                self.close()
                self._start()
                if isinstance(error, (EOFError, OSError, pickle.UnpicklingError)):
                    raise RuntimeError(
                        "a process that tokenizes has ended: was it killed, or is there no memory left?"
                    ) from None
                raise
        return found

    def _start(self) -> None:
        # They take up the cores by themselves.
        environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(Path(__file__).parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=environment,
            )
            for _ in range(self.count)
        ]  # fmt: skip
        for process in self._processes:
            _send(process, self._file)

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.kill()
            with suppress(OSError):  # what it was still to be sent
                process.communicate()


def _send(process: "subprocess.Popen[bytes]", what: object) -> None:
    assert process.stdin, "it is a pipe"
    pickle.dump(what, process.stdin)
    process.stdin.flush()
