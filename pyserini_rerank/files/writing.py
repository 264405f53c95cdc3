"""Output files: checked before the work begins, locked while they are written, and replaced as a whole."""

import errno
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock, Timeout


def target_of(path: str | os.PathLike[str]) -> Path:
    """Check that a file can be written, and follow its links.

    Raises
    ------
    ValueError
        The file is called ``-``.
    OSError
        It is a folder, or its folder does not exist, or may not be written to.
    """
    name = os.fspath(path)
    if name == "-":
        raise ValueError("- stands for no output here: name a file (./- is one of that name).")
    if is_stream(name):
        return Path(name)
    target = behind_links(name)
    code = None
    if target.is_dir():
        code = errno.EISDIR
    elif not target.parent.is_dir():
        code = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
    elif not os.access(target.parent, os.W_OK):
        code = errno.EACCES
    if code:
        raise OSError(code, os.strerror(code), name)
    return target


def check_apart(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, object], *, growing_in: Path | None = None
) -> None:
    """Check that no two outputs are the same file, that none is an input, and that none is in a folder to be deleted.

    Parameters
    ----------
    outputs, inputs : mapping
        From the options to the paths. A path that is no file (a name, a pipe, a device) is not checked.
    growing_in : path, optional
        The folder in which an output grows. It is deleted when the output is complete.

    Raises
    ------
    ValueError
        An output is one of these.
    """
    known: dict[str, str] = {}
    for name, path in {**inputs, **outputs}.items():
        if path is None or is_stream(str(path)) or (name in inputs and not os.path.exists(str(path))):
            continue
        real = os.path.realpath(str(path))
        if name in outputs and real in known:
            raise ValueError(f"{name} and {known[real]} are the same file, {path}: name another.")
        if name in outputs and growing_in in Path(real).parents:
            raise ValueError(
                f"{path} is in the folder {growing_in}, which is deleted when the output is complete: name another."
            )
        known[real] = name


def replace(path: Path, content: str | bytes) -> None:
    """Write a file at once: whoever opens it reads all of the old content or all of the new.

    A link stays a link, and the file that it points to is written. To a pipe or a device the content is appended.
    """
    data = content.encode() if isinstance(content, str) else content
    target = target_of(path)
    if is_stream(os.fspath(path)):
        try:
            with target.open("ab", buffering=0) as stream:
                while data:
                    data = data[stream.write(data) :]
        except OSError as error:  # Python's error does not name the file
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        return
    # A short name that no other thread, process or machine uses.
    temporary = target.with_name(f".{uuid4().hex}.new")
    try:
        with temporary.open("xb") as file:
            append(file, data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def append(file: Any, data: bytes) -> None:
    """Append data to a file and wait until it is on the disk, so that it survives a crash of the machine.

    Raises
    ------
    OSError
        The disk is full, or the like. The error names the file. Earlier data stays.
    """
    try:
        # Not through the file's buffer: after an error it would be written again when the file is closed, and that
        # error would not name the file.
        while data:
            data = data[os.write(file.fileno(), data) :]
        os.fsync(file.fileno())
    except OSError as error:
        message = f"{error.strerror}; what was done before is kept: make room and start the same command again"
        raise OSError(error.errno, message, str(file.name)) from None


@contextmanager
def held(target: Path, shown: Path, *, wait: bool = False) -> Iterator[None]:
    """Lock a file or folder against other writers, until this context ends, or the process does, however it ends.

    Parameters
    ----------
    target : path
        The file or folder that is written. It need not exist, but its parent folder has to.
    shown : path
        Its name in the message.
    wait : bool
        Wait for another writer, and say so on stderr.

    Raises
    ------
    BlockingIOError
        Another process or thread has the lock; the message names the process.
    """
    lock_file, holder = (target.with_name(f".{target.name}.{kind}") for kind in ("lock", "holder"))
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        conflict = f"{shown} is being written by {_holder_of(holder)}"
        if not wait:
            raise BlockingIOError(f"{conflict}: wait until that is done, or name another output.") from None
        print(f"{conflict}: waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        replace(holder, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock_file.unlink(missing_ok=True)
        lock.release()


def _holder_of(holder: Path) -> str:
    """Describe the process that holds a lock; it may not have written its file yet."""
    try:
        facts = json.loads(holder.read_bytes())
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def behind_links(name: str) -> Path:
    """Follow the links of a file, which need not exist; raises OSError if they form a circle."""
    target = Path(os.path.realpath(name))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return target


def is_stream(name: str) -> bool:
    """Tell whether a name is of a device, a pipe, a socket, or an open file of this process; none can be replaced."""
    if os.path.abspath(name).startswith(("/dev/fd/", "/dev/std", "/proc/")):
        return True
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)
