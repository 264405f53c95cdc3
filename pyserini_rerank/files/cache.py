"""The user's cache: a folder of files that are kept between runs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .writing import held


def cache_folder() -> Path:
    """Name the cache's folder. ``XDG_CACHE_HOME`` counts if it is an absolute path."""
    xdg_folder = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(xdg_folder) if os.path.isabs(xdg_folder) else Path.home() / ".cache") / "pyserini-rerank"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Give a folder in the user's cache; `make` fills it on first use.

    The folder appears only when it is complete. Another process that asks for the same folder meanwhile waits for it.
    """
    cache = cache_folder()
    target = cache / name
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with held(target, target, wait=True):
            if not target.is_dir():
                with tempfile.TemporaryDirectory(dir=cache) as temporary:
                    unfinished = Path(temporary, "unfinished")
                    unfinished.mkdir()
                    make(unfinished)
                    try:
                        unfinished.rename(target)
                    except OSError:
                        if not target.is_dir():  # else another process, which does not take the lock, was first
                            raise
    return target
