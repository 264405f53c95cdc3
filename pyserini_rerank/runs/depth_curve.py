"""Quality by depth: the figures that reranking fewer candidates would have given."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ir_measures import parse_measure

from .evaluation import per_query, read_run
from .topics import Qrels

#: Depths at which the curve has its points; the first stage's and the last are added.
DEPTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)

#: Depths, from 0, and the mean at each.
Curve = list[tuple[int, float]]


def depth_curve(
    queries: Sequence[tuple[str, Sequence[str], Sequence[str]]], qrels: Qrels, measure: str, deepest: int | None = None
) -> Curve:
    """Give the mean of a measure at each depth.

    At a depth of d, a query's first d hits of the first stage are in the order of the reranker, and the others follow
    as the first stage has them.

    Parameters
    ----------
    queries : sequence of (qid, docids, docids)
        The docids of a query as the first stage ordered them, and as the reranker did.
    qrels : dict
        Every query is judged.
    measure : str
        As ir-measures names it.
    deepest : int, optional
        The depth to which the queries were reranked, where the curve ends; by default all hits were.

    Raises
    ------
    ValueError
        A query has other documents after reranking than before.
    """
    for qid, before, after in queries:
        if sorted(before) != sorted(after):
            raise ValueError(f"query {qid} has other documents after reranking than before: search with k=depth.")
    wanted = [parse_measure(measure)]
    most = max((len(before) for _, before, _ in queries), default=0)
    most = most if deepest is None else min(most, deepest)
    curve = []
    for depth in (0, *(depth for depth in DEPTHS if depth < most), most):
        run = {qid: reranked_to(depth, before, after) for qid, before, after in queries}
        curve.append((depth, fmean(per_query(run.items(), qrels, wanted)[measure].values())))
    return curve


def reranked_to(depth: int, before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    """Order a query's docids as if `depth` of them had been reranked, with scores that stand for the order."""
    place = {docid: place for place, docid in enumerate(after)}
    order = [*sorted(before[:depth], key=place.__getitem__), *before[depth:]]
    return {docid: -float(place) for place, docid in enumerate(order)}


def read_queries(first_stage: Path, run: Path) -> list[tuple[str, list[str], list[str]]]:
    """Read the docids of two runs of the same queries, in their order."""
    before = {qid: list(hits) for qid, hits in read_run(first_stage)}
    return [(qid, before[qid], list(hits)) for qid, hits in read_run(run)]
