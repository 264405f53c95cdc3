"""The cells of the matrix of `reproduce`: a checkpoint on a condition, with its run and its figures."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b, file_digest
from pathlib import Path
from typing import Any

from ..files.growing import partial_of
from ..files.reading import digest
from ..runs import input_states
from ..runs.evaluation import compare, evaluate, read_run
from ..runs.measures import parse_measures
from ..runs.resumable_output import read_report
from ..runs.topics import load_qrels, load_topics
from ..scoring.checkpoints.catalogue import catalogue
from .conditions import OFFICIAL, Condition


@dataclass(frozen=True)
class Cell:
    """A checkpoint that reranks a condition's candidates.

    Parameters
    ----------
    folder : path
        The folder of the runs.
    files : path
        The folder of the official candidates.
    options : mapping
        Further arguments of `rerank_run`, by their names.
    measures : sequence of str
        Further measures; see `pyserini_rerank.runs.measures.parse_measures`.
    known : dict
        The states of inputs that were computed already. Cells may share it.
    """

    condition: Condition
    model: str
    folder: Path
    files: Path
    options: Mapping[str, str]
    measures: Sequence[str] = ()
    known: dict[Any, str | None] = field(default_factory=dict, compare=False)

    @property
    def candidates(self) -> Path:
        return self.condition.candidates(self.folder, self.files)

    @property
    def output(self) -> Path:
        model = self.model.strip(os.sep).replace(os.sep, "_")
        # The dtype is part of the name, so that runs of two dtypes are not confused.
        return self.folder / ".".join([self.condition.name, model, *self.options.get("dtype", "").split(), "run"])

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `pyserini_rerank.rerank_run` that make the run."""
        arguments = self.condition.rerank_arguments(self.model, self.candidates, self.output, self.options)
        return {**arguments, "measures": [self.condition.measure, *self.measures]} if self.measures else arguments

    @property
    def command(self) -> list[str]:
        """The arguments of `pyserini-rerank` that make the run."""
        return self.condition.rerank_command(self.arguments)

    def report(self) -> dict[str, Any] | None:
        """Read the report of the run. It is None if there is no run, if the run is not the one of the report, or if the
        inputs have changed since."""
        report = self._report_of_run()
        return None if report is None or self._changed(report) else report

    def check(self) -> None:
        """Check that there is no run of other inputs; raises FileExistsError, which names these inputs."""
        report = self._report_of_run()
        changed = self._changed(report) if report else []
        if changed:
            raise FileExistsError(
                f"{self.output} was made with another {', '.join(changed)}: delete it to run it again, or name another "
                "folder by --output."
            )

    def _report_of_run(self) -> dict[str, Any] | None:
        """Read the report of the run that is there, with an evaluation, whatever its inputs were."""
        report = read_report(self.output) if self.output.is_file() else None
        if report is None:
            return None
        with self.output.open("rb") as file:
            same = file_digest(file, blake2b).hexdigest() == report.get("output", {}).get("blake2b")
        return report if same and "evaluation" in report else None

    def _changed(self, report: Mapping[str, Any]) -> list[str]:
        """Name the inputs that have changed since a report. An input that is not here counts as unchanged."""
        documents, facts = self.condition.collection, self.condition.facts
        test_set, settings = self.condition.test_set, report["settings"]
        qrels = self._state("qrels", documents.path(facts.get("qrels", test_set)))
        states = {
            "run": (settings.get("run"), self._state("file", str(self.candidates))),
            "model": (settings.get("model"), self._state("model", self.model)),
            "qrels": (report["evaluation"].get("state"), qrels),
            "level": (report["evaluation"]["level"], facts.get("level", 1)),
        }
        if self.condition.first_stage != OFFICIAL:
            topics = self._state("topics", documents.path(facts.get("topics", test_set)))
            texts = documents.texts or documents.path(documents.collection or "")
            states["topics"] = settings.get("topics"), topics
            states["texts"] = settings.get("texts"), self._state("texts", texts)
        if "search" in self.condition.search:
            states["search"] = None, self._state("search", str(self.candidates))
        return [name for name, (then, now) in states.items() if now is not None and now != then]

    def _state(self, kind: str, name: str) -> str | None:
        """Give the state of an input; None if it is not on this machine."""
        if (kind, name) not in self.known:
            words = self.condition.search_command(self.candidates) if kind == "search" else []
            self.known[kind, name] = changed_search(self.candidates, words) if words else _state_of(kind, name)
        return self.known[kind, name]

    def row(self) -> dict[str, Any]:
        """Give the cell's row of the report: the published figures and, if the cell was run, the measured ones."""
        condition, card = self.condition, catalogue().get(self.model)
        row: dict[str, Any] = {
            "checkpoint": self.model,
            "test_set": condition.test_set,
            "first_stage": condition.first_stage,
            "depth": condition.depth,
            "measure": condition.measure,
            "first_stage_published": condition.published_first_stage(),
            "published": condition.published(self.model),
            "docs_per_second_published": card.published.get("docs_per_second") if card else None,
            "state": "begun" if partial_of(self.output).exists() else "missing",
            **dict.fromkeys(MEASURED),
        }
        report = self.report()
        if report is None:
            return row
        figures = self._figures(report)
        figures, run_means = (
            figures[condition.measure],
            {name: of_measure["run"] for name, of_measure in figures.items()},
        )
        counts = report["counts"]
        row |= {
            "state": "done",
            "first_stage_measured": figures.get("baseline"),
            "measured": figures["run"],
            "p": figures.get("p"),
            "queries": report["evaluation"]["queries"],
            "pairs": counts["pairs"],
            "cut": counts["cut_passages"] / counts["pairs"],
            "docs_per_second": report["pairs_per_second"] or None,  # it is 0 if all scores were known
            **{name: report.get(name) for name in ("device", "dtype", "max_length", "texts", "finished")},
            "measures": {name: run_means[name] for name in self._further_measures()},
            "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        }
        if row["published"]:
            row["difference"] = row["measured"] - row["published"]
        return row

    def _further_measures(self) -> list[str]:
        level = self.condition.facts.get("level", 1)
        return [str(measure) for measure in parse_measures(self.measures, level)] if self.measures else []

    def _figures(self, report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Give the figures by measure: those of the report, and those of measures that it lacks."""
        by_measure = {figures["measure"]: figures for figures in report["evaluation"]["measures"]}
        lacking = [name for name in (self.condition.measure, *self._further_measures()) if name not in by_measure]
        if lacking:
            # Their names have the level already.
            values, _ = evaluate(read_run(self.output), load_qrels(self.arguments["qrels"]), parse_measures(lacking))
            by_measure |= {figures["measure"]: figures for figures in compare(values)}
        return by_measure


def changed_search(run: Path, words: Sequence[str]) -> str | None:
    """Compare a search with the search that made a first stage's run; give None, or a phrase with the difference.

    Parameters
    ----------
    run : path
    words : sequence of str
        See `Condition.search_command`.
    """
    report = read_report(run)
    if report is None:  # the user has put the run there
        return None
    settings = report["settings"]
    _, kind, *arguments = words
    then, now = settings.get("inputs", {}), input_states.of_words(arguments)

    def without_places(arguments: Sequence[str]) -> list[str | None]:
        """Leave out the names of inputs and of the output (the last two words): files may have been moved."""
        return [None if word in then or word in now else word for word in arguments[:-2]]

    if settings.get("search") != kind or without_places(settings.get("arguments", ())) != without_places(arguments):
        return "by another search"
    return "with other topics, or of another index" if set(now.values()) - set(then.values()) else None


def check_search(run: Path, words: Sequence[str]) -> None:
    """Check that a first stage's run was made by a search; raises FileExistsError. See also `changed_search`."""
    difference = changed_search(run, words)
    if difference:
        raise FileExistsError(
            f"{run} was made {difference}: delete it to search again, or name another folder by --output."
        )


def _state_of(kind: str, name: str) -> str | None:
    try:
        if kind == "qrels":
            return input_states.of_value(load_qrels(name))
        if kind == "topics":
            return input_states.of_value(load_topics(name))
        if kind == "model":
            return input_states.of_model(name)
        if os.path.isdir(name):
            return input_states.of_index(name)
        return digest(name) if os.path.isfile(name) else None
    except (OSError, ValueError):  # reranking would raise the error
        return None


#: The columns of a row that are known only after the cell was run.
MEASURED = (
    "first_stage_measured", "measured", "difference", "p", "queries", "pairs", "cut", "docs_per_second", "device",
    "dtype", "max_length", "texts", "finished", "versions", "measures",
)  # fmt: skip
