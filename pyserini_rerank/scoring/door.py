"""The door to a backend: it lets calls in until it is closed, and only in the process that loaded the backend."""

import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Protocol

from .backend import Backend


class Closable(Protocol):
    """Something that is to be closed."""

    def close(self) -> None: ...


def close_all(things: Iterable[Closable]) -> None:
    """Close some things, the last one first: all of them, even where closing one raises; its error is raised then."""
    with ExitStack() as stack:
        for thing in things:
            stack.callback(thing.close)


class Door:
    """Lets calls of a backend in until it is closed, and only in the process that loaded the backend.

    Parameters
    ----------
    backend : Backend
        It is closed with the door.
    name : str
        The reranker's name in error messages.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend: Backend | None = backend
        self._name = name
        self._process = os.getpid()
        self._calling_threads: list[int] = []
        self._call_ended = threading.Condition()
        _doors.add(self)

    @property
    def backend(self) -> Backend:
        """The backend; raises RuntimeError once it is closed, and in a fork.

        A fork has none of the backend's threads. It shares the connections to devices, servers and files with its
        parent, so that one of the two could read the answers that are meant for the other.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                f"this process was forked from the one that loaded the reranker {self._name}: load it here, or start "
                "processes by multiprocessing.get_context('spawn')."
            )
        backend = self._backend
        if backend is None:
            raise RuntimeError(f"the reranker {self._name} is closed: load it again.")
        return backend

    @contextmanager
    def entered(self) -> Iterator[Backend]:
        """Keep the backend open for the time of a call; raises as `backend`."""
        _ = self.backend  # checked first: in a fork another thread may hold the condition for ever
        with self._call_ended:
            backend = self.backend
            self._calling_threads.append(threading.get_ident())
        try:
            yield backend
        finally:
            with self._call_ended:
                self._calling_threads.remove(threading.get_ident())
                self._call_ended.notify_all()

    def close(self) -> None:
        """Refuse further calls, wait for the calls that are under way, and close the backend.

        A second call does nothing, nor does one in another process. A signal handler that has interrupted a call does
        not wait for that call.
        """
        if os.getpid() != self._process:
            return
        with self._call_ended:
            backend, self._backend = self._backend, None
            self._call_ended.wait_for(lambda: set(self._calling_threads) <= {threading.get_ident()})
        if backend is not None:
            backend.close()


_doors: weakref.WeakSet[Door] = weakref.WeakSet()
#: A fork keeps its parent's backends as long as it lives: to free a graph would wait for threads that a fork lacks.
_inherited: list[Backend | None] = []


def _after_fork() -> None:
    _inherited.extend(door._backend for door in _doors)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
