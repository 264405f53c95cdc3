"""A peer for comparison: sentence-transformers in a process of its own, timed in turn with a reranker."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scoring.architectures.registry import family_of
from ...scoring.backend import Backend, Pair
from ...scoring.backends.checkpoint_backend import CheckpointBackend

BACKENDS = ("torch", "onnx", "openvino")
DTYPES = ("float32", "bfloat16", "float16")


class Peer:
    """sentence-transformers with the checkpoint of a backend of this package, as a user gets it.

    The peer has the same device, threads and `max_length`, and gives raw logits. Between two calls its process waits
    for input, and takes no time.

    Parameters
    ----------
    compared : Backend
        The backend whose checkpoint the peer loads.
    pairs : sequence of Pair
        The pairs that the peer scores.
    backend : str
        The `backend` of its `CrossEncoder`.
    dtype : str, optional
        The dtype of the torch backend, float32 by default. The other backends choose theirs.
    batch : int
        The number of pairs in a batch.
    python : path, optional
        The Python of another environment, which has the packages that the peer needs. By default this Python.

    Raises
    ------
    ValueError
        There is no such dtype or backend, or the peer would read the checkpoint otherwise than its authors do.
    RuntimeError
        The peer cannot load the checkpoint, or its process ends.
    """

    name = "sentence-transformers"

    def __init__(
        self, compared: Backend, pairs: Sequence[Pair], *, backend: str = "torch", dtype: str | None = None,
        batch: int = 32, python: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        if backend not in BACKENDS:
            raise ValueError(f"--against-backend {backend}: choose one of {', '.join(BACKENDS)}.")
        if dtype is None and backend == "torch":
            dtype = DTYPES[0]
        elif dtype is not None and (backend != "torch" or dtype not in DTYPES):
            raise ValueError(f"--against-dtype {dtype}: torch has {', '.join(DTYPES)}, the others choose their own.")
        if not isinstance(compared, CheckpointBackend):
            raise ValueError(
                "--against compares a checkpoint of the torch, onnx or openvino backend on one device: use one."
            )
        checkpoint = compared.checkpoint
        if checkpoint.row.body or checkpoint.row.head == "margin" or family_of(checkpoint):
            raise ValueError(f"{self.name} reads {checkpoint.name} otherwise than its authors do: compare another one.")
        self.python = os.fspath(python or sys.executable)
        self._stderr = TemporaryFile()  # noqa: SIM115  # it is closed with the process
        self._process = subprocess.Popen(
            [self.python, str(Path(__file__).parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._stderr, env={**os.environ, "OMP_NUM_THREADS": str(compared.threads)}, encoding="utf-8",
        )  # fmt: skip
        self._settings = {"backend": backend, "dtype": dtype, "batch": batch}
        request = {
            "folder": str(checkpoint.folder.resolve()),
            "max_length": compared.max_length,
            "threads": compared.threads,
            "device": str(getattr(compared, "device", "cpu")),
            **self._settings,
            "pairs": pairs,
        }
        try:
            self.versions = self._ask(request)["versions"]
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> dict[str, Any]:
        """The peer's name, settings, Python and versions, for the report."""
        return {"name": self.name, **self._settings, "python": self.python, "versions": self.versions}

    def score(self) -> tuple[NDArray[np.float32], float]:
        """Score all pairs; give the scores, float32 (n,), and the seconds that the peer's `predict` took.

        Raises
        ------
        ValueError
            The peer gives several scores a pair.
        RuntimeError
            The peer's process has ended.
        """
        answer = self._ask({})
        scores = np.array(answer["scores"], dtype=np.float32)
        if scores.ndim > 1:
            raise ValueError(f"{self.name} gives {scores.shape[1]} scores a pair: compare a checkpoint with one label.")
        return scores, answer["seconds"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout, "both are pipes"
        try:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        except BrokenPipeError:
            answer = {}
        if not answer:
            self._stderr.seek(0)
            last_line = self._stderr.read().decode(errors="replace").strip().splitlines()[-1:]
            answer = {"error": f"it ended with exit code {self._process.wait()} {' '.join(last_line)}"}
        if "error" in answer:
            reason = " ".join(answer["error"].split()).removesuffix(".")
            raise RuntimeError(
                f"{self.name} fails in {self.python} ({reason}): install the package that it lacks there, or name the "
                "Python of another environment by --against-python."
            )
        return answer

    def close(self) -> None:
        """End the peer's process."""
        self._process.kill()
        self._process.communicate()
        self._stderr.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
