"""An output file that takes hours to write: finished parts are kept, and the file gets its name when it is complete."""

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

from ..files.growing import STATE, differing, followed, growing_folder, partial_of, read_state
from ..files.writing import append, replace, target_of
from ..scoring.score_store import DATA, ScoreStore

#: Beginnings of the names of all files in the folder of a growing output.
FILE_PREFIXES = (STATE, "output", "scores", "first-stage", "candidates.tsv")


class ResumableOutput:
    """An output of lines that grows in a folder of its own, and the report on it. One process writes it at a time.

    The end of the context unlocks the folder. An error before the first commit leaves nothing behind.

    Parameters
    ----------
    output : path
        The file to write. A link stays, and the file that it points to is written.
    settings : dict
        Everything that the output depends on, as JSON values; any other value counts by its string. A folder that was
        begun with other settings is refused.
    overwrite : bool
        Replace an output that exists.

    Attributes
    ----------
    path : Path
        The output so far.
    scores : Path
        A folder for the scores of the part that is not committed yet.
    commits : int
        The number of committed parts.
    notes : dict
        The notes of the last commit.

    Raises
    ------
    FileExistsError
        The output exists already.
    ValueError
        It was begun with other settings, or a committed part is lost.
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
            stack.enter_context(growing_folder(self.output, check, FILE_PREFIXES))
            try:
                target_of(report_of(self.output))
                # If only the state is left, the process was killed while it tidied up a finished output.
                if self._state.is_file() and self.path.is_file():
                    self.commits, self.notes, size = self._committed()
                self._file = stack.enter_context(self.path.open("ab"))
                self._file.truncate(size)  # drops lines that were written after the last commit
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
        """Append lines to the output. Either both the lines and the notes are kept, or neither.

        Raises
        ------
        OSError
            The lines cannot be written, for example on a full disk. Earlier commits stay.
        """
        append(self._file, "".join(lines).encode())
        self.commits += 1
        self.notes = notes
        state = {"settings": self.settings, "commits": self.commits, "bytes": self._file.tell(), "notes": notes}
        replace(self._state, json.dumps(state))

    def finish(self, report: dict[str, Any]) -> dict[str, Any]:
        """Give the output its name, and write the report beside it as ``OUTPUT.json``.

        Returns
        -------
        dict
            The report, with the output's hash, the time and the settings.
        """
        append(self._file, b"")  # brings the bytes of any other writer to the disk as well
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
        """Delete the folder of an output that cannot be completed."""
        shutil.rmtree(self.folder)

    def close(self) -> None:
        """Unlock the folder; committed parts stay."""
        self._held.close()

    def _tidy(self) -> None:
        if self.folder.exists() and not self._is_worth_keeping():
            self.abandon()

    def _committed(self) -> tuple[int, dict[str, Any], int]:
        state = read_state(self._state)
        if different := differing(state["settings"], self.settings):
            raise ValueError(
                f"{self.folder} was begun with another {', '.join(different)}: delete its file `output` to begin anew "
                "with the scores that are known, or go on with the same command."
            )
        if self.path.stat().st_size < state["bytes"]:
            raise ValueError(f"{self.path} has lost lines that were committed: delete it to begin anew.")
        return state["commits"], state["notes"], state["bytes"]

    def _is_worth_keeping(self) -> bool:
        """Tell whether the folder has a commit, here or of an output within it, or a score."""
        if any(self.folder.rglob(STATE)):
            return True
        for file in self.folder.glob(f"scores*/{DATA}"):
            try:
                store = ScoreStore(file.parent)
                count = len(store)
                store.close()
            except (OSError, ValueError):  # it is damaged, and the user decides about it
                return True
            if count:
                return True
        return False


def check_is_new(output: Path, *, overwrite: bool = False) -> Path:
    """Check that an output may be written, and give the file at the end of all links; raises as `ResumableOutput`."""
    target = followed(output)
    if target.is_dir():
        raise ValueError(f"{output} is a folder: name a file.")
    if target.exists() and not overwrite:
        raise FileExistsError(f"{output} exists: pass overwrite=True to replace it, or name another output.")
    return target


def report_of(output: Path) -> Path:
    """Give the path of the report on an output."""
    return output.with_name(f"{output.name}.json")


def read_report(output: Path) -> dict[str, Any] | None:
    """Read the report on an output; None if there is no such file.

    Raises
    ------
    ValueError
        The file is no report.
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
