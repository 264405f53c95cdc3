"""What a run is worth, by ir-measures, beside another."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

import ir_measures
from ir_measures import AP, RR, Judged, R, nDCG

from . import runs
from .topics import Qrels

#: The queries of a run, each with its hits: docid -> score.
Run = Iterable[tuple[str, Mapping[str, float]]]
#: measure -> qid -> value.
Values = dict[str, dict[str, float]]

#: The measure of a single figure.
MEASURE = "nDCG@10"
#: Queries that are evaluated together; a whole run of MS MARCO dev would take gigabytes.
TOGETHER = 500


def measures(level: int = 1) -> list[Any]:
    """Give the measures that are reported.

    Parameters
    ----------
    level : int
        From which grade on a document counts as relevant, where a measure knows only that (2 for TREC DL).
    """
    return [nDCG @ 10, RR(rel=level) @ 10, AP(rel=level), R(rel=level) @ 100, R(rel=level) @ 1000, Judged @ 10]


def read_run(path: str | Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Read a run of either format a query at a time, without its bad lines."""
    for qid, hits in runs.read(path, runs.Skipped()):
        yield qid, {hit.docid: hit.score for hit in hits}


def per_query(run: Run, qrels: Qrels, level: int = 1) -> Values:
    """Evaluate a run's queries, those that are judged; one that the run lacks counts 0."""
    wanted = measures(level)
    values: Values = {str(measure): dict.fromkeys(qrels, 0.0) for measure in wanted}
    judged = ((qid, hits) for qid, hits in run if qid in qrels)
    for some in batched(judged, TOGETHER):
        part = dict(some)
        for metric in ir_measures.iter_calc(wanted, {qid: qrels[qid] for qid in part}, part):
            values[str(metric.measure)][metric.query_id] = metric.value
    return values


def ndcg(results: Mapping[str, Sequence[Any]], qrels: Qrels) -> float:
    """Give the mean nDCG@10 of queries' hits, by qid; all of them are judged."""
    run = ((qid, {hit.docid: float(hit.score) for hit in hits}) for qid, hits in results.items())
    values = per_query(run, {qid: qrels[qid] for qid in results})[MEASURE]
    return sum(values.values()) / len(values)


def compare(after: Values, before: Values | None = None) -> list[dict[str, Any]]:
    """Put a run's figures beside those of its first stage.

    Parameters
    ----------
    after, before
        What `per_query` gave for the run and for its first stage, over the same judgements.

    Returns
    -------
    list of dicts
        One a measure: ``measure`` and the mean ``run``; and with a first stage its mean ``baseline``, how many
        queries are ``better`` and ``worse``, and ``p`` of the two-sided paired t-test (None where no query
        differs).
    """
    rows = []
    for measure, own in after.items():
        new = list(own.values())
        row: dict[str, Any] = {"measure": measure, "run": sum(new) / len(new)}
        if before:
            row |= _beside(new, [before[measure][qid] for qid in own])
        rows.append(row)
    return rows


def _beside(new: list[float], old: list[float]) -> dict[str, Any]:
    from scipy.stats import ttest_rel

    return {
        "baseline": sum(old) / len(old),
        "better": sum(n > o for n, o in zip(new, old, strict=True)),
        "worse": sum(n < o for n, o in zip(new, old, strict=True)),
        "p": float(ttest_rel(new, old).pvalue) if new != old and len(old) > 1 else None,
    }


def query_table(after: Values, before: Values | None = None) -> Iterator[str]:
    """Write the figures of each query as lines of TSV, with a heading; the first stage's before the run's."""
    stages = {" first stage": before, "": after} if before else {"": after}
    yield "\t".join(["qid", *(f"{measure}{name}" for measure in after for name in stages)]) + "\n"
    for qid in next(iter(after.values())):
        figures = (values[measure][qid] for measure in after for values in stages.values())
        yield "\t".join([qid, *(f"{figure:.4f}" for figure in figures)]) + "\n"
