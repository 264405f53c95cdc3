"""Outputs that take hours to write: each grows in a folder beside its name, and takes its place when it is complete.

Data that has been committed survives if the process is killed, and the next process goes on behind it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .writing import behind_links, held, is_stream, replace

#: The file with the settings of an output in a folder.
STATE = "state.json"


def followed(path: str | os.PathLike[str]) -> Path:
    """Follow the links of an output that grows beside its name; only a file can grow.

    Raises
    ------
    ValueError
        The output is a pipe, a device or the like, or called ``-``.
    """
    name = os.fspath(path)
    if name == "-" or is_stream(name):
        raise ValueError(f"{name} is no file, and an output that can be interrupted needs one: name a file.")
    return behind_links(name)


def partial_of(output: Path) -> Path:
    """Name the folder in which an output grows: ``OUTPUT.partial``."""
    return output.with_name(f"{output.name}.partial")


@contextmanager
def growing_folder(output: Path, check: Callable[[], object], prefixes: Iterable[str]) -> Iterator[Path]:
    """Make or find the folder in which an output grows, and lock it against other processes.

    Parameters
    ----------
    output : path
    check : callable
        Raises if the output may not be written. It is called twice, since another process may finish the same output
        before this one has the lock.
    prefixes : iterable of str
        The first letters of the names of files that belong in the folder. Names that begin with a dot belong there,
        too.

    Raises
    ------
    BlockingIOError
        Another process writes the output.
    ValueError
        The output is no file; or the folder holds a file that does not belong there, and would be deleted with the
        folder.
    """
    target = followed(output)
    check()
    folder = partial_of(target)
    folder.mkdir(parents=True, exist_ok=True)
    with held(target, output):
        try:
            check()
            folder.mkdir(exist_ok=True)
            foreign = [file.name for file in folder.iterdir() if not file.name.startswith((".", *prefixes))]
            if foreign:
                raise ValueError(
                    f"{folder} holds {min(foreign)!r}, and is deleted when the output is complete: move that file away."
                )
            yield folder
        finally:
            with suppress(OSError):  # the folder is gone, or not empty
                folder.rmdir()


def read_state(path: Path) -> dict[str, Any]:
    """Read the state of an output that grows; raises ValueError if the file is damaged."""
    try:
        state = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        state = None
    if not isinstance(state, dict):
        raise ValueError(f"{path} is damaged: delete the folder {path.parent} to begin anew.")
    return state


def check_is_new_folder(output: Path) -> None:
    """Check that there is nothing where a folder is to be; raises FileExistsError."""
    if output.exists() or output.is_symlink():
        raise FileExistsError(f"{output} exists: name another folder, or delete this one.")


def differing(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the settings in which an output that was begun differs from the one that is to go on."""
    return [name for name in {**now, **then} if now.get(name) != then.get(name)]


def begin(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of an output that is begun in its folder, or check that one that goes on has the same.

    Parameters
    ----------
    folder : path
    settings : mapping
        Everything that the output depends on, as JSON values; any other value counts by its string.

    Raises
    ------
    ValueError
        The output was begun with other settings.
    """
    state = folder / STATE
    now = json.loads(json.dumps(settings, default=str))
    if not state.exists():
        replace(state, json.dumps(now))
        return
    if different := differing(read_state(state), now):
        raise ValueError(
            f"{folder} was begun with another {', '.join(different)}: delete it to begin anew, or go on with the same "
            "settings."
        )
