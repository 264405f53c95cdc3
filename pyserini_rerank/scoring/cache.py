"""Scores that were computed before, kept on disk.

Do not use it to hide a slow first run: a look-up costs about as much as tokenizing. It pays when the
same pairs come again: another depth, another first stage, an experiment that was interrupted.
"""

import os
import struct
import threading
import zlib
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb
import numpy as np
from numpy.typing import NDArray

from .backend import Backend, Batch, Pair, Plan

#: The most that a cache may grow to; the file itself is as large as what is in it.
MAP_SIZE = 2**36
#: LMDB's files.
DATA, LOCK = "data.mdb", "lock.mdb"
#: A score, and a checksum over its key and itself.
RECORD = struct.Struct("<fI")
#: What is open: LMDB opens a folder no more than once a process, and closes it when nobody holds it.
_open: WeakValueDictionary[Path, lmdb.Environment] = WeakValueDictionary()


class CachedBackend:
    """A backend that looks scores up before it computes them: has the interface of the one that it wraps.

    The batches are those of the backend below. One of which all scores are known is not run; of the others
    every row is run again, so that no score depends on what was known, but the known ones are kept: a run
    that was interrupted goes on to the same bits. Several processes may share a cache.

    Parameters
    ----------
    backend : Backend
        It has to have a `fingerprint`, which stands for all that changes its scores.
    folder : path
        Where the scores are kept; made if it is not there.

    Raises
    ------
    ValueError
        The backend has no fingerprint, or the cache is damaged.
    OSError
        The folder cannot be written.
    """

    def __init__(self, backend: Backend, folder: str | os.PathLike[str]) -> None:
        if not backend.fingerprint:
            raise ValueError(f"{type(backend).__name__} has no fingerprint, so its scores cannot be cached.")
        self.backend = backend
        self.max_length = backend.max_length
        self.fingerprint = backend.fingerprint
        self.vocabulary = getattr(backend, "vocabulary", None)
        self.workers = getattr(backend, "workers", 1)
        self.store = Store(folder)
        #: How many scores were known.
        self.known = 0
        self._lock = threading.Lock()

    @property
    def description(self) -> dict[str, str]:
        return getattr(self.backend, "description", {})

    def tokenize(self, texts: Sequence[str]) -> list[bytes]:
        ids: list[bytes] = self.backend.tokenize(texts)  # type: ignore[attr-defined]
        return ids

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        plan = self.backend.plan(pairs)
        salt = blake2b(self.fingerprint.encode()).digest()
        keys = [_key(salt, pair) for pair in pairs]
        batches = [Batch(batch.positions, ([keys[i] for i in batch.positions], batch)) for batch in plan.batches]
        return Plan(batches, plan.cut_passages, plan.cut_queries, plan.unknown)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        keys, inner = batch.inputs
        known = self.store.get(keys)
        lacking = np.isnan(known)
        with self._lock:
            self.known += len(keys) - int(np.count_nonzero(lacking))
        if not lacking.any():
            return known
        scores = np.where(lacking, self.backend.run(inner), known)
        new = lacking & np.isfinite(scores)
        self.store.put({key: float(score) for key, score, keep in zip(keys, scores, new, strict=True) if keep})
        return scores

    def close(self) -> None:
        self.store.close()
        self.backend.close()


class Store:
    """Scores by key, in an LMDB file; several stores of a process may have the same."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder.resolve()
        try:
            # Without metasync the last commit may be lost when the machine (not the process) dies, no more.
            self._lmdb = _open.get(path) or lmdb.open(str(path), map_size=MAP_SIZE, metasync=False)
        except lmdb.Error as error:
            raise self._damaged(error) from None
        _open[path] = self._lmdb

    def get(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Look scores up: float32 (n,), NaN where there is none."""
        scores = np.full(len(keys), np.nan, dtype=np.float32)
        with self._lmdb.begin(buffers=False) as transaction:
            for position, key in enumerate(keys):
                record = transaction.get(key)
                if record is not None:
                    scores[position] = self._read(key, record)
        return scores

    def put(self, scores: dict[bytes, float]) -> None:
        """Keep scores, all or none of them; one that is there already stays."""
        try:
            with self._lmdb.begin(write=True) as transaction:
                for key, score in scores.items():
                    transaction.put(key, _record(key, score), overwrite=False)
        except lmdb.Error as error:
            raise OSError(f"the score cache {self.folder} cannot be written ({error}): is the disk full?") from None

    def __len__(self) -> int:
        return int(self._lmdb.stat()["entries"])

    def verify(self) -> None:
        """Check every score's checksum; raises ValueError at the first that is wrong."""
        with self._lmdb.begin() as transaction:
            for key, record in transaction.cursor():
                self._read(key, record)

    def close(self) -> None:
        del self._lmdb

    def _read(self, key: bytes, record: bytes) -> float:
        score: float = RECORD.unpack(record)[0] if len(record) == RECORD.size else 0.0
        if record != _record(key, score):
            raise self._damaged("a score's checksum is wrong")
        return score

    def _damaged(self, reason: object) -> ValueError:
        return ValueError(f"the score cache {self.folder} is damaged ({reason}): delete the folder.")


def clear(folder: str | os.PathLike[str]) -> None:
    """Delete a cache, and its folder.

    Raises
    ------
    ValueError
        The folder is no score cache, or has other files as well.
    """
    path = Path(folder)
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if DATA not in names or names - {DATA, LOCK}:
        raise ValueError(f"{folder} is no score cache, or holds more than one: delete it yourself.")
    for name in names:
        (path / name).unlink()
    path.rmdir()


def _key(salt: bytes, pair: Pair) -> bytes:
    """Hash a pair to 128 bits; the salt is a hash of the fingerprint. Tokens have keys of a kind of their own."""
    query, passage = pair[0].encode(), pair[1]
    if isinstance(passage, str):
        kind, content = b"", passage.encode()
    else:
        kind, content = b"tokens", passage.text.to_bytes(4) + passage.ids
    data = b"%d %b%b" % (len(query), query, content)
    return blake2b(data, digest_size=16, key=salt, person=kind).digest()


def _record(key: bytes, score: float) -> bytes:
    value = struct.pack("<f", score)
    return value + struct.pack("<I", zlib.crc32(key + value))
