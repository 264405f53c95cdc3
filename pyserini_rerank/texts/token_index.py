"""The token index: the documents of an index or a collection, tokenized once.

Tokenizing a text takes several times as long as reading it, and on a fast GPU longer than scoring it. Do not make a
token index for a single small run, which tokenizes fewer passages than the collection has documents.

A folder holds
    documents.bin   a record a document: a header, its docid and the ids of its tokens
    hashes.bin      64-bit hashes of the docids, sorted
    starts.bin      for each hash, the byte at which its document's record starts
    meta.json       the source and the tokenizer of the index, and the files' sizes
All numbers are little-endian. The files are mapped into memory, which holds only the parts that are looked up.
"""

import json
import mmap
import os
import struct
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.growing import partial_of
from ..files.reading import digest
from ..passages import Tokens
from .source import Readers

FORMAT = 3
META = "meta.json"
DOCUMENTS, HASHES, STARTS = FILES = ("documents.bin", "hashes.bin", "starts.bin")
#: The beginning of a record: a checksum of the rest of the record, the hash of the text, and the lengths of the ids
#: and of the docid in bytes.
CHECKSUM, HEADER = struct.Struct("<I"), struct.Struct("<IIII")
#: The hash of the text of an empty document.
EMPTY = 0


class TokenIndex:
    """A source of passages that `pyserini-rerank index-tokens` has tokenized.

    Any number of processes, and all checkpoints with its vocabulary, can share one.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no complete token index in it.
    ValueError
        The token index is damaged, or its source has changed since.
    """

    remedy = "the token index is of other or older documents; build one of these with `pyserini-rerank index-tokens`."
    reads_documents = False
    skips_missing = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.location = f"the token index {self.folder}"
        self.meta = self._read_meta()
        self._check_source()
        maps = [self._map(name) for name in FILES]
        self._documents = maps[0]
        self._hashes, self._starts = (np.frombuffer(table, dtype="<u8") for table in maps[1:])
        self._dtype = np.dtype(self.meta["dtype"])

    def check(self, reranker: Readers) -> None:
        """Check that all checkpoints of a reranker read these tokens; raises as `check_vocabulary`."""
        for leaf in reranker.leaves():
            self.check_vocabulary(leaf.vocabulary, leaf.name)

    def check_vocabulary(self, vocabulary: str | None, name: str) -> None:
        """Check that a checkpoint reads these tokens.

        Parameters
        ----------
        vocabulary : str, optional
            The fingerprint of its tokenizer; None if its backend takes texts only.
        name : str
            The checkpoint, for the error.

        Raises
        ------
        ValueError
            The checkpoint has another vocabulary, or none.
        """
        if vocabulary is None:
            raise ValueError(f"{name} has a backend that takes texts and no tokens: use texts= instead of tokens=.")
        indexed = self.meta["vocabulary"]
        if vocabulary != indexed:
            raise ValueError(
                f"{self.location} has the vocabulary of {self.meta['tokenizer']} ({indexed[:8]}), and {name} has "
                f"another ({vocabulary[:8]}): build one with `pyserini-rerank index-tokens --tokenizer {name}`."
            )

    def read(self, docids: Sequence[str], documents: Sequence[object]) -> list[Tokens | str | None]:
        """Look passages up, as the protocol `pyserini_rerank.texts.source.Source` has it; `documents` is not used."""
        return self.get(docids)

    def get(self, docids: Sequence[str]) -> list[Tokens | str | None]:
        """Look passages up: "" for a document without any text, None for a docid that is not there.

        Raises
        ------
        ValueError
            A record is damaged.
        """
        keys = [key_of(docid) for docid in docids]
        rows = np.searchsorted(self._hashes, hashes_of(keys))
        rows[rows == len(self)] = 0  # the hash is beyond the last one: row 0 will turn out to have another docid
        starts = self._starts[rows].tolist()
        records = [self._find(*wanted) for wanted in zip(keys, rows.tolist(), starts, strict=True)]
        # All ids are widened together: a call of numpy's for each passage would take longer than all the rest.
        narrow = b"".join(ids for _, ids in records)
        wide = np.frombuffer(narrow, self._dtype).astype("<i4").tobytes()
        passages: list[Tokens | str | None] = []
        start = 0
        for text, ids in records:
            stop = start + len(ids) * 4 // self._dtype.itemsize
            passages.append(Tokens(wide[start:stop], text) if text else "" if text == EMPTY else None)
            start = stop
        return passages

    def __len__(self) -> int:
        return len(self._hashes)

    def _find(self, key: bytes, row: int, start: int) -> tuple[int | None, bytes]:
        """Find the hash of a docid's text, and the ids of its tokens; (None, b"") if the docid is not there.

        Parameters
        ----------
        row, start : int
            The first row of the table with the docid's hash, and the byte at which its record starts.
        """
        while True:
            docid, text, ids = self._record(start)
            if docid == key:
                return text, ids
            row += 1
            # Different docids may share a hash.
            if row == len(self) or self._hashes[row] != self._hashes[row - 1]:
                return None, b""
            start = int(self._starts[row])

    def _record(self, start: int) -> tuple[bytes, int, bytes]:
        """Read a record: the docid, the hash of the text, and the ids."""
        try:
            checksum, text, ids, docid = HEADER.unpack_from(self._documents, start)
        except (struct.error, OverflowError):
            raise self._damaged(f"there is no document at byte {start} of {DOCUMENTS}") from None
        body = start + HEADER.size
        middle = body + docid
        end = middle + ids
        if zlib.crc32(self._documents[start + CHECKSUM.size : end]) != checksum:
            raise self._damaged(f"the checksum of the document at byte {start} of {DOCUMENTS} is wrong")
        return self._documents[body:middle], text, self._documents[middle:end]

    def _read_meta(self) -> dict[str, Any]:
        path = self.folder / META
        if not path.is_file():
            partial = partial_of(self.folder)
            state = f"{partial} is not complete: the same command goes on with it" if partial.is_dir() else "make one"
            raise FileNotFoundError(
                f"{self.folder} is no token index (it has no {META}): {state} (`pyserini-rerank index-tokens`)."
            )
        try:
            meta: dict[str, Any] = json.loads(path.read_bytes())
            version, checksum = meta["format"], meta.pop("checksum", None)
        except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
            raise self._damaged(f"{META} cannot be read") from None
        if version != FORMAT:
            raise ValueError(
                f"{self.location} has format {version!r:.20}, not {FORMAT}: another version of pyserini-rerank made "
                "it; build it again."
            )
        if checksum != checksum_of(meta):
            raise self._damaged(f"the checksum of {META} is wrong")
        return meta

    def _check_source(self) -> None:
        """Refuse an index whose source has changed. If the source is not on this machine, nothing can be checked."""
        source = self.meta["source"]
        if Path(source["place"]).exists() and not is_source(source):
            raise ValueError(f"{self.location} is stale, since {source['place']} has changed: build it again.")

    def _map(self, name: str) -> mmap.mmap:
        path = self.folder / name
        size = path.stat().st_size if path.is_file() else 0
        if size != self.meta["bytes"][name]:
            raise self._damaged(f"{name} has {size:,} of {self.meta['bytes'][name]:,} bytes")
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _damaged(self, reason: str) -> ValueError:
        return ValueError(f"{self.location} is damaged ({reason}): delete the folder and build it again.")


