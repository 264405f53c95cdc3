"""The texts of a collection file, by docid, without holding them in memory."""

import json
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from tqdm.auto import tqdm

from ..retrieval.formats import text_of_fields

#: Fields of a JSON document that may hold its docid; the first that is there counts.
IDS = ("id", "docid", "_id", "pid")


class Collection:
    """Documents of a JSON lines or TSV file (docid, text), looked up by docid.

    Reading the file once makes a table of 16 bytes a document, sorted by a hash of the docid; a text is
    read from the file when it is asked for.

    Parameters
    ----------
    path : path
        ``.jsonl`` or ``.json`` with an object a line (see `pyserini_rerank.retrieval.formats`), else TSV.

    Raises
    ------
    ValueError
        The file is gzipped, or a line has no docid.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.is_json = self.path.suffix in (".jsonl", ".json")
        self._file = self.path.open("rb")
        if self._file.read(2) == b"\x1f\x8b":
            raise ValueError(f"{path} is gzipped, and a text cannot be looked up in it: unpack it.")
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
            if self._docid(line) == docid:
                return self._text(line)
        return None

    def _rows(self) -> Iterator[tuple[int, int]]:
        self._file.seek(0)
        offset = 0
        with tqdm(
            total=self.path.stat().st_size, desc=f"reading {self.path.name}", unit="B", unit_scale=True, delay=2,
            leave=False, disable=None,
        ) as progress:  # fmt: skip
            for number, line in enumerate(self._file, 1):
                try:
                    yield _hash(self._docid(line)), offset
                except (ValueError, KeyError, StopIteration) as error:
                    raise ValueError(f"{self.path}, line {number}: has no docid ({error}): correct the line.") from None
                offset += len(line)
                progress.update(len(line))

    def _docid(self, line: bytes) -> str:
        if self.is_json:
            document: dict[str, Any] = json.loads(line)
            return str(next(document[name] for name in IDS if name in document))
        docid, tab, _ = line.partition(b"\t")
        if not tab:
            raise ValueError("no tab")
        return docid.decode()

    def _text(self, line: bytes) -> str | None:
        text = line.decode().rstrip("\r\n")
        return text_of_fields({"raw": text}) if self.is_json else text.partition("\t")[2].strip()


def _hash(docid: str) -> int:
    return int.from_bytes(blake2b(docid.encode(), digest_size=8).digest())
