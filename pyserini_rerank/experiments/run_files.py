"""The folder of an experiment: a run a system, the scores that are known, and what is known of all of it."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from ..files.writing import held, replace
from ..retrieval.hits import Hits
from ..runs.run_file import check_name, lines

#: What is known of an experiment: settings, versions, means and costs.
REPORT = "experiment.json"
#: Every query's values, as TSV.
VALUES = "per_query.tsv"
#: Settings that a folder's runs belong to.
BINDING = ("topics", "qrels", "depth", "systems")


class RunFiles:
    """Writes an experiment's runs, under their names once all of them are complete.

    Parameters
    ----------
    output : path, optional
        The folder; by default a temporary one, which lives as long as the result.
    names : sequence of str
        The systems.

    Raises
    ------
    BlockingIOError
        Another process writes there.
    """

    def __init__(self, output: str | os.PathLike[str] | None, names: Sequence[str]) -> None:
        self._stack = ExitStack()
        self.temporary = None
        if output is None:
            self.temporary = tempfile.TemporaryDirectory(prefix="pyserini-rerank-")
            output = self.temporary.name
        self.folder = Path(output).expanduser()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"output={os.fspath(output)!r} is a file: name a folder.")
        self.paths = {name: self.folder / file_name(number, name) for number, name in enumerate(names, 1)}
        self.scores = self.folder / "scores"
        self._files: dict[str, TextIO] = {}

    def __enter__(self) -> "RunFiles":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stack.enter_context(held(self.folder / REPORT, self.folder))
        for name, path in self.paths.items():
            self._files[name] = self._stack.enter_context(_growing(path).open("w", encoding="utf-8"))
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        for path in self.paths.values():
            _growing(path).unlink(missing_ok=True)

    def check(self, settings: dict[str, Any]) -> None:
        """Check that the folder has no other experiment; raises FileExistsError, which names what differs."""
        path = self.folder / REPORT
        try:
            then = json.loads(path.read_bytes())["settings"]
            different = [name for name in BINDING if then.get(name) != settings[name]]
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            different = ["format"]
        if different:
            raise FileExistsError(
                f"{self.folder} holds an experiment of another {', '.join(different)}: name another folder by output=."
            )

    def write(self, name: str, hits: Mapping[str, Hits]) -> None:
        """Add topics, each with its hits, to a system's run.

        Raises
        ------
        ValueError
            A qid or a docid has white space in it, which no TREC run can hold.
        """
        for qid, of_query in hits.items():
            check_name(qid, "the qid", "rename the topic")
            for hit in of_query:
                check_name(hit.docid, "the docid", "index the document under another one")
            self._files[name].writelines(lines(qid, of_query, self.paths[name].stem))

    def finish(self) -> None:
        """Put the runs under their names."""
        for name, path in self.paths.items():
            self._files[name].close()
            os.replace(_growing(path), path)


def write_report(folder: Path, report: dict[str, Any], values: Sequence[str]) -> None:
    """Write what is known of an experiment, and the lines of every query's values."""
    replace(folder / VALUES, "".join(values))
    replace(folder / REPORT, json.dumps(report, indent=2) + "\n")


def copy(folder: Path, target: Path) -> Path:
    """Copy an experiment's files to another folder, without the scores; give that folder."""
    target.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        if file.is_file() and not file.name.startswith("."):
            shutil.copy(file, target)
    return target


def file_name(number: int, system: str) -> str:
    """Name a system's run: its number, and of its name what a file system takes anywhere."""
    return f"{number}-{re.sub(r'[^A-Za-z0-9.@=+-]+', '_', system).strip('._')[:80]}.run"


def _growing(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
