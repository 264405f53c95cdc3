"""Prefetching: threads make the next items while the caller uses the last one."""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice

from .call import Call, current_call, during
from .caller import KeptWarning, kept_warnings, warn


def prefetched[A, B](make: Callable[[A], B], inputs: Iterable[A], *, threads: int = 1, most: int = 1) -> Iterator[B]:
    """Call `make` on each input, in threads, and give the results in order.

    The next results are made while the caller uses the last one. A single input is processed in the caller's own
    thread. An error is raised when the caller asks for the result that failed. If the caller stops early, the calls
    that are running are waited for, and no other call begins.

    Parameters
    ----------
    make : callable
    inputs : iterable
    threads : int
        How many calls run at once.
    most : int
        How many results are being made, or wait, while the caller uses one.
    """
    items = iter(inputs)
    first = list(islice(items, 2))
    if len(first) < 2:
        yield from map(make, first)
        return
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    try:
        waiting, call = chain(first, items), current_call()
        submitted = deque(pool.submit(_make, make, item, call) for item in islice(waiting, most))
        while submitted:
            submitted.extend(pool.submit(_make, make, item, call) for item in islice(waiting, 1))
            result, kept = submitted.popleft().result()
            for warning in kept:
                warn(*warning)
            yield result
    finally:
        pool.shutdown(cancel_futures=True)


def _make[A, B](make: Callable[[A], B], item: A, call: Call | None) -> tuple[B, list[KeptWarning]]:
    """Make one result, and keep its warnings. Then detach the thread from Java, which crashes if it ends attached."""
    try:
        with kept_warnings() as kept, during(call):
            return make(item), kept
    finally:
        if "jnius" in sys.modules:
            sys.modules["jnius"].detach()
