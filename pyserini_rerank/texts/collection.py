"""The documents of a collection file: by docid, or all in their order. They are not held in memory."""

import json
import os
import threading
import weakref
from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ..files.reading import BOM, named, refuse_packed
from ..progress import bar
from .formats import MAIN, text_of_fields
from .source import clean

#: Fields of a JSON document that may hold its docid; the first that is there counts. A passage of MS MARCO v2 has its
#: own docid as `pid`, and that of its document as `docid`.
IDS = ("id", "_id", "pid", "docid")
#: The reason why a collection may not be compressed or a pipe.
AS_IT_LIES = "a collection is read from the middle"
#: The number of lines that show the file's format.
SNIFFED = 1000


class _File:
    """A file of JSON lines or TSV with one document a line. Blank lines are skipped.

    JSON lines are objects (see `pyserini_rerank.texts.formats`). TSV has the columns docid and text, or names its
    columns in a heading (``id``, ``text``, ``title``), as DPR's passages do. If the first lines quote texts as CSV
    does, the quotes of all lines are removed.

    Parameters
    ----------
    path : path

    Raises
    ------
    ValueError
        The file is compressed, a pipe, or no text.
    """

    def __init__(self, path: Path) -> None:
        refuse_packed(path, AS_IT_LIES)
        self.path = path
        with path.open("rb") as file:
            if file.read(len(BOM)) != BOM:
                file.seek(0)
            #: The position at which the documents begin.
            self.start = file.tell()
            first = [line for line in islice(file, SNIFFED) if line.strip()]
            self.is_json = bool(first) and first[0].lstrip().startswith(b"{")
            self.columns = [] if self.is_json or not first else _heading(first[0])
            if self.columns:
                file.seek(self.start)
                while not file.readline().strip():
                    pass
                self.start = file.tell()
                del first[0]
        self.quoted = not self.is_json and _is_quoted(first)

    def docid(self, line: bytes) -> str:
        if self.is_json:
            try:
                document: Any = json.loads(line.decode())
            except RecursionError:
                raise ValueError("its brackets are nested too deep") from None
            return named(document, IDS)
        cells = line.rstrip(b"\r\n").split(b"\t")
        wanted = len(self.columns) or 2
        if len(cells) == 1:
            raise ValueError("it has no docid (there is no tab)")
        if len(cells) != wanted:
            raise ValueError(f"it has {len(cells)} columns and not {wanted}, and there is no heading that names them")
        # All cells are read, to check their quotes: where these are wrong, a text may go on in the next line.
        docid, *_ = map(self._cell, cells if self.quoted else cells[:1])
        if not docid:
            raise ValueError("it has no docid")
        return docid

    def text(self, line: bytes) -> str | None:
        if self.is_json:
            text = text_of_fields({"raw": line.decode().strip()})
            return text if text is None else clean(text)
        cells = [self._cell(cell) for cell in line.rstrip(b"\r\n").split(b"\t")]
        if not self.columns:
            return clean(cells[1])
        return clean(text_of_fields({"raw": json.dumps(dict(zip(self.columns, cells, strict=True)))}) or "")

    def _cell(self, cell: bytes) -> str:
        text = cell.decode()
        if not self.quoted or not text.startswith('"'):
            return text
        if not _is_csv(cell):
            raise ValueError("its quotes are not CSV's, though those of the first lines are, or it has a line break")
        return text[1:-1].replace('""', '"')


class Collection(_File):
    """The documents of a collection file, looked up by docid, from any number of threads.

    The file is read once to make a table of 16 bytes a document, sorted by a hash of the docid. A text is read from the
    file when it is asked for.

    Raises
    ------
    ValueError
        The file is compressed, or a line has no docid.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path.open("rb")
        weakref.finalize(self, self._file.close)
        self._reading = threading.Lock()
        rows = np.fromiter(self._rows(), dtype=[("hash", np.uint64), ("offset", np.uint64)])
        self._rows_by_hash = rows[np.argsort(rows["hash"], kind="stable")]
        self._state = self._state_now()

    def get(self, docid: str) -> str | None:
        """Look a text up; None where the docid is not in the file.

        Raises
        ------
        ValueError
            The line cannot be read, or is another one since the file has changed.
        """
        wanted = _hash(docid)
        hashes = self._rows_by_hash["hash"]
        # Different docids may share a hash.
        for row in range(int(np.searchsorted(hashes, np.uint64(wanted))), len(hashes)):
            if hashes[row] != wanted:
                break
            with self._reading:  # all threads share the file's position
                self._file.seek(int(self._rows_by_hash["offset"][row]))
                line = self._file.readline()
            try:
                if self.docid(line) == docid:
                    return self.text(line)
                said = ""
            except ValueError as error:
                shown = " ".join(docid.split())  # it may hold a line break
                said = f"{self.path}, docid {shown:.50}: {str(error).rstrip('.')}: correct the line."
            if self._state_now() != self._state:
                said = f"{self.path} has changed since it was opened: open it again."
            if said:
                raise ValueError(said)
        return None

    def _state_now(self) -> tuple[int, int]:
        """Tell by what it is seen that the file, which stays open, was written to: its size and its time."""
        state = os.fstat(self._file.fileno())
        return state.st_size, state.st_mtime_ns

    def _rows(self) -> Iterator[tuple[int, int]]:
        self._file.seek(self.start)
        offset = self.start
        with bar(self.path.stat().st_size, f"reading {self.path.name}", "B", unit_scale=True) as progress:
            # The heading is line 1.
            for number, line in enumerate(self._file, 2 if self.columns else 1):
                if line.strip():
                    try:
                        yield _hash(self.docid(line)), offset
                    except ValueError as error:
                        raise ValueError(f"{self.path}, line {number}: {error}: correct the line.") from None
                offset += len(line)
                progress.update(len(line))


def _heading(line: bytes) -> list[str]:
    """Give the columns that the first line of a TSV file names; none if that line is a document."""
    names = [cell.strip().strip(b'"').lower().decode(errors="replace") for cell in line.split(b"\t")]
    return names if names[0] in IDS and set(names[1:]) & set(MAIN) and len(set(names)) == len(names) else []


def _is_quoted(lines: list[bytes]) -> bool:
    """Tell whether lines quote cells as CSV does: then each cell with a quotation mark is quoted correctly."""
    cells = [cell for line in lines for cell in line.rstrip(b"\r\n").split(b"\t") if b'"' in cell]
    return bool(cells) and all(map(_is_csv, cells))


def _is_csv(cell: bytes) -> bool:
    """Tell whether a cell is in quotation marks, and those within are doubled."""
    return len(cell) > 1 and cell[:1] == cell[-1:] == b'"' and b'"' not in cell[1:-1].replace(b'""', b"")


def _hash(docid: str) -> int:
    return int.from_bytes(blake2b(docid.encode(), digest_size=8).digest())
