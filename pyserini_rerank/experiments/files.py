"""Opening what experiments are made of: plain or gzipped, and named by a path."""

import gzip
from pathlib import Path
from typing import Any, TextIO

GZIP = b"\x1f\x8b"


def open_text(path: str | Path) -> TextIO:
    """Open a text file, gzipped or not, whatever its name."""
    with open(path, "rb") as file:
        zipped = file.read(2) == GZIP
    return gzip.open(path, "rt", encoding="utf-8") if zipped else open(path, encoding="utf-8")


def stamp(path: str | Path) -> list[Any]:
    """Tell one state of a file from another, without reading all of it: its path, size and time of change."""
    facts = Path(path).stat()
    return [str(Path(path).resolve()), facts.st_size, facts.st_mtime_ns]
