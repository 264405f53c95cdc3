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

#: SQLite's files; the last two are there while the cache is open, and where a process died.
DATA = "scores.sqlite"


FILES = {DATA, f"{DATA}-wal", f"{DATA}-shm"}


#: Seconds that one process waits for another that writes.
PATIENCE = 600


#: Errors that are not the file's fault: a lock, a permission, the disk.
OUTSIDE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
)


#: Keys that are looked up together; SQLite takes no more than 32,766.
MOST_KEYS = 10_000


#: A score, and a checksum over its key and itself.
RECORD = struct.Struct("<fI")


class ScoreStore:
    """Scores by key, in an SQLite file.

    SQLite checks what it reads. A file that is mapped into memory, as LMDB's is, kills the process with
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
            self._sqlite.text_factory = bytes  # what was bytes may be text in a damaged file
            self._write_ahead()
            self._sqlite.execute(
                "CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID"
            )

    def get(self, keys: Sequence[bytes]) -> NDArray[np.float32]:
        """Look scores up: float32 (n,), NaN where there is none."""
        found: dict[bytes, float] = {}
        with self._lock, self._errors():
            for start in range(0, len(keys), MOST_KEYS):
                asked = keys[start : start + MOST_KEYS]
                marks = ",".join("?" * len(asked))
                rows = self._sqlite.execute(f"SELECT key, record FROM scores WHERE key IN ({marks})", asked)
                found.update((key, self._read(key, record)) for key, record in rows)
        return np.array([found.get(key, np.nan) for key in keys], dtype=np.float32)

    def put(self, scores: dict[bytes, float]) -> None:
        """Keep scores, all or none of them; one that is there already stays."""
        rows = [(key, _record(key, score)) for key, score in scores.items()]
        with self._lock, self._errors(), self._sqlite:
            self._sqlite.execute("BEGIN IMMEDIATE")
            self._sqlite.executemany("INSERT OR IGNORE INTO scores VALUES (?, ?)", rows)

    def __len__(self) -> int:
        with self._lock, self._errors():
            return int(self._sqlite.execute("SELECT count(*) FROM scores").fetchone()[0])

    def verify(self) -> None:
        """Check the file and every score's checksum; raises ValueError where something is wrong."""
        with self._lock, self._errors():
            [said] = self._sqlite.execute("PRAGMA integrity_check(1)").fetchone()
            if said != b"ok":
                raise self._damaged(said.decode(errors="replace"))
            for key, record in self._sqlite.execute("SELECT key, record FROM scores"):
                self._read(key, record)

    def close(self) -> None:
        with self._lock:
            self._sqlite.close()

    def _write_ahead(self) -> None:
        """Have SQLite write to the log that it calls WAL, and not wait for the disk with each batch (some 20 ms).

        The last of it may be lost when the machine (not the process) dies, no more.
        """
        self._sqlite.execute("PRAGMA synchronous = NORMAL")
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self._sqlite.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                # Where several processes make a cache at once, this alone does not wait for the others.
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError:  # in what SQLite says of a damaged file
            raise self._damaged("it names what no text is") from None
        except sqlite3.ProgrammingError:
            raise RuntimeError(f"the score cache {self.folder} is closed: load the reranker again.") from None
        except sqlite3.DatabaseError as error:
            # The rest of an error's code tells more than is needed here; sqlite3's own errors have none.
            if getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF in OUTSIDE:
                raise OSError(f"the score cache {self.folder} cannot be used ({error}): is the disk full?") from None
            raise self._damaged(error) from None

    def _read(self, key: Any, record: Any) -> float:
        # In a damaged file they may be numbers or nothing.
        if isinstance(key, bytes) and isinstance(record, bytes) and len(record) == RECORD.size:
            score: float = RECORD.unpack(record)[0]
            if record == _record(key, score):
                return score
        raise self._damaged("a score's checksum is wrong")

    def _damaged(self, reason: object) -> ValueError:
        line = " ".join(str(reason).split())
        return ValueError(f"the score cache {self.folder} is damaged ({line}): delete the folder.")


def clear(folder: str | os.PathLike[str]) -> None:
    """Delete a cache, and its folder.

    Raises
    ------
    ValueError
        The folder is no score cache, or has other files as well.
    """
    path = Path(folder)
    names = {file.name for file in path.iterdir()} if path.is_dir() else set()
    if DATA not in names or names - FILES:
        raise ValueError(f"{folder} is no score cache, or holds more than one: delete it yourself.")
    for name in names:
        (path / name).unlink()
    path.rmdir()


def _record(key: bytes, score: float) -> bytes:
    value = struct.pack("<f", score)
    return value + struct.pack("<I", zlib.crc32(key + value))
