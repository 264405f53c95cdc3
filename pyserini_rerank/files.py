"""Files: opened plain or gzipped, told apart, and written for good."""

import gzip
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

GZIP = b"\x1f\x8b"


@contextmanager
def open_lines(path: str | Path, *, archives: bool = False) -> Iterator[Any]:
    """Open a file of lines, gzipped or not, whatever its name; with `archives` also the one in a gzipped archive.

    Raises
    ------
    ValueError
        (When reading.) What is compressed is damaged.
    """
    with open(path, "rb") as file:
        zipped = file.read(2) == GZIP
    try:
        if zipped and archives and tarfile.is_tarfile(path):
            # It is read as it streams by, and nothing is unpacked under a name that the archive chooses.
            with gzip.open(path) as unzipped, tarfile.open(fileobj=unzipped, mode="r|") as archive:
                content = next((archive.extractfile(member) for member in archive if member.isfile()), None)
                if content is None:
                    raise ValueError(f"{path} is an archive without a file: fetch it again.")
                yield content
                if not content.read(1):  # all of it was wanted: on to the checksum, which is at the end
                    while unzipped.read(2**20):
                        pass
        else:
            with gzip.open(path) if zipped else open(path, "rb") as plain:
                yield plain
    except (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"{path} is damaged ({error}): fetch or write it again.") from None


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


def made_once(name: str, make: Callable[[Path], None]) -> Path:
    """Give a folder of the user's cache; `make` fills it on first use, and nobody sees it half-made."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "pyserini-rerank"
    target = cache / name
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            made = Path(temporary, "made")
            made.mkdir()
            make(made)
            with suppress(OSError):  # another process was first
                made.rename(target)
    return target


def append(file: Any, data: bytes) -> None:
    """Write for good: what has been written survives a machine that dies.

    Raises
    ------
    OSError
        The disk is full, or the like; it names the file, and what was written before stays.
    """
    try:
        # Past the file's buffer, which would be written again, and fail without a name, when the file is closed.
        while data:
            data = data[os.write(file.fileno(), data) :]
        os.fsync(file.fileno())
    except OSError as error:
        what = f"{error.strerror}; what was done before is kept: make room and start the same command again"
        raise OSError(error.errno, what, str(file.name)) from None
