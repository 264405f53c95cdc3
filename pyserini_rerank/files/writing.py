"""Files that go out: checked before there is anything to write, by one process at a time, and for good."""

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
        It is called ``-``.
    OSError
        It is a folder, or there is no folder that it could be in, or nothing may be written there.
    """
    name = os.fspath(path)
    if name == "-":
        raise ValueError("- stands for no output here: name a file (./- is one of that name).")
    if is_stream(name):
        return Path(name)
    target = behind_links(name)
    wrong = None
    if target.is_dir():
        wrong = errno.EISDIR
    elif not target.parent.is_dir():
        wrong = errno.ENOTDIR if target.parent.exists() else errno.ENOENT
    elif not os.access(target.parent, os.W_OK):
        wrong = errno.EACCES
    if wrong:
        raise OSError(wrong, os.strerror(wrong), name)
    return target


def check_apart(
    outputs: Mapping[str, Path | None], inputs: Mapping[str, object], *, growing_in: Path | None = None
) -> None:
    """Check that no two outputs are the same file, none is an input as well, and none is in a folder that will go.

    Parameters
    ----------
    outputs, inputs : mapping
        By the options that name them; what is no file (a name, a pipe, a device) is as good as not given.
    growing_in : path, optional
        The folder in which an output grows.

    Raises
    ------
    ValueError
        Two of them are.
    """
    known: dict[str, str] = {}
    for name, path in {**inputs, **outputs}.items():
        if path is None or is_stream(str(path)) or (name in inputs and not os.path.exists(str(path))):
            continue
        real = os.path.realpath(str(path))
        if name in outputs and real in known:
            raise ValueError(f"{name} and {known[real]} are the same file, {path}: name another.")
        if name in outputs and growing_in in Path(real).parents:
            raise ValueError(f"{path} is in the folder of what is not complete, which goes when it is: name another.")
        known[real] = name


def replace(path: Path, content: str | bytes) -> None:
    """Write a file so that there is the old one or the new one, and never a part of it.

    A link stays, and what it points to is written; what is no file (a pipe, a device) gets the content as it is.
    """
    data = content.encode() if isinstance(content, str) else content
    target = target_of(path)
    if is_stream(os.fspath(path)):
        try:
            with target.open("ab", buffering=0) as stream:
                while data:
                    data = data[stream.write(data) :]
        except OSError as error:  # which does not say of what
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        return
    # Of a name that is short, and nobody else's: no thread's, no process's and no machine's.
    temporary = target.with_name(f".{uuid4().hex}.new")
    try:
        with temporary.open("xb") as file:
            append(file, data)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def append(file: Any, data: bytes) -> None:
    """Write for good: what has been written survives a machine that dies.

    Raises
    ------
    OSError
        The disk is full, or the like; it names the file, and what was written before stays.
    """
    try:
        # Past the file's buffer, which would be written again, and fail without a name, when the file is closed.
        while data:
            data = data[os.write(file.fileno(), data) :]
        os.fsync(file.fileno())
    except OSError as error:
        what = f"{error.strerror}; what was done before is kept: make room and start the same command again"
        raise OSError(error.errno, what, str(file.name)) from None


@contextmanager
def held(target: Path, shown: Path, *, wait: bool = False) -> Iterator[None]:
    """Be the only one who writes something, until this ends, or the process does, however it ends.

    Parameters
    ----------
    target : path
        What is written; it need not be there, but its folder.
    shown : path
        What it is called in the message.
    wait : bool
        Wait for another one, and say so on stderr.

    Raises
    ------
    BlockingIOError
        Another one writes it; the message says who.
    """
    lock_file, holder = (target.with_name(f".{target.name}.{kind}") for kind in ("lock", "holder"))
    lock = FileLock(lock_file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        said = f"{shown} is being written by {_told(holder)}"
        if not wait:
            raise BlockingIOError(f"{said}: wait until that is done, or name another output.") from None
        print(f"{said}: waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        since = datetime.now(UTC).isoformat(timespec="seconds")
        replace(holder, json.dumps({"pid": os.getpid(), "host": platform.node(), "since": since}))
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock_file.unlink(missing_ok=True)
        lock.release()


def _told(holder: Path) -> str:
    """Say who holds a lock, as far as that is written down yet."""
    try:
        facts = json.loads(holder.read_bytes())
        return f"process {facts['pid']} on {facts['host']} since {facts['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"


def behind_links(name: str) -> Path:
    """Follow the links of a file, which need not be there; raises OSError where they go round in a circle."""
    target = Path(os.path.realpath(name))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    return target


def is_stream(name: str) -> bool:
    """Is it something that cannot be replaced: a device, a pipe, a socket, or a name of what this process has open?"""
    if os.path.abspath(name).startswith(("/dev/fd/", "/dev/std", "/proc/")):
        return True
    return os.path.exists(name) and not os.path.isfile(name) and not os.path.isdir(name)
