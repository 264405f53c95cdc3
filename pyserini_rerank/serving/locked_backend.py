"""Pyserini's backend, behind Java's lock: its servers search from several threads at once, which pyjnius does not
survive (`JAVA_LOCK` in `retrieval/jvm.py` says why)."""

import functools
import inspect
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..retrieval.jvm import JAVA_LOCK

if TYPE_CHECKING:
    from pyserini.server.backend import SharedSearchBackend


def lock_backend(backend: "SharedSearchBackend") -> None:
    """Have all work in Java of a backend wait for its turn; a second call changes nothing.

    An index that Pyserini downloads is downloaded before its turn, so that the others search meanwhile.
    """
    if "search" in vars(backend):
        return
    for name in ("search", "get_document"):
        setattr(backend, name, _download_first(backend, getattr(backend, name)))
    backend.close_all = in_turn(backend.close_all)
    # A search of ten shards has ten threads, and the thread that has the turn waits for them.
    backend._search_single_shard = in_turn(backend._search_single_shard, threading.RLock())


def download(backend: "SharedSearchBackend", index: str) -> None:
    """Download a prebuilt index that is not open yet, and the index of its texts.

    Raises
    ------
    pyserini.server.errors.IndexNotAvailableError
        It cannot be downloaded.
    """
    from pyserini.server.errors import IndexNotAvailableError
    from pyserini.server.utils import INDEX_TYPE, lookup_index_type

    if backend._no_prebuilt_indexes or index in backend.indexes or not (kind := lookup_index_type(index)):
        return
    with backend._lock_for_index_name(index):
        if backend.resolve_index_dir(index) is None:
            raise IndexNotAvailableError(f"Unable to download the index {index}; the server's log may say why.")
    texts = INDEX_TYPE[kind][index].get("texts")
    if texts and texts != index:
        download(backend, texts)


def in_turn[**P, R](function: Callable[P, R], lock: Any = JAVA_LOCK) -> Callable[P, R]:
    """Wrap a function that works in Java: it holds a lock, and leaves no thread attached to Java."""

    @functools.wraps(function)
    def locked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with lock:
                return function(*args, **kwargs)
        finally:
            detach()

    return locked


def detach() -> None:
    """Detach this thread from Java, which crashes if a thread ends attached; the main thread stays attached."""
    if threading.current_thread() is not threading.main_thread():
        import jnius

        jnius.detach()


def _download_first(backend: "SharedSearchBackend", method: Callable[..., Any]) -> Callable[..., Any]:
    signature, locked = inspect.signature(method), in_turn(method)

    @functools.wraps(method)
    def search(*args: Any, **kwargs: Any) -> Any:
        download(backend, signature.bind(*args, **kwargs).arguments["index_name"])
        return locked(*args, **kwargs)

    return search
