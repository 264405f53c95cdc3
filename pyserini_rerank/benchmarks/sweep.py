"""A sweep: the quality and the cost of several rerankers on the same candidates, so that a user can choose one."""

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
    """The quality and the cost of one reranker."""

    name: str
    means: dict[str, float]
    """The mean of each measure over the queries."""
    pairs: int
    """The mean number of pairs that it scores for a query; for a cascade, the sum over its stages."""
    milliseconds: float = 0.0
    """The time of a query: tokenizing, scoring and making hits, but not reading texts."""
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
        Each reranker with a suffix that tells it from others of its name. A cascade has a row for each of its stages
        alone, at the depth of that stage, before the row of the whole cascade.
    run : FetchedRun
        A run whose queries are all judged.
    qrels : dict
        The judgements.
    measures : sequence of ir_measures.Measure
    rounds : int
        The number of rounds. In each round every reranker reranks all queries once. Times are medians over the rounds.

    Returns
    -------
    list of Row
        The row of the first stage, and then the rows of the rerankers.
    """
    named_rerankers = [part for reranker, suffix in rerankers for part in _with_stages(reranker, suffix)]
    first_query = replace(run, queries=dict(islice(run.queries.items(), 1)))
    for _, reranker in named_rerankers:  # the first call is slow
        _rerank(reranker, first_query)
    times: list[list[float]] = [[] for _ in named_rerankers]
    for _ in range(rounds):
        results = []
        for (_, reranker), reranker_times in zip(named_rerankers, times, strict=True):
            pairs_before, start = reranker.counts.pairs, time.perf_counter()
            hits = _rerank(reranker, run)
            reranker_times.append(time.perf_counter() - start)
            results.append((hits, reranker.counts.pairs - pairs_before))
    first_stage = {
        qid: [candidates.hit(i) for i in range(candidates.count)] for qid, (_, candidates, _) in run.queries.items()
    }
    rows, count = [Row("first stage", means(first_stage, qrels, measures), 0)], len(first_stage)
    for (name, _), reranker_times, (hits, pairs) in zip(named_rerankers, times, results, strict=True):
        seconds = median(reranker_times)
        rows.append(
            Row(name, means(hits, qrels, measures), round(pairs / count), 1000 * seconds / count, pairs / seconds)
        )
    return rows


def _with_stages(reranker: Reranker, suffix: str) -> list[tuple[str, Reranker]]:
    """Give a reranker with its name, after each stage of a cascade alone."""
    stages = reranker.stages if isinstance(reranker, Cascade) else []
    single_stages = [(f"{part.name}, top {depth}{suffix}", Cascade([(part, depth)])) for part, depth in stages]
    return [*single_stages, (reranker.name + suffix, reranker)]


def _rerank(reranker: Reranker, run: FetchedRun) -> dict[str, Hits]:
    """Rerank in shards, as a batch search does."""
    qids, fetched = list(run.queries), list(run.queries.values())
    depth = max(len(query.passages.texts) for query in fetched)
    k = max(query.candidates.count for query in fetched)
    results: dict[str, Hits] = {}
    for shard in shards([query.query for query in fetched], depth):
        queries, candidates, passages = zip(*(fetched[i] for i in shard), strict=True)
        with reranker.counting() as counts:
            hits = reranker.rerank_passages(queries, candidates, passages, k, counts)
        results |= zip((qids[i] for i in shard), hits, strict=True)
    return results
