"""A file that is written over hours: what is done is kept, and it appears under its name when it is complete."""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class Work:
    """The folder beside an output in which it grows: ``OUTPUT.partial``.

    What has been committed is there for good, whatever kills the process; the next one goes on behind it.

    Parameters
    ----------
    output : path
        Where the file is to be.
    settings : dict
        All that the output depends on, as JSON values. A folder that was begun with other settings is refused.
    overwrite : bool
        Replace an output that exists.

    Attributes
    ----------
    commits : int
        How many parts are done.
    notes : dict
        What the last commit noted.
    """

    def __init__(self, output: str | os.PathLike[str], settings: dict[str, Any], *, overwrite: bool = False) -> None:
        self.output = Path(output)
        if self.output.exists() and not overwrite:
            raise FileExistsError(f"{output} exists: pass --overwrite to replace it, or name another output.")
        self.folder = self.output.with_name(f"{self.output.name}.partial")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state = self.folder / "state.json"
        self.commits, self.notes, size = 0, {}, 0
        settings = json.loads(json.dumps(settings))
        if self._state.is_file():
            state = json.loads(self._state.read_text())
            if state["settings"] != settings:
                different = [name for name in settings if settings[name] != state["settings"].get(name)]
                raise ValueError(
                    f"{self.folder} was begun with another {', '.join(different)}: delete it to begin anew, or go on "
                    "with the same command."
                )
            self.commits, self.notes, size = state["commits"], state["notes"], state["bytes"]
        self.settings = settings
        self._file = (self.folder / "output").open("ab")
        self._file.truncate(size)  # what was written after the last commit

    def commit(self, lines: Iterable[str], notes: dict[str, Any]) -> None:
        """Append lines to the output; they and the notes are kept, or neither."""
        self._file.write("".join(lines).encode())
        _sync(self._file)
        self.commits += 1
        self.notes = notes
        state = {"settings": self.settings, "commits": self.commits, "bytes": self._file.tell(), "notes": notes}
        _replace(self._state, json.dumps(state))

    def finish(self, report: dict[str, Any]) -> None:
        """Put the output under its name, and a report beside it as ``OUTPUT.json``."""
        self._file.close()
        _replace(self.output.with_name(f"{self.output.name}.json"), json.dumps(report, indent=2) + "\n")
        os.replace(self.folder / "output", self.output)
        shutil.rmtree(self.folder)


def _replace(path: Path, text: str) -> None:
    """Write a file so that there is the old one or the new one, and never a part of it."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(text.encode())
        _sync(file)
    os.replace(temporary, path)


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
