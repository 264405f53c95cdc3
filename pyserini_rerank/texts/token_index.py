"""The token index: the documents of an index or a collection, tokenized once.

Tokenizing costs several times what reading a text does, and on a fast GPU more than the model. Do not
make one for a single small run, which tokenizes fewer passages than there are documents.

A folder holds
    documents.bin   a record a document: a header, its docid and the ids of its tokens
    hashes.bin      64-bit hashes of the docids, sorted
    starts.bin      for each hash, where its document's record starts
    meta.json       what it was made of, and the files' sizes
All numbers are little-endian. The files are mapped into memory, which holds only what is looked up.
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
#: What a record begins with: a checksum of all that follows it, the hash of the text, and the lengths of the ids
#: and of the docid in bytes.
CHECKSUM, HEADER = struct.Struct("<I"), struct.Struct("<IIII")
#: The hash of the text of a document that has none.
EMPTY = 0


class TokenIndex:
    """Passages by docid that `pyserini-rerank index-tokens` has tokenized; a source beside those of texts.

    Any number of processes may share one, and all checkpoints with its vocabulary.

    Parameters
    ----------
    folder : path

    Raises
    ------
    FileNotFoundError
        There is no such folder, or no complete token index in it.
    ValueError
        It is damaged, or what it was made of has changed since.
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
            The fingerprint of its tokenizer; None where its backend takes texts only.
        name : str
            The checkpoint, for the error.

        Raises
        ------
        ValueError
            It does not.
        """
        if vocabulary is None:
            raise ValueError(f"{name} has a backend that takes texts and no tokens: use texts= instead of tokens=.")
        ours = self.meta["vocabulary"]
        if vocabulary != ours:
            raise ValueError(
                f"{self.location} has the vocabulary of {self.meta['tokenizer']} ({ours[:8]}), and {name} has another "
                f"({vocabulary[:8]}): build one with `pyserini-rerank index-tokens --tokenizer {name}`."
            )

    def read(self, docids: Sequence[str], documents: Sequence[object]) -> list[Tokens | str | None]:
        """Look passages up, as a source of `pyserini_rerank.texts.source` does; the documents are not needed."""
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
        rows[rows == len(self)] = 0  # not there, as the docid of any other row will show
        starts = self._starts[rows].tolist()
        found = [self._find(*wanted) for wanted in zip(keys, rows.tolist(), starts, strict=True)]
        # Widened together: a call of numpy's for each passage would cost more than all the rest.
        narrow = b"".join(ids for _, ids in found)
        wide = np.frombuffer(narrow, self._dtype).astype("<i4").tobytes()
        passages: list[Tokens | str | None] = []
        start = 0
        for text, ids in found:
            stop = start + len(ids) * 4 // self._dtype.itemsize
            passages.append(Tokens(wide[start:stop], text) if text else "" if text == EMPTY else None)
            start = stop
        return passages

    def __len__(self) -> int:
        return len(self._hashes)

    def _find(self, key: bytes, row: int, start: int) -> tuple[int | None, bytes]:
        """Find the hash of a docid's text, and its ids; (None, b"") where the docid is not there.

        Parameters
        ----------
        row, start : int
            The first row of the table with the docid's hash, and where its record starts.
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
        """Read a record: docid, hash of the text, ids."""
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
        """Refuse an index whose source has changed. A source that is not here, on this machine, cannot tell."""
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
    """Give the checksum of what ``meta.json`` says, which tells how all else is read."""
    return zlib.crc32(json.dumps(meta, sort_keys=True).encode())


def key_of(docid: str) -> bytes:
    return docid.encode("utf-8", "surrogatepass")


def hashes_of(keys: Sequence[bytes]) -> NDArray[np.uint64]:
    return np.frombuffer(b"".join(blake2b(key, digest_size=8).digest() for key in keys), dtype="<u8")


def source_of(place: str | Path, file: str | Path) -> dict[str, Any]:
    """Tell one state of an index or a collection from another, by the file that changes with it."""
    return {"place": str(place), "file": str(file), "stamp": _stamp(file), "digest": digest(file)}


def is_source(source: dict[str, Any]) -> bool:
    """Are an index or a collection in the state that `source_of` has told? Only one that was touched is read."""
    file = Path(source["file"])
    if not file.is_file():
        return False
    return bool(_stamp(file) == source["stamp"] or digest(file) == source["digest"])


def _stamp(file: str | Path) -> list[int]:
    """Give what changes whenever a file does: its size, and times of which the last cannot be set by anybody."""
    facts = Path(file).stat()
    return [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino]
