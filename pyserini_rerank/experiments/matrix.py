"""The cells of a matrix of experiments: a checkpoint on a condition, where its run is, and what is known of it."""

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
        Where the runs are.
    files : path
        Where the official candidates are.
    options : mapping
        Further options of the reranking, by their names.
    measures : sequence of str
        Further measures; see `pyserini_rerank.runs.measures.parse_measures`.
    known : dict
        States of inputs that were looked up; cells may share it.
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
        # A run of one dtype is not taken for that of another.
        return self.folder / ".".join([self.condition.name, model, *self.options.get("dtype", "").split(), "run"])

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of `pyserini_rerank.rerank_run` that make the run."""
        arguments = self.condition.rerank_arguments(self.model, self.candidates, self.output, self.options)
        return {**arguments, "measures": [self.condition.measure, *self.measures]} if self.measures else arguments

    @property
    def command(self) -> list[str]:
        """The same as the arguments of `pyserini-rerank`."""
        return self.condition.rerank_command(self.arguments)

    def report(self) -> dict[str, Any] | None:
        """Read the report of the run; None where there is no run, another one than was reported on, or one of other
        inputs than there are now."""
        report = self._written()
        return None if report is None or self._changed(report) else report

    def check(self) -> None:
        """Check that no run is there that was made of other inputs; raises FileExistsError, which names them."""
        report = self._written()
        changed = self._changed(report) if report else []
        if changed:
            raise FileExistsError(
                f"{self.output} was made with another {', '.join(changed)}: delete it to run it again, or name another "
                "folder by --output."
            )

    def _written(self) -> dict[str, Any] | None:
        report = read_report(self.output) if self.output.is_file() else None
        if report is None:
            return None
        with self.output.open("rb") as file:
            same = file_digest(file, blake2b).hexdigest() == report.get("output", {}).get("blake2b")
        return report if same and "evaluation" in report else None

    def _changed(self, report: Mapping[str, Any]) -> list[str]:
        """Name the inputs that differ from those of a report. An input that is not on this machine counts as equal."""
        where, facts, official = self.condition.collection, self.condition.facts, self.condition.first_stage == OFFICIAL
        test_set, settings = self.condition.test_set, report["settings"]
        qrels = self._state("qrels", where.path(facts.get("qrels", test_set)))
        told = {
            "run": (settings.get("run"), self._state("file", str(self.candidates))),
            "model": (settings.get("model"), self._state("model", self.model)),
            "qrels": (report["evaluation"].get("state"), qrels),
            "level": (report["evaluation"]["level"], facts.get("level", 1)),
        }
        if not official:
            topics = self._state("topics", where.path(facts.get("topics", test_set)))
            texts = where.texts or where.path(where.collection or "")
            told["topics"] = settings.get("topics"), topics
            told["texts"] = settings.get("texts"), self._state("texts", texts)
        if "search" in self.condition.search:
            told["search"] = None, self._state("search", str(self.candidates))
        return [name for name, (then, now) in told.items() if now is not None and now != then]

    def _state(self, kind: str, name: str) -> str | None:
        """Tell the state of an input; None where it is not here."""
        if (kind, name) not in self.known:
            words = self.condition.search_command(self.candidates) if kind == "search" else []
            self.known[kind, name] = changed_search(self.candidates, words) if words else _state_of(kind, name)
        return self.known[kind, name]

    def row(self) -> dict[str, Any]:
        """What a report says of the cell: the published figures, and the measured ones where it was run."""
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
        figures, others = figures[condition.measure], {name: of["run"] for name, of in figures.items()}
        counts = report["counts"]
        row |= {
            "state": "done",
            "first_stage_measured": figures.get("baseline"),
            "measured": figures["run"],
            "p": figures.get("p"),
            "queries": report["evaluation"]["queries"],
            "pairs": counts["pairs"],
            "cut": counts["cut_passages"] / counts["pairs"],
            "docs_per_second": report["pairs_per_second"] or None,  # 0 where all scores were known
            **{name: report.get(name) for name in ("device", "dtype", "max_length", "texts", "finished")},
            "measures": {name: others[name] for name in self._further()},
            "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        }
        if row["published"]:
            row["difference"] = row["measured"] - row["published"]
        return row

    def _further(self) -> list[str]:
        level = self.condition.facts.get("level", 1)
        return [str(measure) for measure in parse_measures(self.measures, level)] if self.measures else []

    def _figures(self, report: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Give the figures by measure: the report's, and those that it was not asked for when the run was made."""
        told = {figures["measure"]: figures for figures in report["evaluation"]["measures"]}
        lacking = [name for name in (self.condition.measure, *self._further()) if name not in told]
        if lacking:
            values, _ = evaluate(read_run(self.output), load_qrels(self.arguments["qrels"]), parse_measures(lacking))
            told |= {figures["measure"]: figures for figures in compare(values)}
        return told


def changed_search(run: Path, words: Sequence[str]) -> str | None:
    """Compare a search with the one that has made a first stage's run: None, or a phrase that says how they differ.

    Parameters
    ----------
    run : path
    words : sequence of str
        See `Condition.search_command`.
    """
    report = read_report(run)
    if report is None:  # somebody has put it there
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
    """Check that a first stage's run is of a search, as `changed_search`; raises FileExistsError."""
    how = changed_search(run, words)
    if how:
        raise FileExistsError(f"{run} was made {how}: delete it to search again, or name another folder by --output.")


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
    except (OSError, ValueError):  # a run of it would say why
        return None


#: What is known of a cell only once it was run.
MEASURED = (
    "first_stage_measured", "measured", "difference", "p", "queries", "pairs", "cut", "docs_per_second", "device",
    "dtype", "max_length", "texts", "finished", "versions", "measures",
)  # fmt: skip
