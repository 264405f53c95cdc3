"""The door to a backend: who may call it, and when it is closed."""

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
    """Close some things, all of them even where closing one raises; its error is raised then."""
    with ExitStack() as stack:
        for thing in things:
            stack.callback(thing.close)


class Door:
    """Lets calls in while a backend is open, in the process that loaded it.

    Parameters
    ----------
    backend : Backend
        Closed with the door.
    name : str
        What errors call it.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend: Backend | None = backend
        self._name = name
        self._process = os.getpid()
        self._inside: list[int] = []
        self._left = threading.Condition()
        _doors.add(self)

    @property
    def backend(self) -> Backend:
        """The backend; raises RuntimeError once it is closed, and in a fork.

        What a backend needs is not there in a fork (its threads), or is the other process's as well, which would
        be given the answers that are meant for this one (connections to devices, servers and files).
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
        """Keep it open for the time of a call; raises as `backend`."""
        _ = self.backend  # in a fork the condition may be held for ever
        with self._left:
            backend = self.backend
            self._inside.append(threading.get_ident())
        try:
            yield backend
        finally:
            with self._left:
                self._inside.remove(threading.get_ident())
                self._left.notify_all()

    def close(self) -> None:
        """Let nobody in any more, wait for the calls that are inside, and close the backend; once, and in its process.

        A signal's handler that interrupts a call does not wait for that.
        """
        if os.getpid() != self._process:
            return
        with self._left:
            backend, self._backend = self._backend, None
            self._left.wait_for(lambda: set(self._inside) <= {threading.get_ident()})
        if backend is not None:
            backend.close()


_doors: weakref.WeakSet[Door] = weakref.WeakSet()
#: What a fork has from its parent is kept to its end: to free a graph there would wait for threads that it has not.
_inherited: list[Backend | None] = []


def _after_fork() -> None:
    _inherited.extend(door._backend for door in _doors)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
