"""A peer to be timed in turn with: sentence-transformers, in a process of its own."""

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
    """sentence-transformers with the checkpoint of one of our backends, as a user gets it.

    It has the same device, threads and `max_length`, and gives raw logits. While it is not asked for anything, it
    waits for its input, and takes no time.

    Parameters
    ----------
    ours : Backend
        The backend whose checkpoint it loads.
    pairs : sequence of Pair
        What it scores.
    backend : str
        As its `CrossEncoder` has them.
    dtype : str, optional
        Of the torch backend, float32 by default; what the others compute in is theirs to choose.
    batch : int
        Pairs of a batch.
    python : path, optional
        The Python of another environment, which has what its backend needs; by default this one.

    Raises
    ------
    ValueError
        There is no such dtype or backend, or the checkpoint is one that it would read otherwise than its authors.
    RuntimeError
        It cannot load the checkpoint, or its process ends.
    """

    name = "sentence-transformers"

    def __init__(
        self, ours: Backend, pairs: Sequence[Pair], *, backend: str = "torch", dtype: str | None = None,
        batch: int = 32, python: str | os.PathLike[str] | None = None,
    ) -> None:  # fmt: skip
        if backend not in BACKENDS:
            raise ValueError(f"--against-backend {backend}: there are {', '.join(BACKENDS)}.")
        if dtype is None and backend == "torch":
            dtype = DTYPES[0]
        elif dtype is not None and (backend != "torch" or dtype not in DTYPES):
            raise ValueError(f"--against-dtype {dtype}: torch has {', '.join(DTYPES)}, the others choose their own.")
        if not isinstance(ours, CheckpointBackend):
            raise ValueError(
                "--against compares a checkpoint of the torch, onnx or openvino backend on one device: use one."
            )
        checkpoint = ours.checkpoint
        if checkpoint.row.body or checkpoint.row.head == "margin" or family_of(checkpoint):
            raise ValueError(f"{self.name} reads {checkpoint.name} otherwise than its authors do: compare another one.")
        self.python = os.fspath(python or sys.executable)
        self._trouble = TemporaryFile()  # noqa: SIM115  # it is closed with the process
        self._process = subprocess.Popen(
            [self.python, str(Path(__file__).parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._trouble, env={**os.environ, "OMP_NUM_THREADS": str(ours.threads)}, encoding="utf-8",
        )  # fmt: skip
        self._settings = {"backend": backend, "dtype": dtype, "batch": batch}
        asked = {"folder": str(checkpoint.folder.resolve()), "max_length": ours.max_length, "threads": ours.threads}
        device = str(getattr(ours, "device", "cpu"))
        try:
            self.versions = self._ask({**asked, **self._settings, "device": device, "pairs": pairs})["versions"]
        except BaseException:
            self.close()
            raise

    @property
    def facts(self) -> dict[str, Any]:
        """What a report says of it."""
        return {"name": self.name, **self._settings, "python": self.python, "versions": self.versions}

    def score(self) -> tuple[NDArray[np.float32], float]:
        """Score all pairs: float32 (n,), and the seconds that its `predict` took.

        Raises
        ------
        ValueError
            It gives several scores a pair.
        RuntimeError
            Its process has ended.
        """
        answer = self._ask({})
        scores = np.array(answer["scores"], dtype=np.float32)
        if scores.ndim > 1:
            raise ValueError(f"{self.name} gives {scores.shape[1]} scores a pair: compare a checkpoint with one label.")
        return scores, answer["seconds"]

    def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout, "both are pipes"
        try:
            print(json.dumps(what), file=self._process.stdin, flush=True)
            answer: dict[str, Any] = json.loads(self._process.stdout.readline() or "{}")
        except BrokenPipeError:
            answer = {}
        if not answer:
            self._trouble.seek(0)
            said = self._trouble.read().decode(errors="replace").strip().splitlines()[-1:]
            answer = {"error": f"it ended with exit code {self._process.wait()} {' '.join(said)}"}
        if "error" in answer:
            what_it_says = " ".join(answer["error"].split()).removesuffix(".")
            raise RuntimeError(
                f"{self.name} fails in {self.python} ({what_it_says}): install there what it lacks, or name the Python "
                "of another environment by --against-python."
            )
        return answer

    def close(self) -> None:
        """End its process."""
        self._process.kill()
        self._process.communicate()
        self._trouble.close()

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
