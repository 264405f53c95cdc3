"""A file that is written over hours: what is done is kept, and it appears under its name when it is complete."""

import json
import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..files import append, replace


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
    path : Path
        The output as it is so far.
    commits : int
        How many parts are done.
    notes : dict
        What the last commit noted.
    """

    def __init__(self, output: str | os.PathLike[str], settings: dict[str, Any], *, overwrite: bool = False) -> None:
        self.output = Path(output)
        if self.output.exists() and not overwrite:
            raise FileExistsError(f"{output} exists: pass --overwrite to replace it, or name another output.")
        self.folder = partial_of(self.output)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._state = self.folder / "state.json"
        self.path = self.folder / "output"
        self.settings = json.loads(json.dumps(settings))
        self.commits, size = 0, 0
        self.notes: dict[str, Any] = {}
        # Without the output the work was finished, and killed before it had tidied up.
        if self._state.is_file() and self.path.is_file():
            self.commits, self.notes, size = self._committed()
        self._file = self.path.open("ab")
        self._file.truncate(size)  # what was written after the last commit

    def _committed(self) -> tuple[int, dict[str, Any], int]:
        state = json.loads(self._state.read_text())
        different = [name for name in self.settings if self.settings[name] != state["settings"].get(name)]
        if different:
            raise ValueError(
                f"{self.folder} was begun with another {', '.join(different)}: delete it to begin anew, or go on "
                "with the same command."
            )
        if self.path.stat().st_size < state["bytes"]:
            raise ValueError(f"{self.path} has lost some of what was committed: delete {self.folder} to begin anew.")
        return state["commits"], state["notes"], state["bytes"]

    def commit(self, lines: Iterable[str], notes: dict[str, Any]) -> None:
        """Append lines to the output; they and the notes are kept, or neither.

        Raises
        ------
        OSError
            The disk is full, or the like; what was committed before stays.
        """
        append(self._file, "".join(lines).encode())
        self.commits += 1
        self.notes = notes
        state = {"settings": self.settings, "commits": self.commits, "bytes": self._file.tell(), "notes": notes}
        replace(self._state, json.dumps(state))

    def finish(self, report: dict[str, Any]) -> dict[str, Any]:
        """Put the output under its name, and a report beside it as ``OUTPUT.json``.

        Returns
        -------
        dict
            The report, with the output's hash, the time and the settings.
        """
        append(self._file, b"")  # what somebody else has written to it, too
        self._file.close()
        with self.path.open("rb") as file:
            digest = file_digest(file, blake2b).hexdigest()
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        report = {"output": {"blake2b": digest}, "finished": finished, "settings": self.settings, **report}
        replace(self.output.with_name(f"{self.output.name}.json"), json.dumps(report, indent=2) + "\n")
        os.replace(self.path, self.output)
        shutil.rmtree(self.folder)
        return report

    def abandon(self) -> None:
        """Leave nothing behind of a work that cannot be done."""
        self._file.close()
        shutil.rmtree(self.folder)


def partial_of(output: Path) -> Path:
    """Name the folder in which an output grows."""
    return output.with_name(f"{output.name}.partial")
