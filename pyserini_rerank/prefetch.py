"""Work that is done side by side: the next things are made while the one before them is used."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from .caller import Said, kept_warnings, warn


def prefetched[A, B](make: Callable[[A], B], given: Iterable[A], *, threads: int = 1, most: int = 1) -> Iterator[B]:
    """Make something of each item, in order, in threads while the caller is busy with what came before it.

    A single item is made in the caller's own thread. What making raises is raised here, where the result would have
    come; a caller that stops waits for those that are being made, and no other is begun.

    Parameters
    ----------
    threads : int
        How many are made at once.
    most : int
        How many are being made or wait while the caller has one: making runs no further ahead.
    """
    items = iter(given)
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(make, first)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        begun = chain(first, items)
        coming = deque(pool.submit(_make, make, item) for item in islice(begun, most))
        while coming:
            coming.extend(pool.submit(_make, make, item) for item in islice(begun, 1))
            result, kept = coming.popleft().result()
            for said in kept:
                warn(*said)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _make[A, B](make: Callable[[A], B], item: A) -> tuple[B, list[Said]]:
    """Make one, with its warnings, and let Java go of this thread: it crashes over threads that end attached."""
    try:
        with kept_warnings() as kept:
            return make(item), kept
    finally:
        if "jnius" in sys.modules:
            sys.modules["jnius"].detach()
