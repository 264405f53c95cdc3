"""Several devices of one machine: each has a process, and a batch goes to a device that is free."""

import inspect
import logging
import multiprocessing
import os
import queue
import signal
import threading
import warnings
import weakref
from collections.abc import Iterable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...caller import warn
from ...passages import Tokens
from ..backend import Batch, DeviceLostWarning, Pair, Plan
from ..device import device_of
from .torch_backend import TorchBackend

log = logging.getLogger(__name__)

#: How often a process that has died is replaced: one that dies again and again is left out.
REPLACEMENTS = 3


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


def devices_of(device: Any) -> list[Any]:
    """List the devices that the option `device` names; a None in the list is the best device that is there.

    Raises
    ------
    ValueError
        The option is an empty list.
    """
    if isinstance(device, str):
        return [name.strip() for name in device.split(",")]
    if not isinstance(device, Iterable):
        return [device]
    devices = list(device)
    if not devices:
        raise ValueError("device=[]: name a device, or several.")
    return devices


torch_backend.__signature__ = inspect.signature(TorchBackend)  # type: ignore[attr-defined]


class DevicesBackend:
    """The torch backend on several devices; the scores of a batch have the same bits as on one device.

    This process makes the plans and computes on the first device. Each further device has a process of its own, which
    is spawned, since neither CUDA nor Java survives a fork. So a script that loads this backend needs the usual
    ``if __name__ == "__main__":``.

    Parameters
    ----------
    name : str or path
    devices : sequence of str or torch.device
        They have to be equal, so that a score does not depend on which of them was free.
    options : dict
        See `pyserini_rerank.scoring.backends.torch_backend.TorchBackend`.

    Raises
    ------
    ValueError, TypeError
        A device is not there, or the devices are not equal.
    RuntimeError
        A process ended before it had loaded the checkpoint.
    As `pyserini_rerank.load`.
    """

    known_scores = 0

    def __init__(self, name: str | os.PathLike[str], devices: Sequence[Any], options: dict[str, Any]) -> None:
        devices = [str(device_of(device)) for device in devices]
        self._name, self._options = name, options
        #: How many processes may take the place of one that has died.
        self._replacements = REPLACEMENTS
        self._is_closed = False
        # The further devices make no plans.
        self.device_processes = [_DeviceProcess(name, device, options) for device in devices[1:]]
        try:
            self.backend = TorchBackend(name, device=devices[0], **options)
            for process in self.device_processes:
                try:
                    description = process.receive()
                except EndedError as ended:
                    raise RuntimeError(f'{ended} In a script, load under `if __name__ == "__main__":`.') from None
                if description != self.description:
                    raise ValueError(
                        f"{process.device} is another device than {devices[0]} ({self.description['device']}), and a "
                        "score would depend on which of them was free: name equal ones."
                    )
        except BaseException:
            self._end()
            raise
        self.max_length, self.scale, self.budget = self.backend.max_length, self.backend.scale, self.backend.budget
        self.workers = len(devices)
        self._free: queue.SimpleQueue[TorchBackend | _DeviceProcess] = (
            queue.SimpleQueue()
        )  # the devices that are idle and not lost
        self._free.put(self.backend)
        for process in self.device_processes:
            self._free.put(process)

    @property
    def fingerprint(self) -> str:
        return self.backend.fingerprint

    @property
    def vocabulary(self) -> str | None:
        return self.backend.vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self.backend.tokenize(texts)

    @property
    def description(self) -> dict[str, str]:
        return self.backend.description

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        return self.backend.plan(pairs)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        """Score a batch on a free device; wait until one is free.

        If the device's process ends meanwhile, another device scores the batch, and a new process takes its place. The
        device of this process is never lost. Raises as `TorchBackend.run`.
        """
        while True:
            device = self._free.get()
            try:
                scores = device.run(batch)
            except EndedError as ended:
                log.debug("%s", ended)
                warn(f"{ended} The other devices go on without it.", DeviceLostWarning)
                if self._replacements:
                    self._replacements -= 1
                    threading.Thread(target=self._replace, args=[device], daemon=True).start()
            except BaseException:
                self._free.put(device)
                raise
            else:
                self._free.put(device)
                return scores

    def _replace(self, lost: "_DeviceProcess") -> None:
        """Start a new process for a device whose process has ended; the device is free once it has loaded."""
        process = _DeviceProcess(self._name, lost.device, self._options)
        self.device_processes = [process if other is lost else other for other in self.device_processes]
        if self._is_closed:
            process.end()
            return
        try:
            process.receive()
        except Exception as error:
            log.warning("%s stays lost: %s", lost.device, error)
        else:
            self._free.put(process)

    def close(self) -> None:
        """End the processes, and give the memory back."""
        self._is_closed = True
        self._end()
        self.backend.close()

    def _end(self) -> None:
        for process in self.device_processes:
            process.end()


class EndedError(RuntimeError):
    """The process of a device has ended."""


class _DeviceProcess:
    """A device with its own process, which ends with this object."""

    def __init__(self, name: str | os.PathLike[str], device: str, options: dict[str, Any]) -> None:
        from torch import get_num_threads

        self.device = device
        context = multiprocessing.get_context("spawn")
        self._connection, far_end = context.Pipe()
        arguments = (far_end, name, device, options, options.get("threads") or get_num_threads())
        self.process = context.Process(target=_serve, args=arguments, daemon=True, name=f"pyserini-rerank {device}")
        self.process.start()
        far_end.close()  # so that this end notices when the process ends
        self.end = weakref.finalize(self, _end, self.process, self._connection, os.getpid())
        self._answer_is_due = False

    def run(self, batch: Batch) -> NDArray[np.float32]:
        if self._answer_is_due:  # Ctrl-C interrupted the call before, which has left its answer unread
            with suppress(Exception):
                self.receive()
        with suppress(OSError):  # the process has died, which receive() reports
            self._connection.send(batch)
        self._answer_is_due = True
        scores: NDArray[np.float32] = self.receive()
        return scores

    def receive(self) -> Any:
        """Receive an answer: the first is the description, each further one a batch's scores.

        Raises
        ------
        EndedError
            The process has died.
        Exception
            The exception that the process has raised.
        """
        try:
            answer, caught = self._connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise EndedError(
                f"the process of {self.device} has ended (exit code {self.process.exitcode}): was it killed, or is "
                "there no memory left?"
            ) from None
        self._answer_is_due = False
        for warning in caught:
            warn(warning)
        if isinstance(answer, Exception):
            raise answer
        return answer


def _end(process: Any, connection: Connection, parent: int) -> None:
    """End a process; do nothing in a fork of its parent."""
    if os.getpid() == parent:
        process.terminate()
        process.join()
        connection.close()


def _serve(
    connection: Connection, name: str | os.PathLike[str], device: str, options: dict[str, Any], threads: int
) -> None:
    """Load the checkpoint, send the description of the device, and score batches until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the parent, which then ends this process
    import torch

    torch.set_num_threads(threads)  # the last bit of a score may depend on it
    with suppress(EOFError, OSError):  # the parent has closed its end, or has died
        try:
            backend = TorchBackend(name, device=device, **options)
        except Exception as error:
            connection.send((error, []))
            return
        connection.send((backend.description, []))
        while True:
            batch = connection.recv()
            with warnings.catch_warnings(record=True) as caught:
                try:
                    answer: Any = backend.run(batch)
                except Exception as error:
                    answer = error
            connection.send((answer, [warning.message for warning in caught]))
