"""The folder of what is kept for this user between runs."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from .writing import held


def cache_folder() -> Path:
    """Name the folder of what is kept for this user. XDG's variable counts where it names an absolute path."""
    named = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(named) if os.path.isabs(named) else Path.home() / ".cache") / "pyserini-rerank"


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Give a folder of the user's cache; `make` fills it on first use, and nobody sees it half-made.

    Another process that wants the same one meanwhile waits for it.
    """
    cache = cache_folder()
    target = cache / name
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with held(target, target, wait=True):
            if not target.is_dir():
                with tempfile.TemporaryDirectory(dir=cache) as temporary:
                    made = Path(temporary, "made")
                    made.mkdir()
                    make(made)
                    try:
                        made.rename(target)
                    except OSError:
                        if not target.is_dir():  # else another process, which knows of no lock, was first
                            raise
    return target
