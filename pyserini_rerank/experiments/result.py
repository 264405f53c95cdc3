"""The result of an experiment: means, tests against a baseline and costs, as tables, figures and files."""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..runs import plots
from ..runs.depth_curve import depth_curve, read_queries
from ..runs.evaluation import Values
from ..runs.significance import CORRECTIONS, TESTS
from ..runs.topics import Qrels
from .run_files import RunFiles, write_report
from .tables import Cell, Row, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from rich.console import Group

#: The last words of the columns that hold whole numbers.
COUNTED = ("wins", "losses", "ties", "pairs", "scored", "cut_passages", "empty")
#: A corrected p below it is marked.
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Cost:
    """The cost of one system over all topics."""

    pairs: int = 0
    """Pairs of a query and a text that its rerankers scored, those of all stages of a cascade together."""
    scored: int = 0
    """The pairs that differ."""
    cut_passages: int = 0
    empty: int = 0
    """Documents without any text."""
    seconds: float | None = None
    """For searching, reading texts and scoring, as if it shared nothing with other systems. The search is not counted
    where its hits are a run file's or in hand; None where nothing is known."""
    pairs_per_second: float | None = None

    def texts(self, topics: int) -> list[str]:
        """Give the texts of the table's columns; empty where nothing is known, or reranked."""
        time = "" if self.seconds is None else f"{1000 * self.seconds / topics:,.1f}"
        if not self.pairs:
            return ["", time, "", ""]
        rate = "" if self.pairs_per_second is None else f"{self.pairs_per_second:,.1f}"
        return [f"{self.pairs:,}", time, rate, f"{self.cut_passages / self.pairs:.1%}"]


class Difference(NamedTuple):
    """A system beside the baseline, by one measure."""

    p: float | None
    """None where no topic differs."""
    corrected: float | None
    wins: int
    losses: int
    ties: int

    @property
    def significant(self) -> bool:
        return self.corrected is not None and self.corrected < SIGNIFICANT


