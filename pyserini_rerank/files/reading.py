"""Input files: plain or compressed, from a disk or a pipe."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

#: The first bytes of compressed files, with the function that opens them.
COMPRESSED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    **{b"BZh%d%b" % (level, block): bz2.open for level in range(1, 10) for block in (b"1AY&SY", b"\x17rE8P\x90")},
    b"\xfd7zXZ\x00": lzma.open,
}
#: The first bytes of files that are not read here.
UNREADABLE = {
    b"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\x1f\x9d": "compressed by compress",
    b"PK\x03\x04": "a ZIP archive",
    b"7z\xbc\xaf\x27\x1c": "a 7-Zip archive",
    b"Rar!": "a RAR archive",
    b"PAR1": "a Parquet file",
    b"SQLite format 3\0": "an SQLite file",
}
#: The byte order mark of UTF-8, which is no part of the text.
BOM = b"\xef\xbb\xbf"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: The number of bytes that show what kind of file it is. Tar's mark begins at byte 257.
HEAD, TAR = 512, slice(257, 262)
BUFFER = 2**18


@contextmanager
def open_lines(path: str | Path, *, archives: bool = False) -> Iterator[Any]:
    """Open a file of lines, plain or compressed by gzip, bzip2 or xz. Its name does not matter, and it can be a pipe.

    Parameters
    ----------
    path : path
    archives : bool
        Read the first file of a tar archive. It is streamed: no file is written under a name that the archive chooses.

    Raises
    ------
    ValueError
        The file is of another kind, or its text is in UTF-16; (when reading) the compressed data is damaged.
    """
    with ExitStack() as stack:
        file: Any = stack.enter_context(open(path, "rb"))
        try:
            head = file.read(HEAD)
            unpack = next((unpack for magic, unpack in COMPRESSED.items() if head.startswith(magic)), None)
            if unpack:
                file = stack.enter_context(unpack(_from_start(head, file)))
                head = file.read(HEAD)
            archive = None
            if archives and head[TAR] == b"ustar":
                archive, unpacked = file, _from_start(head, file)
                members = stack.enter_context(tarfile.open(fileobj=unpacked, mode="r|"))
                file = next((members.extractfile(member) for member in members if member.isfile()), None)
                if file is None:
                    raise ValueError(f"{path} is an archive without a file: fetch it again.")
                head = file.read(HEAD)
            _check(path, head)
            lines = _from_start(head, file, len(BOM) if head.startswith(BOM) else 0)
            yield lines
            if archive and not lines.read(1):  # the file was read to its end: read on to the checksum behind it
                while unpacked.read(BUFFER):
                    pass
        except (EOFError, gzip.BadGzipFile, lzma.LZMAError, tarfile.TarError, zlib.error) as error:
            raise _damaged(path, error) from None
        except OSError as error:
            if error.errno is None:  # bzip2 raises it for damaged data
                raise _damaged(path, error) from None
            raise


def lines_of(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a file, each with its number, from 1, and without its line end.

    Lines of white space are skipped, but numbered.

    Raises
    ------
    As `open_lines`.
    """
    with open_lines(path) as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def read_text(path: str | Path) -> str:
    """Read a whole file as text.

    Raises
    ------
    ValueError
        As `open_lines`; the file is no UTF-8.
    """
    with open_lines(path) as lines:
        data: bytes = lines.read()
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not in UTF-8: save it in UTF-8.") from None


def named(values: Any, names: Iterable[str]) -> str:
    """Give the qid or docid of a JSON object: the first of the fields `names` that is there and not null.

    Raises
    ------
    ValueError
        There is no such field, or its value is neither a text nor a whole number. Another file may write such an id,
        like 1.5, in another way.
    """
    ids = [values[name] for name in names if values.get(name) is not None] if isinstance(values, dict) else []
    if not ids or ids[0] == "":
        raise ValueError("it has no docid")
    if isinstance(ids[0], bool) or not isinstance(ids[0], str | int):
        raise ValueError(f"its docid is {ids[0]!r:.50}, neither a text nor a whole number")
    return str(ids[0])


def is_input(path: str | Path) -> bool:
    """Tell whether there is a file or a pipe of this name."""
    return os.path.exists(path) and not os.path.isdir(path)


@contextmanager
def at_rest(path: Path) -> Iterator[Path]:
    """Give a file that can be read several times: the file itself, or a copy of a pipe.

    Raises
    ------
    ValueError
        The path is a device.
    """
    if path.is_file() or not is_input(path):
        yield path
        return
    if path.is_block_device() or path.is_char_device():
        raise ValueError(f"{path} is a device: name a file, or a pipe.")
    with tempfile.TemporaryDirectory(prefix="pyserini-rerank-") as folder:
        copy = Path(folder, path.name)
        with path.open("rb") as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file, BUFFER)
        try:
            yield copy
        except ValueError as error:
            if str(copy) not in str(error):
                raise
            raise ValueError(str(error).replace(str(copy), str(path))) from None


def refuse_packed(path: Path, why: str) -> None:
    """Check that a file is plain text on a disk, and no pipe; raises ValueError with the reason `why`."""
    if not is_input(path):
        return
    if not path.is_file():
        raise ValueError(f"{path} is a pipe or a device, and {why}: write it to a file.")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if any(map(head.startswith, COMPRESSED)):
        raise ValueError(f"{path} is compressed, and {why}: unpack it.")
    _check(path, head)


def is_packed(path: Path) -> bool:
    """Tell whether a file has to be unpacked before it can be read from the middle."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    return head[TAR] == b"ustar" or any(map(head.startswith, COMPRESSED))


def digest(path: str | Path) -> str:
    """Hash the content of a file."""
    with open(path, "rb") as file:
        return file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()


class _Rejoined(io.RawIOBase):
    """A stream of bytes that were read from another stream before, and of the rest of that stream."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self.head, self.rest = head, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.head:
            count = min(len(buffer), len(self.head))
            buffer[:count], self.head = self.head[:count], self.head[count:]
            return count
        data = self.rest.read1(len(buffer)) if hasattr(self.rest, "read1") else self.rest.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _from_start(head: bytes, file: Any, skip: int = 0) -> Any:
    """Give a stream whose `head` has been read, from the beginning, without its first `skip` bytes."""
    if type(file) is io.BufferedReader and file.seekable():  # a file on the disk, which can tell its position
        file.seek(skip)
        return file
    return io.BufferedReader(_Rejoined(head[skip:], file), BUFFER)


def _check(path: str | Path, head: bytes) -> None:
    """Check by its first bytes that a file is text in UTF-8; raises ValueError."""
    kind = next((kind for magic, kind in UNREADABLE.items() if head.startswith(magic)), None)
    if kind is None and any(map(head.startswith, COMPRESSED)):
        kind = "compressed twice"
    if kind is None and head[TAR] == b"ustar":
        kind = "an archive"
    if kind:
        raise ValueError(f"{path} is {kind}, which is not read here: unpack it, or write it as text.")
    # UTF-16 without a byte order mark: every other byte is zero, unless all of the text is in another script.
    if head.startswith(UTF16) or (len(head) >= 4 and (head[1:4:2] == b"\0\0" or head[:3:2] == b"\0\0")):
        raise ValueError(f"{path} is in UTF-16 or no text: write it in UTF-8.")


def _damaged(path: str | Path, error: Exception) -> ValueError:
    return ValueError(f"{path} is damaged ({' '.join(str(error).split())}): fetch or write it again.")
