"""The judgements that a run is evaluated by, and the figures that are reported and written of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..files.writing import replace, target_of
from . import input_states
from .evaluation import Values, compare, evaluate, per_query, query_table, read_run
from .measures import parse_measures
from .topics import Qrels, load_qrels


class Evaluation(NamedTuple):
    """The figures of a run, and of its first stage where that has an order."""

    report: dict[str, Any]
    """The means, and how the run's queries and the judged ones meet."""
    values: Values
    first_stage: Values | None


@dataclass(frozen=True)
class Judging:
    """How a run is evaluated.

    Parameters
    ----------
    qrels : optional
        See `load_qrels`. Without them nothing is evaluated.
    measures, level
        See `pyserini_rerank.runs.measures.parse_measures`.
    only_judged : bool
        Leave the queries out that are not judged.
    per_query, plot : path, optional
        The files for each query's figures, and for the plot of its gains.

    Raises
    ------
    ValueError
        There are no judgements, but something is asked for that needs them; a measure cannot be computed; the plot's
        file has no format.
    """

    qrels: Any = None
    measures: Sequence[Any] | None = None
    level: int = 1
    only_judged: bool = False
    per_query: Path | None = None
    plot: Path | None = None

    def __post_init__(self) -> None:
        parse_measures(self.measures, self.level)
        if self.qrels is None and (self.only_judged or self.per_query or self.plot or self.measures):
            raise ValueError("name the judgements to evaluate with, by qrels=.")
        if self.plot:
            from . import plots

            plots.check(self.plot)

    @cached_property
    def judged(self) -> Qrels:
        """The judgements; empty without."""
        return {} if self.qrels is None else load_qrels(self.qrels)

    @property
    def state(self) -> str | None:
        """Tells the judgements apart, where the output depends on them."""
        return input_states.of_value(self.judged) if self.only_judged else None

    def check_files(self) -> None:
        """Check that the table and the plot can be written; raises as `target_of`."""
        for path in (self.per_query, self.plot):
            if path:
                target_of(path)

    def evaluate(self, output: Path, run: Path | None) -> Evaluation:
        """Evaluate an output, beside the run that it was made of where that has an order; write the table and the plot.

        Raises
        ------
        ValueError
            None of the queries is judged.
        OSError
            The table or the plot cannot be written.
        """
        measures = parse_measures(self.measures, self.level)
        first = str(measures[0])
        after, coverage = evaluate(read_run(output), self.judged, measures)
        # The output's queries are all among the run's.
        evaluated = {qid: self.judged[qid] for qid in after[first]}
        before = per_query(read_run(run), evaluated, measures) if run else None
        if self.per_query:
            replace(self.per_query, "".join(query_table(after, before)))
        if self.plot and before:
            from . import plots

            plots.save(plots.gains(after[first], before[first], first), self.plot)
        name = str(self.qrels) if isinstance(self.qrels, str | os.PathLike) else "a mapping"
        report = {"qrels": name, "level": self.level, **coverage._asdict(), "measures": compare(after, before)}
        return Evaluation({**report, "state": input_states.of_value(self.judged)}, after, before)