class ExperimentResult:
    """A table with one row a system: a notebook and a terminal show it.

    Attributes
    ----------
    values : dict
        system -> measure -> qid -> value.
    systems, measures : list of str
    costs : dict
        system -> `Cost`.
    baseline : str, optional
    folder : Path
        The runs, ``experiment.json`` and ``per_query.tsv``.
    runs : dict
        system -> the path of its TREC run in the folder.
    settings : dict
        The topics, judgements, first stages and checkpoints.
    """

    def __init__(
        self,
        values: dict[str, Values],
        costs: dict[str, Cost],
        runs: RunFiles,
        settings: dict[str, Any],
        qrels: Qrels,
        first_stages: dict[str, str],
        *,
        baseline: str | None,
        test: str,
        correction: str,
    ) -> None:
        self.values, self.costs, self.settings, self._qrels = values, costs, settings, qrels
        self._first_stages = first_stages
        self.systems = list(values)
        self.measures = list(values[self.systems[0]])
        self.baseline, self.test, self.correction = baseline, test, correction
        self.folder = runs.folder
        self.runs = {system: runs.paths[system] for system in values}
        self._runs = runs  # a temporary folder goes with it
        self.topics = len(values[self.systems[0]][self.measures[0]])

    def mean(self, system: str, measure: str) -> float:
        """Give a system's mean over all topics."""
        return fmean(self._of(system)[self._measure(measure)].values())

    @cached_property
    def differences(self) -> dict[str, dict[str, Difference]]:
        """Each system beside the baseline: measure -> system -> `Difference`; empty without a baseline."""
        if self.baseline is None:
            return {measure: {} for measure in self.measures}
        return {measure: self._tested(measure) for measure in self.measures}

    def _tested(self, measure: str) -> dict[str, Difference]:
        assert self.baseline is not None, "it is asked for with one"
        before = np.array(list(self.values[self.baseline][measure].values()))
        after = {
            system: np.array(list(self.values[system][measure].values()))
            for system in self.systems
            if system != self.baseline
        }
        p_values = {system: TESTS[self.test](values, before) for system, values in after.items()}
        # Systems that do not differ anywhere are compared as well: p is 1 there.
        corrected = CORRECTIONS[self.correction]([1.0 if p is None else p for p in p_values.values()])
        return {
            system: Difference(
                p_values[system],
                None if p_values[system] is None else p,
                int((values > before).sum()),
                int((values < before).sum()),
                int((values == before).sum()),
            )
            for (system, values), p in zip(after.items(), corrected, strict=True)
        }

    def to_pandas(self) -> "DataFrame":
        """Give the table as a DataFrame with one row a system.

        Each measure has a column; with a baseline also ``MEASURE p``, corrected, and the numbers of topics that the
        system ``wins``, ``losses`` and ``ties``. ``pairs``, ``seconds``, ``pairs_per_second`` and ``cut_passages`` tell
        the cost. What is not known is missing: NaN, or NA of a number of topics.
        """
        from pandas import DataFrame

        rows = []
        for system in self.systems:
            row: dict[str, Any] = {}
            for measure in self.measures:
                row[measure] = self.mean(system, measure)
                if self.baseline is not None:
                    beside = self.differences[measure].get(system)
                    row[f"{measure} p"] = math.nan if beside is None or beside.corrected is None else beside.corrected
                    row |= {
                        f"{measure} {name}": beside and getattr(beside, name) for name in ("wins", "losses", "ties")
                    }
            rows.append({**row, **asdict(self.costs[system])})
        frame = DataFrame(rows, index=self.systems)
        return frame.astype({name: "Int64" if name.split()[-1] in COUNTED else "float64" for name in frame})

    @property
    def per_query(self) -> "DataFrame":
        """Every value, as a DataFrame with the columns ``system``, ``measure``, ``qid`` and ``value``."""
        from pandas import DataFrame

        return DataFrame(self._every(), columns=["system", "measure", "qid", "value"])

    def table(self) -> Table:
        """Give the texts and marks that are shown."""
        rows = []
        for system in self.systems:
            cells = [self._cell(system, measure) for measure in self.measures]
            rows.append(Row(system, cells, self.costs[system].texts(self.topics)))
        return Table(self.measures, rows, self.topics, self._dagger())

    def _dagger(self) -> str:
        """Say what a dagger means; nothing without a baseline."""
        if self.baseline is None:
            return ""
        others = len(self.systems) - 1
        test = self.test if self.test.endswith("test") else f"{self.test} test"
        correction = (
            ""
            if others < 2 or self.correction == "none"
            else (f", with {self.correction.capitalize()}'s correction over {others} systems")
        )
        return f"differs from {self.baseline}: p < {SIGNIFICANT} by a paired {test}{correction}"

    def _cell(self, system: str, measure: str) -> Cell:
        mean, every = self.mean(system, measure), {self.mean(other, measure) for other in self.systems}
        beside, note = self.differences[measure].get(system), ""
        if beside:
            p = "" if beside.corrected is None else f", p = {beside.corrected:.2g}"
            note = f"{beside.wins} better, {beside.losses} worse, {beside.ties} equal{p}"
        return Cell(f"{mean:.4f}", len(every) > 1 and mean == max(every), bool(beside and beside.significant), note)

    def to_latex(self) -> str:
        """Give the table as a paper prints it: LaTeX with the rules of booktabs, the best in bold, differences from the
        baseline that are significant with a dagger."""
        return self.table().latex()

    def plot_gains(self, system: str, measure: str | None = None) -> "Figure":
        """Draw how a system differs from the baseline on each topic, sorted.

        Raises
        ------
        ValueError
            There is no baseline, or no such system or measure.
        """
        if self.baseline is None:
            raise ValueError("gains are over a baseline: name one by baseline=.")
        measure = self._measure(measure)
        title = f"{system} beside {self.baseline}"
        return plots.gains(self._of(system)[measure], self.values[self.baseline][measure], measure, title)

    def plot_depth(self, measure: str | None = None) -> "Figure":
        """Draw the mean that reranking fewer candidates would have given, for each system with a reranker.

        Raises
        ------
        ValueError
            No system reranks, or one returns other documents than its first stage, such as those of segments.
        """
        measure = self._measure(measure)
        curves = {}
        for system, stage in self._first_stages.items():
            queries = read_queries(self._runs.paths[stage], self._runs.paths[system])
            deepest = self.settings["systems"][system]["depth"]
            curves[system] = depth_curve(queries, self._qrels, measure, deepest)
        return plots.depths(curves, measure)

    def plot_cost(self, measure: str | None = None) -> "Figure":
        """Draw each system's mean against the milliseconds that it takes a topic.

        Raises
        ------
        ValueError
            The time of no system is known.
        """
        measure = self._measure(measure)
        points = {
            system: (1000 * cost.seconds / self.topics, self.mean(system, measure))
            for system, cost in self.costs.items()
            if cost.seconds
        }
        return plots.cost(points, measure)

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Copy the runs, every topic's values, and a report with settings, versions and fingerprints to a folder."""
        return self._runs.copy(Path(folder).expanduser())

    def report(self) -> dict[str, Any]:
        """Give what is known of the experiment, as JSON has it."""
        systems = [
            {
                "system": system,
                "means": {measure: self.mean(system, measure) for measure in self.measures},
                "beside_the_baseline": {
                    measure: self.differences[measure][system]._asdict()
                    for measure in self.measures
                    if system in self.differences[measure]
                },
                "cost": asdict(self.costs[system]),
            }
            for system in self.systems
        ]
        return {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "topics": self.topics,
            "baseline": self.baseline, "test": self.test, "correction": self.correction,
            "systems": systems,
            "settings": self.settings,
        }  # fmt: skip

    def write(self) -> None:
        """Write the report and every topic's values beside the runs."""
        rows = ("\t".join([system, measure, qid, f"{value:.6f}\n"]) for system, measure, qid, value in self._every())
        write_report(self.folder, self.report(), list(chain(["system\tmeasure\tqid\tvalue\n"], rows)))

    def _repr_html_(self) -> str:
        return self.table().html()

    def __rich__(self) -> "Group":
        return self.table().rich()

    def __repr__(self) -> str:
        return self.table().text()

    def _every(self) -> Iterator[tuple[str, str, str, float]]:
        for system, of_system in self.values.items():
            for measure, of_measure in of_system.items():
                for qid, value in of_measure.items():
                    yield system, measure, qid, value

    def _of(self, system: str) -> Mapping[str, Mapping[str, float]]:
        if system not in self.values:
            raise ValueError(f"there is no system {system!r}: there are {', '.join(self.systems)}.")
        return self.values[system]

    def _measure(self, measure: str | None) -> str:
        """Read a measure's name; the first of the table is meant where none is given."""
        if measure is None:
            return self.measures[0]
        if str(measure) not in self.measures:
            raise ValueError(f"there is no measure {str(measure)!r}: there are {', '.join(self.measures)}.")
        return str(measure)
