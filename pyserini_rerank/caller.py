"""Warnings that point at a line of the caller's own code, wherever in the package they come from."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

PACKAGE = str(Path(__file__).parent) + os.sep
#: Without its end: `skip_file_prefixes` does not skip a file whose whole name is a prefix.
CONTEXTLIB = contextlib.__file__.removesuffix("py")
#: The arguments of `warn`.
KeptWarning = tuple[str | Warning, type[Warning] | None]

_kept: ContextVar[list[KeptWarning] | None] = ContextVar("kept", default=None)


def warn(message: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn at the innermost line that is neither this package's nor Pyserini's."""
    kept = _kept.get()
    if kept is not None:
        kept.append((message, category))
        return
    pyserini = sys.modules.get("pyserini")
    pyserini_folders = [f"{folder}{os.sep}" for folder in pyserini.__path__] if pyserini else []
    warnings.warn(message, category, skip_file_prefixes=(PACKAGE, CONTEXTLIB, *pyserini_folders))


@contextlib.contextmanager
def kept_warnings() -> Iterator[list[KeptWarning]]:
    """Collect the warnings of this thread instead of issuing them.

    A thread that the package has started has no line of the caller's code. The thread that waits for it issues them.
    """
    kept: list[KeptWarning] = []
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)
