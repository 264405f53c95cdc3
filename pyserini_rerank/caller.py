"""Warnings that point at the line of the caller's own code, whatever they come from."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

PACKAGE = str(Path(__file__).parent) + os.sep
#: Python takes the whole name of a file for no prefix of it.
CONTEXTLIB = contextlib.__file__.removesuffix("py")
Said = tuple[str | Warning, type[Warning] | None]

_kept: ContextVar[list[Said] | None] = ContextVar("kept", default=None)


def warn(said: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn at the innermost line that is neither this package's nor Pyserini's."""
    kept = _kept.get()
    if kept is not None:
        kept.append((said, category))
        return
    pyserini = sys.modules.get("pyserini")
    pyserinis = [f"{folder}{os.sep}" for folder in pyserini.__path__] if pyserini else []
    warnings.warn(said, category, skip_file_prefixes=(PACKAGE, CONTEXTLIB, *pyserinis))


@contextlib.contextmanager
def kept_warnings() -> Iterator[list[Said]]:
    """Keep the warnings of a thread of the package, which has no line of the caller's, for the thread that has."""
    kept: list[Said] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)
