"""The evaluation of a run by ir-measures, and its comparison with another run."""

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

#: The queries of a run, each with its hits: docid -> score. Hits of equal scores keep their order.
Run = Iterable[tuple[str, Mapping[str, float]]]
#: measure -> qid -> value.
Values = dict[str, dict[str, float]]

#: The measure where a single figure stands for a run.
MEASURE = "nDCG@10"
#: The number of queries that are evaluated together; all of MS MARCO dev together would take gigabytes.
TOGETHER = 500


class Coverage(NamedTuple):
    """How many queries a run and its judgements have in common, and how many only one of them has."""

    queries: int
    """The number of evaluated queries: the run has them, and they are judged."""
    lacking: int
    """The number of judged queries that the run lacks. No mean counts them, as with trec_eval without ``-c``."""
    unjudged: int
    """The number of the run's queries that are not judged."""

    def __str__(self) -> str:
        return (
            f"{self.queries:,} queries are evaluated: the run lacks {self.lacking:,} of the "
            f"{self.queries + self.lacking:,} judged queries, and {self.unjudged:,} of its queries are not judged."
        )


def read_run(path: str | Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Read a run file a query at a time, and leave out its bad lines."""
    for qid, hits in run_file.read(path, run_file.Skipped()):
        yield qid, {hit.docid: hit.score for hit in hits}


def coverage(qids: Collection[str], qrels: Qrels) -> Coverage:
    """Count the queries that a run and its judgements have in common, and those that only one of them has.

    Raises
    ------
    ValueError
        None of the run's queries is judged, so that nothing can be evaluated.
    """
    judged = sum(qid in qrels for qid in qids)
    if not judged:
        raise ValueError("none of the run's queries is judged: name the judgements of these queries by qrels=.")
    return Coverage(judged, len(qrels) - judged, len(qids) - judged)


def evaluate(run: Run, qrels: Qrels, measures: Sequence[Measure] | None = None) -> tuple[Values, Coverage]:
    """Evaluate the judged queries of a run; raises as `coverage` and `per_query`."""
    qids: list[str] = []

    def note_qids() -> Iterator[tuple[str, Mapping[str, float]]]:
        for qid, hits in run:
            qids.append(qid)
            yield qid, hits

    values = per_query(note_qids(), qrels, measures)
    qids_of_run = set(qids)
    values_of_run = {
        measure: {qid: value for qid, value in by_qid.items() if qid in qids_of_run}
        for measure, by_qid in values.items()
    }
    return values_of_run, coverage(qids, qrels)


def per_query(run: Run, qrels: Qrels, measures: Sequence[Measure] | None = None) -> Values:
    """Evaluate all judged queries.

    Parameters
    ----------
    run : iterable of (qid, mapping)
        Each query's hits: docid -> score. They are ranked by score; hits of equal scores keep their order.
    qrels : dict
        qid -> docid -> grade.
    measures : sequence of ir_measures.Measure, optional
        By default `pyserini_rerank.runs.measures.default_measures`.

    Returns
    -------
    dict
        Name of the measure -> qid -> value. A query that the run lacks has the value of an empty ranking, 0.

    Raises
    ------
    ValueError
        A measure cannot be computed.
    """
    wanted = default_measures() if measures is None else measures
    values: Values = {str(measure): dict.fromkeys(qrels, measure.DEFAULT) for measure in wanted}
    # Some measures divide by the number of hits.
    judged = ((qid, ranked(hits)) for qid, hits in run if qid in qrels and hits)
    for queries in batched(judged, TOGETHER):
        # The program that computes ERR takes no qids but numbers.
        qids = {str(number): qid for number, (qid, _) in enumerate(queries, 1)}
        run_part = {number: hits for number, (_, hits) in zip(qids, queries, strict=True)}
        grades = {number: qrels[qid] for number, qid in qids.items()}
        try:
            for group in _groups(wanted):
                for metric in ir_measures.iter_calc(group, grades, run_part):
                    values[str(metric.measure)][qids[metric.query_id]] = metric.value
        except (ArithmeticError, CalledProcessError, RuntimeError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{', '.join(map(str, wanted))} cannot be computed: {reason:.200}") from None
    return values


def _groups(measures: Sequence[Measure]) -> Iterator[list[Measure]]:
    """Give the measures that ir-measures may compute together.

    If a measure has grades or judgements of its own, ir-measures may compute the plain measures with them as well.
    """
    plain = [measure for measure in measures if not {"gains", "judged_only"} & measure.params.keys()]
    yield from ([plain] if plain else [])
    yield from ([measure] for measure in measures if measure not in plain)


def ranked(hits: Mapping[str, float]) -> dict[str, float]:
    """Replace scores by ranks, so that every measure sees the same order.

    Without that, nDCG and AP put the greater of two docids with equal scores first, and RR the lesser. trec_eval also
    takes close scores for equal, since it reads them in float32.
    """
    order = sorted(hits, key=hits.__getitem__, reverse=True)
    return {docid: -float(place) for place, docid in enumerate(order)}


def means(results: Mapping[str, Sequence[Any]], qrels: Qrels, measures: Sequence[Measure]) -> dict[str, float]:
    """Give the mean of each measure over queries, all of which are judged: qid -> hits, best first."""
    run = ((qid, {hit.docid: -float(place) for place, hit in enumerate(hits)}) for qid, hits in results.items())
    values = per_query(run, {qid: qrels[qid] for qid in results}, measures)
    return {measure: sum(of_measure.values()) / len(of_measure) for measure, of_measure in values.items()}


def ndcg(results: Mapping[str, Sequence[Any]], qrels: Qrels) -> float:
    """Give the mean nDCG@10 over queries, all of which are judged: qid -> hits, best first."""
    return means(results, qrels, [nDCG @ 10])[MEASURE]


def compare(after: Values, before: Values | None = None) -> list[dict[str, Any]]:
    """Compare a run's figures with those of its first stage.

    Parameters
    ----------
    after, before
        The results of `per_query` for the run and for its first stage, over the same judgements.

    Returns
    -------
    list of dicts
        One dict a measure: ``measure`` and the mean ``run``. With a first stage also its mean ``baseline``, the number
        of queries that are ``better`` and ``worse``, and ``p`` of the two-sided paired t-test (None where no query
        differs).
    """
    rows = []
    for measure, of_measure in after.items():
        new = list(of_measure.values())
        row: dict[str, Any] = {"measure": measure, "run": sum(new) / len(new)}
        if before:
            row |= _comparison(new, [before[measure][qid] for qid in of_measure])
        rows.append(row)
    return rows


def _comparison(new: list[float], old: list[float]) -> dict[str, Any]:
    return {
        "baseline": sum(old) / len(old),
        "better": sum(n > o for n, o in zip(new, old, strict=True)),
        "worse": sum(n < o for n, o in zip(new, old, strict=True)),
        "p": t_test(new, old),
    }


def query_table(after: Values, before: Values | None = None) -> Iterator[str]:
    """Write each query's figures as a line of TSV, below a heading. The first stage's figure is left of the run's."""
    by_suffix = {" first stage": before, "": after} if before else {"": after}
    yield "\t".join(["qid", *(f"{measure}{suffix}" for measure in after for suffix in by_suffix)]) + "\n"
    for qid in next(iter(after.values())):
        figures = (values[measure][qid] for measure in after for values in by_suffix.values())
        yield "\t".join([qid, *(f"{figure:.4f}" for figure in figures)]) + "\n"
