"""What a run is worth, by ir-measures, beside another."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import batched
from pathlib import Path
from subprocess import CalledProcessError
from typing import Any, NamedTuple

import ir_measures
from ir_measures import Measure, nDCG

from . import run_file
from .measures import default_measures
from .significance import t_test
from .topics import Qrels

#: The queries of a run, each with its hits: docid -> score. Equal scores are in the order in which they are given.
Run = Iterable[tuple[str, Mapping[str, float]]]
#: measure -> qid -> value.
Values = dict[str, dict[str, float]]

#: The measure of a single figure.
MEASURE = "nDCG@10"
#: Queries that are evaluated together; a whole run of MS MARCO dev would take gigabytes.
TOGETHER = 500


class Coverage(NamedTuple):
    """How a run's queries and the judged ones meet."""

    queries: int
    """Those that are evaluated: the run has them, and they are judged."""
    lacking: int
    """Judged ones that the run lacks. No mean counts them, as with trec_eval without ``-c``."""
    unjudged: int
    """Those of the run that nobody judged."""

    def __str__(self) -> str:
        return (
            f"{self.queries:,} queries are evaluated: of the {self.queries + self.lacking:,} that are judged the run "
            f"lacks {self.lacking:,}, and {self.unjudged:,} of the run's are not judged."
        )


def read_run(path: str | Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Read a run of either format a query at a time, without its bad lines."""
    for qid, hits in run_file.read(path, run_file.Skipped()):
        yield qid, {hit.docid: hit.score for hit in hits}


def coverage(qids: Collection[str], qrels: Qrels) -> Coverage:
    """Tell how a run's queries and the judged ones meet.

    Raises
    ------
    ValueError
        None of them is judged, and there is nothing to be evaluated.
    """
    judged = sum(qid in qrels for qid in qids)
    if not judged:
        raise ValueError("none of the run's queries is judged: name its own judgements, by qrels=.")
    return Coverage(judged, len(qrels) - judged, len(qids) - judged)


def evaluate(run: Run, qrels: Qrels, measures: Sequence[Measure] | None = None) -> tuple[Values, Coverage]:
    """Evaluate those of a run's queries that are judged; raises as `coverage` and `per_query`."""
    qids: list[str] = []

    def noted() -> Iterator[tuple[str, Mapping[str, float]]]:
        for qid, hits in run:
            qids.append(qid)
            yield qid, hits

    every = per_query(noted(), qrels, measures)
    asked = set(qids)
    values = {measure: {qid: value for qid, value in all_.items() if qid in asked} for measure, all_ in every.items()}
    return values, coverage(qids, qrels)


def per_query(run: Run, qrels: Qrels, measures: Sequence[Measure] | None = None) -> Values:
    """Evaluate all judged queries.

    Parameters
    ----------
    run : iterable of (qid, mapping)
        Each query's hits: docid -> score. Hits count in the order of their scores, equal ones as they are given.
    qrels : dict
        qid -> docid -> grade.
    measures : sequence of ir_measures.Measure, optional
        By default those of `pyserini_rerank.runs.measures.default_measures`.

    Returns
    -------
    dict
        The measure's name -> qid -> value. A query that the run lacks has the measure's value of an empty list, 0.

    Raises
    ------
    ValueError
        A measure cannot be computed.
    """
    wanted = default_measures() if measures is None else measures
    values: Values = {str(measure): dict.fromkeys(qrels, measure.DEFAULT) for measure in wanted}
    judged = ((qid, ranked(hits)) for qid, hits in run if qid in qrels)
    for queries in batched(judged, TOGETHER):
        # Under numbers, since the program that computes ERR takes no other qids.
        qids = {str(number): qid for number, (qid, _) in enumerate(queries, 1)}
        part = {number: hits for number, (_, hits) in zip(qids, queries, strict=True)}
        try:
            for metric in ir_measures.iter_calc(wanted, {number: qrels[qid] for number, qid in qids.items()}, part):
                values[str(metric.measure)][qids[metric.query_id]] = metric.value
        except (CalledProcessError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{', '.join(map(str, wanted))} cannot be computed: {reason:.200}") from None
    return values


def ranked(hits: Mapping[str, float]) -> dict[str, float]:
    """Replace scores by places, so that every measure sees the same order.

    Left to themselves, nDCG and AP put the greater of two docids with equal scores first, and RR the lesser; and
    trec_eval takes scores that are close to each other for equal, as it reads them in float32.
    """
    order = sorted(hits, key=hits.__getitem__, reverse=True)
    return {docid: -float(place) for place, docid in enumerate(order)}


def means(results: Mapping[str, Sequence[Any]], qrels: Qrels, measures: Sequence[Measure]) -> dict[str, float]:
    """Give the mean of each measure over queries' hits in their order, by qid; all of them are judged."""
    run = ((qid, {hit.docid: -float(place) for place, hit in enumerate(hits)}) for qid, hits in results.items())
    values = per_query(run, {qid: qrels[qid] for qid in results}, measures)
    return {measure: sum(of_measure.values()) / len(of_measure) for measure, of_measure in values.items()}


def ndcg(results: Mapping[str, Sequence[Any]], qrels: Qrels) -> float:
    """Give the mean nDCG@10 of queries' hits in their order, by qid; all of them are judged."""
    return means(results, qrels, [nDCG @ 10])[MEASURE]


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
    for measure, of_measure in after.items():
        new = list(of_measure.values())
        row: dict[str, Any] = {"measure": measure, "run": sum(new) / len(new)}
        if before:
            row |= _beside(new, [before[measure][qid] for qid in of_measure])
        rows.append(row)
    return rows


def _beside(new: list[float], old: list[float]) -> dict[str, Any]:
    return {
        "baseline": sum(old) / len(old),
        "better": sum(n > o for n, o in zip(new, old, strict=True)),
        "worse": sum(n < o for n, o in zip(new, old, strict=True)),
        "p": t_test(new, old),
    }


def query_table(after: Values, before: Values | None = None) -> Iterator[str]:
    """Write the figures of each query as lines of TSV, with a heading; the first stage's before the run's."""
    stages = {" first stage": before, "": after} if before else {"": after}
    yield "\t".join(["qid", *(f"{measure}{name}" for measure in after for name in stages)]) + "\n"
    for qid in next(iter(after.values())):
        figures = (values[measure][qid] for measure in after for values in stages.values())
        yield "\t".join([qid, *(f"{figure:.4f}" for figure in figures)]) + "\n"
