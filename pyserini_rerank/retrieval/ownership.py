"""Tells Pyserini's own searchers from others: the lock of Java is held only while Pyserini's own ones search.

Another searcher may wait for a thread that it has started, and that thread may wait for the lock. If the lock were held
around its search, both would wait for ever.
"""

import copy
import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from .jvm import JAVA_LOCK

#: A searcher's methods of search.
METHODS = ("search", "batch_search")
#: Where Pyserini's hybrid and fusion searchers keep the searchers that they search with.
PARTS = ("dense_searcher", "sparse_searcher", "searchers")


def is_a(searcher: Any, name: str) -> bool:
    """Tell, without importing Pyserini, whether a searcher is of Pyserini's class of that name."""
    return any(kind.__name__ == name and kind.__module__.startswith("pyserini.") for kind in type(searcher).__mro__)


def guard(searcher: Any) -> AbstractContextManager[Any]:
    """Hold Java's lock during a call, if the searcher is Pyserini's own."""
    return JAVA_LOCK if is_pyserinis(searcher) else nullcontext()


def is_pyserinis(searcher: Any) -> bool:
    """Tell whether a searcher, with all its parts, has no methods but Pyserini's: none of a user's, and no reranker."""
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
    """Make a composite searcher that is not Pyserini's own hold Java's lock while its parts that are Pyserini's search.

    The result is a copy; a searcher without such parts comes back as it is.
    """
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
    """Give the attributes that are set on a searcher itself; a searcher with `__slots__`, or a class, has none."""
    attributes = getattr(searcher, "__dict__", {})
    return attributes if isinstance(attributes, dict) else {}


class _Guarded:
    """A stand-in for a part of a composite searcher; each of its searches holds Java's lock."""

    def __init__(self, searcher: Any) -> None:
        self._searcher = searcher

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """The class that isinstance() sees in the composite searcher's code."""
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
