"""A file that is written over hours: what is done is kept, and it appears under its name when it is complete."""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..files.growing import followed, growing_folder, partial_of, read_state
from ..files.writing import append, replace, target_of
from ..scoring.score_store import DATA, ScoreStore

STATE = "state.json"
#: What the names of the files in its folder begin with.
OURS = (STATE, "output", "scores", "first-stage", "candidates.tsv")


class ResumableOutput:
    """An output of lines that grows in its folder, and the report on it. One process works on it at a time.

    As a context it lets others go on afterwards, and leaves nothing behind where nothing was done before an error.

    Parameters
    ----------
    output : path
        Where the file is to be. A link stays, and what it points to is written.
    settings : dict
        All that the output depends on, as JSON values; other values are told apart by their text. A folder that
        was begun with other settings is refused.
    overwrite : bool
        Replace an output that exists.

    Attributes
    ----------
    path : Path
        The output as it is so far.
    scores : Path
        A folder for the scores of what is not committed yet.
    commits : int
        How many parts are done.
    notes : dict
        What the last commit noted.

    Raises
    ------
    FileExistsError
        The output is there.
    ValueError
        It was begun with other settings, or has lost something since.
    As `pyserini_rerank.files.growing.growing_folder`.
    """

    def __init__(self, output: str | os.PathLike[str], settings: dict[str, Any], *, overwrite: bool = False) -> None:
        self.output = Path(output)
        self._target = followed(self.output)
        self.folder = partial_of(self._target)
        self._state = self.folder / STATE
        self.path = self.folder / "output"
        self.scores = self.folder / "scores"
        self.settings = json.loads(json.dumps(settings, default=str))
        self.commits, size = 0, 0
        self.notes: dict[str, Any] = {}
        with ExitStack() as stack:
            check = partial(check_is_new, self.output, overwrite=overwrite)
            stack.enter_context(growing_folder(self.output, check, OURS))
            try:
                target_of(report_of(self.output))
                # Without the output the work was finished, and killed before it had tidied up.
                if self._state.is_file() and self.path.is_file():
                    self.commits, self.notes, size = self._committed()
                self._file = stack.enter_context(self.path.open("ab"))
                self._file.truncate(size)  # what was written after the last commit
            except BaseException:
                self._tidy()
                raise
            self._held = stack.pop_all()

    def __enter__(self) -> "ResumableOutput":
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind:
            self._tidy()
        self.close()

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
        replace(report_of(self.output), json.dumps(report, indent=2) + "\n")
        os.replace(self.path, self._target)
        shutil.rmtree(self.folder)
        return report

    def abandon(self) -> None:
        """Leave nothing behind of a work that cannot be done."""
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Let others go on; what was committed stays."""
        self._held.close()

    def _tidy(self) -> None:
        if self.folder.exists() and not self._has_something():
            self.abandon()

    def _committed(self) -> tuple[int, dict[str, Any], int]:
        state = read_state(self._state)
        then, now = state["settings"], self.settings
        different = [name for name in now | then if now.get(name) != then.get(name)]
        if different:
            raise ValueError(
                f"{self.folder} was begun with another {', '.join(different)}: delete its file `output` to begin anew "
                "with the scores that are known, or go on with the same command."
            )
        if self.path.stat().st_size < state["bytes"]:
            raise ValueError(f"{self.path} has lost some of what was committed: delete it to begin anew.")
        return state["commits"], state["notes"], state["bytes"]

    def _has_something(self) -> bool:
        """Is there anything that would have to be done again: a commit, here or of a work within, or a score?"""
        if any(self.folder.rglob(STATE)):
            return True
        for file in self.folder.glob(f"scores*/{DATA}"):
            try:
                store = ScoreStore(file.parent)
                count = len(store)
                store.close()
            except (OSError, ValueError):  # it is damaged, and not for us to delete
                return True
            if count:
                return True
        return False


def check_is_new(output: Path, *, overwrite: bool = False) -> Path:
    """Check that an output may be written, and give the file that it is behind all links; raises as
    `ResumableOutput` does."""
    target = followed(output)
    if target.is_dir():
        raise ValueError(f"{output} is a folder: name a file.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{output} exists: pass overwrite=True to replace it, or name another output.")
    return target


def report_of(output: Path) -> Path:
    """Name the file with the report on an output."""
    return output.with_name(f"{output.name}.json")


def read_report(output: Path) -> dict[str, Any] | None:
    """Read the report on an output; None where there is none.

    Raises
    ------
    ValueError
        What is there is no report.
    """
    path = report_of(output)
    try:
        report = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        report = None
    if isinstance(report, dict) and isinstance(report.get("settings"), dict):
        return report
    raise ValueError(f"{path} is no report on {output.name}: move both away.")
