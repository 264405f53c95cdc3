"""Several devices of one machine: a process for each, and the batches of a plan go to whichever is free."""

import inspect
import logging
import multiprocessing
import os
import queue
import signal
import warnings
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...caller import warn
from ..backend import Batch, DeviceLostWarning, Pair, Plan
from ..device import device_of
from .torch_backend import TorchBackend

log = logging.getLogger(__name__)


def torch_backend(
    name: str | os.PathLike[str], *, device: Any = None, **options: Any
) -> "TorchBackend | DevicesBackend":
    """Make the torch backend of one device or of several.

    Parameters
    ----------
    name : str or path
        See `pyserini_rerank.load`.
    device : str, torch.device, or a sequence of them, optional
        As for `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`, or several of them:
        ``["cuda:0", "cuda:1"]``, or ``"cuda:0,cuda:1"``.
    **options
        See `TorchBackend`.
    """
    devices = devices_of(device)
    if len(devices) == 1:
        return TorchBackend(name, device=devices[0], **options)
    return DevicesBackend(name, devices, options)


def devices_of(given: Any) -> list[Any]:
    """Give the devices that `device` names: None for the best there is.

    Raises
    ------
    ValueError
        It is an empty list.
    """
    if isinstance(given, str):
        return [name.strip() for name in given.split(",")]
    if not isinstance(given, Iterable):
        return [given]
    devices = list(given)
    if not devices:
        raise ValueError("device=[]: name a device, or several.")
    return devices


torch_backend.__signature__ = inspect.signature(TorchBackend)  # type: ignore[attr-defined]


class DevicesBackend:
    """The torch backend on several devices; each batch's scores have the same bits as on one of them.

    The first device is this process's, which makes the plans as well; each further one has a process of its own, that
    is spawned: a fork would not survive CUDA nor Java. So a script that loads it needs the usual
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    name : str or path
    devices : sequence of str or torch.device
        They have to be of one kind, so that a score does not depend on which of them was free.
    options : dict
        See `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`.

    Raises
    ------
    ValueError, TypeError
        There are no such devices, or different ones.
    RuntimeError
        A process ended before it had loaded the checkpoint.
    As `pyserini_rerank.load`.
    """

    known_scores = 0

    def __init__(self, name: str | os.PathLike[str], devices: Sequence[Any], options: dict[str, Any]) -> None:
        devices = [str(device_of(device)) for device in devices]
        # The plans are made here.
        of_others = {key: value for key, value in options.items() if key != "processes"}
        self.others = [_Other(name, device, of_others) for device in devices[1:]]
        try:
            self.backend = TorchBackend(name, device=devices[0], **options)
            for other in self.others:
                try:
                    description = other.receive()
                except EndedError as ended:
                    raise RuntimeError(f'{ended} In a script, load under `if __name__ == "__main__":`.') from None
                if description != self.description:
                    raise ValueError(
                        f"{other.device} is another device than {devices[0]} ({self.description['device']}), and a "
                        "score would depend on which of them was free: name equal ones."
                    )
        except BaseException:
            self._end()
            raise
        self.max_length, self.scale = self.backend.max_length, self.backend.scale
        self.workers = len(devices)
        self._free: queue.SimpleQueue[TorchBackend | _Other] = queue.SimpleQueue()  # in it are those that live
        self._free.put(self.backend)
        for other in self.others:
            self._free.put(other)

    @property
    def fingerprint(self) -> str:
        return self.backend.fingerprint

    @property
    def vocabulary(self) -> str | None:
        return self.backend.vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[bytes]:
        return self.backend.tokenize(texts)

    @property
    def description(self) -> dict[str, str]:
        return self.backend.description

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        return self.backend.plan(pairs)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch on a device that is free, or wait for one.

        Where the device's process ends meanwhile, another device scores the batch, and the lost one gets no further
        batch. This process's own device is never lost. Raises as `TorchBackend.run`.
        """
        while True:
            one = self._free.get()
            try:
                scores = one.run(batch)
            except EndedError as ended:
                log.debug("%s", ended)
                warn(f"{ended} The other devices go on without it.", DeviceLostWarning)
            except BaseException:
                self._free.put(one)
                raise
            else:
                self._free.put(one)
                return scores

    def close(self) -> None:
        """End the processes, and give the memory back."""
        self._end()
        self.backend.close()

    def _end(self) -> None:
        for other in self.others:
            other.end()


class EndedError(RuntimeError):
    """The process of a device has ended."""


class _Other:
    """A device with a process of its own, which ends with this object."""

    def __init__(self, name: str | os.PathLike[str], device: str, options: dict[str, Any]) -> None:
        from torch import get_num_threads

        self.device = device
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        work = (theirs, name, device, options, options.get("threads") or get_num_threads())
        self.process = context.Process(target=_serve, args=work, daemon=True, name=f"pyserini-rerank {device}")
        self.process.start()
        theirs.close()  # so that the process's end shows at this one
        self.end = weakref.finalize(self, _end, self.process, self._connection, os.getpid())
        self._owes = False

    def run(self, batch: Batch) -> NDArray[np.float32]:
        if self._owes:  # an answer that Ctrl-C has kept its caller from
            with suppress(Exception):
                self.receive()
        with suppress(OSError):  # it has died: receive() tells
            self._connection.send(batch)
        self._owes = True
        scores: NDArray[np.float32] = self.receive()
        return scores

    def receive(self) -> Any:
        """Receive an answer: the first is the description, each further one a batch's scores.

        Raises
        ------
        EndedError
            The process has died.
        Exception
            What it has raised.
        """
        try:
            answer, said = self._connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise EndedError(
                f"the process of {self.device} has ended (exit code {self.process.exitcode}): was it killed, or is "
                "there no memory left?"
            ) from None
        self._owes = False
        for warning in said:
            warn(warning)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _end(process: Any, connection: Connection, parent: int) -> None:
    """End a process; a fork of its parent leaves it alone."""
    if os.getpid() == parent:
        process.terminate()
        process.join()
        connection.close()


def _serve(
    connection: Connection, name: str | os.PathLike[str], device: str, options: dict[str, Any], threads: int
) -> None:
    """Load the checkpoint, say what the device is, and score batches until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the other process's, which then ends this one
    import torch

    torch.set_num_threads(threads)  # a score's last bit may depend on them
    with suppress(EOFError, OSError):  # the other end is closed, or its process has died
        try:
            backend = TorchBackend(name, device=device, **options)
        except Exception as error:
            connection.send((error, []))
            return
        connection.send((backend.description, []))
        while True:
            batch = connection.recv()
            with warnings.catch_warnings(record=True) as said:
                try:
                    answer: Any = backend.run(batch)
                except Exception as error:
                    answer = error
            connection.send((answer, [warning.message for warning in said]))
