"""Quality by depth: a measure as it would have been if fewer candidates had been reranked."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ir_measures import parse_measure

from .evaluation import per_query, read_run
from .topics import Qrels

#: Depths at which the curve has points. Depth 0, the first stage, and the full depth are added.
DEPTHS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700, 1000)

#: Pairs of a depth, from 0 on, and the mean at that depth.
Curve = list[tuple[int, float]]


def depth_curve(
    queries: Sequence[tuple[str, Sequence[str], Sequence[str]]], qrels: Qrels, measure: str, deepest: int | None = None
) -> Curve:
    """Give the mean of a measure at each depth.

    At a depth of d, the first d hits of a query are in the order of the reranker. The other hits follow in the order of
    the first stage.

    Parameters
    ----------
    queries : sequence of (qid, docids, docids)
        Each query's docids in the order of the first stage, and in the order of the reranker.
    qrels : dict
        The judgements, which hold every query.
    measure : str
        A measure's name in ir-measures.
    deepest : int, optional
        The depth to which the queries were reranked, where the curve ends; by default all hits were reranked.

    Raises
    ------
    ValueError
        A query has other documents after reranking than before.
    """
    for qid, before, after in queries:
        if sorted(before) != sorted(after):
            raise ValueError(f"query {qid} has other documents after reranking than before: search with k=depth.")
    wanted = [parse_measure(measure)]
    full_depth = max((len(before) for _, before, _ in queries), default=0)
    full_depth = full_depth if deepest is None else min(full_depth, deepest)
    curve = []
    for depth in (0, *(depth for depth in DEPTHS if depth < full_depth), full_depth):
        run = {qid: reranked_to(depth, before, after) for qid, before, after in queries}
        curve.append((depth, fmean(per_query(run.items(), qrels, wanted)[measure].values())))
    return curve


def reranked_to(depth: int, before: Sequence[str], after: Sequence[str]) -> dict[str, float]:
    """Order a query's docids as if `depth` of them had been reranked; the scores only express that order."""
    reranked_place = {docid: place for place, docid in enumerate(after)}
    order = [*sorted(before[:depth], key=reranked_place.__getitem__), *before[depth:]]
    return {docid: -float(place) for place, docid in enumerate(order)}


def read_queries(first_stage: Path, run: Path) -> list[tuple[str, list[str], list[str]]]:
    """Read a first stage's run and the reranked run: each query's docids in the order of either."""
    before = {qid: list(hits) for qid, hits in read_run(first_stage)}
    return [(qid, before[qid], list(hits)) for qid, hits in read_run(run)]
