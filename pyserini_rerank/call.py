"""A call of a service's client: its work can be dropped, and its figures are kept for the log."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Call:
    """One call, which may be answered by several threads."""

    pairs: int = 0
    tokens: int = 0
    """The tokens that the model reads; 0 for the pairs of a backend that does not know them."""
    cut: int = 0
    """Pairs whose passage was cut."""
    tokenized: float = 0.0
    """Seconds until its pairs were tokenized."""
    waited: float = 0.0
    """Seconds in which pairs waited for a batch."""
    scored: float = 0.0
    """Seconds in which batches with pairs of this call were scored."""
    is_dropped: bool = False
    _at_drop: list[Callable[[], object]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def drop(self) -> None:
        """Drop the work that is waiting; work that begins later raises CancelledError."""
        with self._lock:
            self.is_dropped = True
            at_drop, self._at_drop = self._at_drop, []
        for drop in at_drop:
            drop()

    def at_drop(self, drop: Callable[[], object]) -> None:
        """Have some work dropped along with the call; raises CancelledError if the call is dropped already."""
        with self._lock:
            if self.is_dropped:
                raise CancelledError("the call was dropped.")
            self._at_drop.append(drop)


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current_call() -> Call | None:
    """Give the call that this thread works for, if there is one."""
    return _current.get()


@contextmanager
def during(call: Call | None) -> Iterator[None]:
    """Let this thread work for a call."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
