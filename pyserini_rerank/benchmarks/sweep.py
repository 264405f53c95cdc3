"""Quality and cost of several rerankers on the same candidates, so that a user can choose."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median

from ir_measures import Measure

from ..combining.cascade import Cascade
from ..reranker import Reranker
from ..retrieval.hits import Hits
from ..runs.evaluation import means
from ..runs.topics import Qrels
from ..searcher import shards
from .fetched_run import FetchedRun


@dataclass(frozen=True)
class Row:
    """What one reranker costs, and gives."""

    name: str
    means: dict[str, float]
    """Of each measure."""
    pairs: int
    """How many pairs it scores for a query, on average; those of a cascade's stages together."""
    milliseconds: float = 0.0
    """A query's: tokenizing, scoring and making hits, without reading texts."""
    pairs_per_second: float = 0.0


def sweep(
    rerankers: Sequence[tuple[Reranker, str]],
    run: FetchedRun,
    qrels: Qrels,
    measures: Sequence[Measure],
    *,
    rounds: int = 3,
) -> list[Row]:
    """Rerank the queries of a run with each reranker in turn.

    Parameters
    ----------
    rerankers : sequence of (Reranker, str)
        Each with what tells it from others of its name. A cascade has a row for each of its stages alone, at its
        depth, before its own.
    run : FetchedRun
        Its queries are all judged.
    measures : sequence of ir_measures.Measure
    rounds : int
        How often each of them reranks everything, in turn with the others. Times are medians.

    Returns
    -------
    list of Row
        The first stage's, and one a reranker; means over the queries.
    """
    every = [part for reranker, options in rerankers for part in _with_stages(reranker, options)]
    first = replace(run, queries=dict(islice(run.queries.items(), 1)))
    for _, reranker in every:  # warms up what is slow the first time
        _rerank(reranker, first)
    times: list[list[float]] = [[] for _ in every]
    for _ in range(rounds):
        results = []
        for (_, reranker), taken in zip(every, times, strict=True):
            before, start = reranker.counts.pairs, time.perf_counter()
            hits = _rerank(reranker, run)
            taken.append(time.perf_counter() - start)
            results.append((hits, reranker.counts.pairs - before))
    found = {qid: [one.candidates.hit(i) for i in range(one.candidates.count)] for qid, one in run.queries.items()}
    rows, count = [Row("first stage", means(found, qrels, measures), 0)], len(found)
    for (name, _), taken, (hits, pairs) in zip(every, times, results, strict=True):
        seconds = median(taken)
        rows.append(
            Row(name, means(hits, qrels, measures), round(pairs / count), 1000 * seconds / count, pairs / seconds)
        )
    return rows


def _with_stages(reranker: Reranker, options: str) -> list[tuple[str, Reranker]]:
    stages = reranker.stages if isinstance(reranker, Cascade) else []
    alone = [(f"{part.name}, top {depth}{options}", Cascade([(part, depth)])) for part, depth in stages]
    return [*alone, (reranker.name + options, reranker)]


def _rerank(reranker: Reranker, run: FetchedRun) -> dict[str, Hits]:
    """Rerank in shards, as a batch search does."""
    qids, every = list(run.queries), list(run.queries.values())
    depth = max(len(one.passages.texts) for one in every)
    most = max(one.candidates.count for one in every)
    found: dict[str, Hits] = {}
    for shard in shards([one.query for one in every], depth):
        queries, candidates, texts = zip(*(every[i] for i in shard), strict=True)
        with reranker.counting() as counts:
            hits = reranker.rerank_passages(queries, candidates, texts, most, counts)
        found |= zip((qids[i] for i in shard), hits, strict=True)
    return found
