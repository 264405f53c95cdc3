"""Files: opened plain or gzipped, told apart, and written for good."""

import gzip
import os
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


def replace(path: Path, text: str) -> None:
    """Write a file so that there is the old one or the new one, and never a part of it."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        append(file, text.encode())
    os.replace(temporary, path)


def append(file: Any, data: bytes) -> None:
    """Write for good: what has been written survives a machine that dies."""
    file.write(data)
    file.flush()
    os.fsync(file.fileno())
