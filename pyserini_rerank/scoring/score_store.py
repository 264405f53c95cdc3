"""Scores by key, kept on disk in an SQLite file."""

import os
import sqlite3
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backend import BackendFault

#: SQLite's files. The last two are there while the cache is open, and remain if the process dies.
DATA = "scores.sqlite"
FILES = {DATA, f"{DATA}-wal", f"{DATA}-shm"}
#: Seconds that a process waits for another process that writes.
PATIENCE = 600
#: Errors of a file that is not damaged: a lock, a permission, the disk.
NOT_DAMAGE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)
#: Keys that are looked up together; SQLite takes no more than 32,766.
MOST_KEYS = 10_000
#: A score, and a checksum of its key and the score.
RECORD = struct.Struct("<fI")


class ScoreStore:
    """Scores by key, in an SQLite file.

    SQLite checks each page that it reads. A file that is mapped into memory, as LMDB's is, kills the process with
    SIGBUS when it has been cut short.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder).absolute()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        with self._errors():
            # Transactions are begun here, and the connection is shared between threads under the lock.
            self._sqlite = sqlite3.connect(
                self.folder / DATA, timeout=PATIENCE, isolation_level=None, check_same_thread=False
            )
            self._sqlite.text_factory = bytes  # a damaged file may have text in the place of bytes
            self._write_ahead()
            self._sqlite.execute(
                "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
            )

    def get(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Look up the scores of keys: float32 (n,), NaN for a key that has none."""
        scores: dict[bytes, float] = {}
        with self._lock, self._errors():
            for start in range(0, len(keys), MOST_KEYS):
                chunk = keys[start : start + MOST_KEYS]
                placeholders = ",".join("?" * len(chunk))
                rows = self._sqlite.execute(f"SELECT key, record FROM scores WHERE key IN ({placeholders})", chunk)
                scores.update((key, self._read(key, record)) for key, record in rows)
        return np.array([scores.get(key, np.nan) for key in keys], dtype=np.float32)

    def put(self, scores: dict[bytes, float]) -> None:
        """Keep scores, all or none of them; a key that has a score already keeps it."""
        rows = [(key, _record(key, score)) for key, score in scores.items()]
        with self._lock, self._errors(), self._sqlite:
            self._sqlite.execute("BEGIN IMMEDIATE")
            self._sqlite.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", rows)

    def __len__(self) -> int:
        with self._lock, self._errors():
            return int(self._sqlite.execute("SELECT count(*) FROM scores").fetchone()[0])

    def verify(self) -> None:
        """Check the file and the checksum of every score; raises ValueError if the file is damaged."""
        with self._lock, self._errors():
            [report] = self._sqlite.execute("PRAGMA integrity_check(1)").fetchone()
            if report != b"ok":
                raise self._damaged(report.decode(errors="replace"))
            for key, record in self._sqlite.execute("SELECT key, record FROM scores"):
                self._read(key, record)

    def close(self) -> None:
        with self._lock:
            self._sqlite.close()

    def _write_ahead(self) -> None:
        """Turn on SQLite's write-ahead log (WAL), so that a batch does not wait for the disk (some 20 ms).

        When the machine (not the process) dies, the last scores may be lost, and nothing else.
        """
        self._sqlite.execute("PRAGMA synchronous = NORMAL")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._sqlite.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # When several processes make a cache at once, SQLite does not wait for the others in this statement.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:  # of SQLite's message on a damaged file
            raise self._damaged("its error message is no text") from None
        except sqlite3.ProgrammingError:
            raise RuntimeError(f"the score cache {self.folder} is closed: load the reranker again.") from None
        except sqlite3.DatabaseError as error:
            # The lowest byte of the code is the kind of the error; the errors of Python's sqlite3 have no code.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in NOT_DAMAGE:
                raise OSError(f"the score cache {self.folder} cannot be used ({error}): is the disk full?") from None
            raise self._damaged(error) from None

    def _read(self, key: Any, record: Any) -> float:
        # In a damaged file the two may be numbers or None.
        if isinstance(key, bytes) and isinstance(record, bytes) and len(record) == RECORD.size:
            score: float = RECORD.unpack(record)[0]
            if record == _record(key, score):
                return score
        raise self._damaged("a score's checksum is wrong")

    def _damaged(self, reason: object) -> BackendFault:
        line = " ".join(str(reason).split())
        return BackendFault(f"the score cache {self.folder} is damaged ({line}): delete the folder.")


def clear(folder: str | os.PathLike[str]) -> None:
    """Delete a cache, and its folder.

    Raises
    ------
    ValueError
        The folder is no score cache, or holds other files as well.
    """
    path = Path(folder)
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if DATA not in names or names - FILES:
        raise ValueError(f"{folder} is no score cache, or holds other files as well: delete it yourself.")
    for name in names:
        (path / name).unlink()
    path.rmdir()


def _record(key: bytes, score: float) -> bytes:
    value = struct.pack("<f", score)
    return value + struct.pack("<I", zlib.crc32(key + value))
