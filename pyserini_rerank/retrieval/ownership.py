"""Who wrote a searcher: Java's lock is held while Pyserini's own searchers search, and while no others do.

Other searchers may wait for threads of theirs, and those for the lock: a searcher that reranks would wait for ever.
"""

import copy
import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .jvm import JAVA_LOCK

#: What a searcher finds with.
METHODS = ("search", "batch_search")
#: Where Pyserini's hybrid and fusion searchers keep the searchers that they search with.
PARTS = ("dense_searcher", "sparse_searcher", "searchers")


def is_a(searcher: Any, name: str) -> bool:
    """Is a searcher of Pyserini's class of that name? Asked without importing Pyserini."""
    return any(kind.__name__ == name and kind.__module__.startswith("pyserini.") for kind in type(searcher).__mro__)


def guard(searcher: Any) -> AbstractContextManager[Any]:
    """Hold Java's lock over a call of a searcher that is Pyserini's own."""
    return JAVA_LOCK if is_pyserinis(searcher) else nullcontext()


def is_pyserinis(searcher: Any) -> bool:
    """Is a searcher Pyserini's own, with all the searchers that it searches with, and without a reranker?"""
    kinds = type(searcher).__mro__
    foreign = [kind for kind in kinds[:-1] if not kind.__module__.startswith("pyserini.")]
    methods = [name for kind in foreign for name, value in vars(kind).items() if callable(value) and name[:2] != "__"]
    patched = [name for name, value in attributes_of(searcher).items() if callable(value) and hasattr(kinds[0], name)]
    return len(foreign) < len(kinds) - 1 and not methods and not patched and all(map(is_pyserinis, _parts(searcher)))


def _parts(searcher: Any) -> list[Any]:
    """Give the searchers that a composite searcher searches with."""
    values = [attributes_of(searcher).get(name, ()) for name in PARTS]
    return [part for value in values for part in (value if isinstance(value, list | tuple) else [value])]


def guarded_within(searcher: Any) -> Any:
    """Have those parts of a composite searcher that are Pyserini's own hold Java's lock one by one, if the searcher as
    a whole is not Pyserini's own."""
    if is_pyserinis(searcher) or not _parts(searcher):
        return searcher
    guarded = copy.copy(searcher)
    for name in PARTS:
        value = attributes_of(searcher).get(name)
        if value is not None:
            setattr(guarded, name, list(map(_guarded, value)) if isinstance(value, list | tuple) else _guarded(value))
    return guarded


def _guarded(searcher: Any) -> Any:
    return _Guarded(searcher) if is_pyserinis(searcher) else guarded_within(searcher)


def attributes_of(searcher: Any) -> dict[str, Any]:
    """Give what is set on a searcher; one with `__slots__`, or that is a class, has nothing that could be."""
    held = getattr(searcher, "__dict__", {})
    return held if isinstance(held, dict) else {}


class _Guarded:
    """Stands in for a part of a composite searcher: each of its searches holds Java's lock."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """What isinstance() sees in the code of the composite."""
        return type(self._searcher)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._searcher, name)
        if name not in METHODS:
            return value

        @functools.wraps(value)
        def search(*args: Any, **kwargs: Any) -> Any:
            with JAVA_LOCK:
                return value(*args, **kwargs)

        return search
