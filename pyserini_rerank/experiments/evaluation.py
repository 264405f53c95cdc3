"""What a run is worth, by ir-measures, beside another."""

from pathlib import Path
from typing import Any

import ir_measures
from ir_measures import AP, RR, Judged, R, nDCG

from . import runs

Run = dict[str, dict[str, float]]


def measures(level: int = 1) -> list[Any]:
    """Give the measures that are reported.

    Parameters
    ----------
    level : int
        From which grade on a document counts as relevant, where a measure knows only that (2 for TREC DL).
    """
    return [nDCG @ 10, RR(rel=level) @ 10, AP(rel=level), R(rel=level) @ 100, R(rel=level) @ 1000, Judged @ 10]


def read_run(path: str | Path) -> Run:
    """Read a run of either format, without its bad lines: qid -> docid -> score."""
    return {qid: {hit.docid: hit.score for hit in hits} for qid, hits in runs.read(path, runs.Skipped())}


def read_qrels(path: str | Path) -> dict[str, dict[str, int]]:
    """Read qrels in trec_eval's format: qid -> docid -> grade."""
    qrels: dict[str, dict[str, int]] = {}
    for judgement in ir_measures.read_trec_qrels(str(path)):  # type: ignore[no-untyped-call]
        qrels.setdefault(judgement.query_id, {})[judgement.doc_id] = judgement.relevance
    return qrels


def per_query(run: Run, qrels: dict[str, dict[str, int]], level: int = 1) -> dict[str, dict[str, float]]:
    """Evaluate a run: measure -> qid -> value, over the judged queries; one that the run lacks counts 0."""
    wanted = measures(level)
    values: dict[str, dict[str, float]] = {str(measure): dict.fromkeys(qrels, 0.0) for measure in wanted}
    for metric in ir_measures.iter_calc(wanted, qrels, run):
        values[str(metric.measure)][metric.query_id] = metric.value
    return values


def compare(run: Run, baseline: Run, qrels: dict[str, dict[str, int]], level: int = 1) -> list[dict[str, Any]]:
    """Evaluate a run beside its first stage.

    Returns
    -------
    list of dicts
        One a measure: ``measure``, the means ``baseline`` and ``run``, how many queries are ``better`` and
        ``worse``, and ``p`` of the two-sided paired t-test (None where no query differs).
    """
    from scipy.stats import ttest_rel

    before, after = per_query(baseline, qrels, level), per_query(run, qrels, level)
    rows = []
    for measure in before:
        old = [before[measure][qid] for qid in qrels]
        new = [after[measure][qid] for qid in qrels]
        rows.append(
            {
                "measure": measure,
                "baseline": sum(old) / len(old),
                "run": sum(new) / len(new),
                "better": sum(n > o for n, o in zip(new, old, strict=True)),
                "worse": sum(n < o for n, o in zip(new, old, strict=True)),
                "p": float(ttest_rel(new, old).pvalue) if new != old and len(old) > 1 else None,
            }
        )
    return rows
