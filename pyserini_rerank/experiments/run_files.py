"""The folder of an experiment: a run a system, the scores that are known, and what is known of all of it."""

import json
import math
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from ..files.writing import held, replace
from ..retrieval.hits import Hits
from ..runs.run_file import RunHit, check_name, lines

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
        if output is None:
            output = tempfile.mkdtemp(prefix="pyserini-rerank-")
            weakref.finalize(self, shutil.rmtree, output, ignore_errors=True)
        self.folder = Path(output).expanduser().absolute()
        if self.folder.exists() and not self.folder.is_dir():
            raise NotADirectoryError(f"output={os.fspath(output)!r} is a file: name a folder.")
        self.paths = {name: self.folder / file_name(number, name) for number, name in enumerate(names, 1)}
        self.scores = self.folder / "scores"
        self._stack = ExitStack()
        self._files: dict[str, TextIO] = {}

    def __enter__(self) -> "RunFiles":
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._stack as stack:
            stack.enter_context(held(self.folder / REPORT, self.folder))
            for name, path in self.paths.items():
                stack.callback(_growing(path).unlink, missing_ok=True)
                self._files[name] = stack.enter_context(_growing(path).open("w", encoding="utf-8"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        self._files.clear()

    def check(self, settings: dict[str, Any]) -> None:
        """Check that the folder has no other experiment; raises FileExistsError, which names what differs."""
        path = self.folder / REPORT
        try:
            then = json.loads(path.read_bytes())["settings"]
            different = [name for name in BINDING if then.get(name) != settings[name]]
        except FileNotFoundError:
            return
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            different = ["format"]
        if different:
            raise FileExistsError(
                f"{self.folder} holds an experiment of another {', '.join(different)}: name another folder by output=."
            )

    def write(self, name: str, hits: Mapping[str, Hits]) -> None:
        """Add topics, each with its hits, to a system's run.

        Each document is there once. Where the scores do not fall, minus the rank stands for them, so that whoever reads
        the run sees the order that was returned.

        Raises
        ------
        ValueError
            A docid has white space in it, which no TREC run can hold.
        """
        for qid, of_query in hits.items():
            scores: dict[str, float] = {}
            for hit in of_query:
                check_name(hit.docid, "the docid", "index the document under another one")
                scores.setdefault(hit.docid, float(hit.score))
            if not _fall(scores.values()):
                scores = {docid: -float(rank) for rank, docid in enumerate(scores, 1)}
            ranked = (RunHit(docid, score) for docid, score in scores.items())
            self._files[name].writelines(lines(qid, ranked, self.paths[name].stem))

    def finish(self) -> None:
        """Put the runs under their names."""
        for name, path in self.paths.items():
            self._files[name].close()
            os.replace(_growing(path), path)

    def copy(self, target: Path) -> Path:
        """Copy the runs and what is known of the experiment to another folder; give that."""
        target.mkdir(parents=True, exist_ok=True)
        for path in (*self.paths.values(), self.folder / REPORT, self.folder / VALUES):
            if not (target / path.name).exists() or not path.samefile(target / path.name):
                shutil.copy(path, target)
        return target


def write_report(folder: Path, report: dict[str, Any], values: Sequence[str]) -> None:
    """Write what is known of an experiment, and the lines of every query's values."""
    replace(folder / VALUES, "".join(values))
    replace(folder / REPORT, json.dumps(report, indent=2) + "\n")


def file_name(number: int, system: str) -> str:
    """Name a system's run: its number, and of its name what a file system takes anywhere."""
    return f"{number}-{re.sub(r'[^A-Za-z0-9.@=+-]+', '_', system).strip('._')[:80]}.run"


def _fall(scores: Iterable[float]) -> bool:
    values = list(scores)
    return all(map(math.isfinite, values)) and all(before >= after for before, after in pairwise(values))


def _growing(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