def record(key: bytes, text: str, ids: bytes) -> bytes:
    """Make a document's record; an empty text has no ids."""
    digest = (zlib.crc32(text.encode()) or 1) if text else EMPTY
    content = HEADER.pack(0, digest, len(ids), len(key))[CHECKSUM.size :] + key + ids
    return CHECKSUM.pack(zlib.crc32(content)) + content


def checksum_of(meta: dict[str, Any]) -> int:
    """Give the checksum of the contents of ``meta.json``, which determine how the other files are read."""
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def key_of(docid: str) -> bytes:
    return docid.encode("utf-8", "surrogatepass")


def hashes_of(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(blake2b(key, digest_size=8).digest() for key in keys), dtype="<u8")


def source_of(place: str | Path, file: str | Path) -> dict[str, Any]:
    """Describe the state of an index or a collection by the file that changes with it."""
    return {"place": str(place), "file": str(file), "stamp": _stamp(file), "digest": digest(file)}


def is_source(source: dict[str, Any]) -> bool:
    """Tell whether an index or a collection is in the state that `source_of` described.

    Its file is read only if its times have changed.
    """
    file = Path(source["file"])
    if not file.is_file():
        return False
    return bool(_stamp(file) == source["stamp"] or digest(file) == source["digest"])


def _stamp(file: str | Path) -> list[int]:
    """Give facts that change whenever a file does: its size, and its times, of which nobody can set the last."""
    facts = Path(file).stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
