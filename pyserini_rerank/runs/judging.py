"""The evaluation of a reranked run: its judgements and measures, and the files with its figures."""

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
    """The figures of a run, and those of its first stage if that has an order."""

    report: dict[str, Any]
    """The means, and the numbers of queries of `Coverage`."""
    values: Values
    first_stage: Values | None


@dataclass(frozen=True)
class Judging:
    """The settings of an evaluation.

    Parameters
    ----------
    qrels : optional
        See `load_qrels`. Without qrels nothing is evaluated.
    measures, level
        See `pyserini_rerank.runs.measures.parse_measures`.
    only_judged : bool
        Leave out queries that are not judged.
    per_query, plot : path, optional
        The files for each query's figures, and for the plot of each query's gain.

    Raises
    ------
    ValueError
        A setting needs judgements, and there are none; a measure cannot be computed; the suffix of the plot's file
        names no format.
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
        """The judgements; an empty dict if none are given."""
        return {} if self.qrels is None else load_qrels(self.qrels)

    @property
    def state(self) -> str | None:
        """The state of the judgements if the output depends on them, else None."""
        return input_states.of_value(self.judged) if self.only_judged else None

    def check_files(self) -> None:
        """Check that the table and the plot can be written; raises as `target_of`."""
        for path in (self.per_query, self.plot):
            if path:
                target_of(path)

    def evaluate(self, output: Path, run: Path | None) -> Evaluation:
        """Evaluate an output, and the run that it was made from if that has an order; write the table and the plot.

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
        # Every query of the output is in the run as well.
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
