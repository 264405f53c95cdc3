"""The documents of a collection file, without holding them in memory: by docid, or all in their order."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..files import GZIP
from ..retrieval.formats import text_of_fields
from ..retrieval.texts import clean

#: Fields of a JSON document that may hold its docid; the first that is there counts.
IDS = ("id", "docid", "_id", "pid")
#: What is read of a collection at once.
MOST_BYTES = 4_000_000
MOST_DOCUMENTS = 20_000


class _File:
    """A JSON lines or TSV file (docid, text), a document a line.

    Parameters
    ----------
    path : path
        ``.jsonl`` or ``.json`` with an object a line (see `pyserini_rerank.retrieval.formats`), else TSV.

    Raises
    ------
    ValueError
        The file is gzipped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_json = path.suffix in (".jsonl", ".json")
        with path.open("rb") as file:
            if file.read(2) == GZIP:
                raise ValueError(f"{path} is gzipped, and cannot be read from the middle: unpack it.")

    def docid(self, line: bytes) -> str:
        if self.is_json:
            try:
                document: Any = json.loads(line)
            except RecursionError:
                raise ValueError("its brackets are nested too deep") from None
            docids = [document[name] for name in IDS if name in document] if isinstance(document, dict) else []
            if not docids:
                raise ValueError("it has no docid")
            return str(docids[0])
        docid, tab, _ = line.partition(b"\t")
        if not tab:
            raise ValueError("it has no docid (there is no tab)")
        return docid.decode()

    def text(self, line: bytes) -> str | None:
        text = line.decode().rstrip("\r\n")
        found = text_of_fields({"raw": text}) if self.is_json else text.partition("\t")[2]
        return found if found is None else clean(found)


class Collection(_File):
    """Documents of such a file, looked up by docid.

    Reading the file once makes a table of 16 bytes a document, sorted by a hash of the docid; a text is
    read from the file when it is asked for.

    Raises
    ------
    ValueError
        The file is gzipped, or a line has no docid.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._file = path.open("rb")
        rows = np.fromiter(self._rows(), dtype=[("hash", np.uint64), ("offset", np.uint64)])
        self._rows_by_hash = rows[np.argsort(rows["hash"], kind="stable")]

    def get(self, docid: str) -> str | None:
        """Look a text up; None where the docid is not in the file."""
        wanted = _hash(docid)
        hashes = self._rows_by_hash["hash"]
        # Different docids may share a hash.
        for row in range(int(np.searchsorted(hashes, np.uint64(wanted))), len(hashes)):
            if hashes[row] != wanted:
                break
            self._file.seek(int(self._rows_by_hash["offset"][row]))
            line = self._file.readline()
            if self.docid(line) == docid:
                return self.text(line)
        return None

    def _rows(self) -> Iterator[tuple[int, int]]:
        offset = 0
        with tqdm(
            total=self.path.stat().st_size, desc=f"reading {self.path.name}", unit="B", unit_scale=True, delay=2,
            leave=False, disable=None,
        ) as progress:  # fmt: skip
            for number, line in enumerate(self._file, 1):
                try:
                    yield _hash(self.docid(line)), offset
                except ValueError as error:
                    raise ValueError(f"{self.path}, line {number}: {error}: correct the line.") from None
                offset += len(line)
                progress.update(len(line))


class CollectedDocuments(_File):
    """All documents of such a file, in their order; positions are bytes.

    What `pyserini_rerank.scoring.token_writer.Documents` is.
    """

    unit = "B"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.place = self.file = path.resolve()
        self.end = path.stat().st_size

    def read(self, start: int) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
        """Read the documents from a position on: (docid, text) in chunks, each with the position behind it.

        Raises
        ------
        ValueError
            A line has no docid, or its JSON cannot be read as text.
        """
        with self.file.open("rb") as file:
            file.seek(start)
            chunk: list[tuple[str, str | None]] = []
            before = position = start
            for line in file:
                try:
                    chunk.append((self.docid(line), self.text(line)))
                except ValueError as error:
                    raise ValueError(f"{self.file}, line at byte {position}: {error}: correct the line.") from None
                position += len(line)
                if position - before >= MOST_BYTES or len(chunk) == MOST_DOCUMENTS:
                    yield position, chunk
                    chunk, before = [], position
            if chunk:
                yield position, chunk


def _hash(docid: str) -> int:
    return int.from_bytes(blake2b(docid.encode(), digest_size=8).digest())
