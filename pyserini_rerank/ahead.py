"""Work that is done side by side: the next thing is made while the one before it is used."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice


def ahead[A, B](make: Callable[[A], B], some: Iterable[A]) -> Iterator[B]:
    """Make something of each item, in order, in a thread while the caller is busy with what came before it.

    One result waits at most, so that making runs no further ahead. The first is made in the caller's own thread, so
    that a single item takes no other. What making raises is raised here, where the result would have come; a caller
    that stops waits for the one that is being made, and no other is begun.
    """
    items = iter(some)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        made = [make(item) for item in islice(items, 1)]
        for item in items:
            coming = thread.submit(_make, make, item)
            yield made.pop()
            made.append(coming.result())
        yield from made


def _make[A, B](make: Callable[[A], B], item: A) -> B:
    """Make one, and let Java go of this thread: it crashes over threads that end while they are attached."""
    try:
        return make(item)
    finally:
        if "jnius" in sys.modules:
            sys.modules["jnius"].detach()
