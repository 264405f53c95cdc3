"""Outputs that are written over hours: each grows in a folder beside its name, and takes its place when it is complete.

What has been committed is there for good, whatever kills the process; the next one goes on behind it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .writing import behind_links, held, is_stream


def followed(path: str | os.PathLike[str]) -> Path:
    """Follow the links of an output that grows beside its name and then takes its place, which only a file can have.

    Raises
    ------
    ValueError
        It is a pipe, a device or the like, or called ``-``.
    """
    name = os.fspath(path)
    if name == "-" or is_stream(name):
        raise ValueError(f"{name} is no file, and an output that can be interrupted needs one: name a file.")
    return behind_links(name)


def partial_of(output: Path) -> Path:
    """Name the folder in which an output grows: ``OUTPUT.partial``."""
    return output.with_name(f"{output.name}.partial")


@contextmanager
def growing_folder(output: Path, check: Callable[[], object], ours: Iterable[str]) -> Iterator[Path]:
    """Make the folder in which an output grows, or find it again, and be the only one who works there.

    Parameters
    ----------
    output : path
    check : callable
        Raises where the output may not be written. It is called twice, since another process may finish the same
        output while this one waits at the door.
    ours : iterable of str
        Names with which our own files there begin, besides a dot.

    Raises
    ------
    BlockingIOError
        Another process writes it.
    ValueError
        It is no file; or the folder holds a file of somebody else's, which would be deleted with the folder.
    """
    target = followed(output)
    check()
    folder = partial_of(target)
    folder.mkdir(parents=True, exist_ok=True)
    with held(target, output):
        try:
            check()
            folder.mkdir(exist_ok=True)
            others = [file.name for file in folder.iterdir() if not file.name.startswith((".", *ours))]
            if others:
                raise ValueError(
                    f"{folder} holds {min(others)!r}, and is deleted when the output is complete: move that away."
                )
            yield folder
        finally:
            with suppress(OSError):  # it is gone, or holds something
                folder.rmdir()


def read_state(path: Path) -> dict[str, Any]:
    """Read what was noted of an output that grows; raises ValueError where that is damaged."""
    try:
        state = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} is damaged: delete the folder {path.parent} to begin anew.")
    return state
