"""Quality and cost of several rerankers on the same candidates, so that a user can choose."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from ..combining.cascade import Cascade
from ..reranker import Reranker
from ..retrieval.candidates import from_hits
from ..retrieval.hits import Hits
from ..retrieval.texts import Function, Source, read
from ..searcher import shards
from .evaluation import per_query
from .runs import RunHit
from .topics import Qrels

MEASURE = "nDCG@10"


@dataclass(frozen=True)
class Row:
    """What one reranker costs, and gives."""

    name: str
    ndcg: float
    pairs: int
    """How many pairs it scores for a query, on average; those of a cascade's stages together."""
    milliseconds: float = 0.0
    """A query's: tokenizing, scoring and making hits, without reading texts."""
    pairs_per_second: float = 0.0


def sweep(
    rerankers: Sequence[Reranker],
    run: Iterable[tuple[str, list[RunHit]]],
    topics: Mapping[str, str],
    source: Source,
    qrels: Qrels,
    *,
    depth: int | None = None,
    rounds: int = 3,
) -> list[Row]:
    """Rerank the judged queries of a run with each reranker in turn.

    Parameters
    ----------
    rerankers : sequence of Reranker
        A cascade has a row for each of its stages alone, at its depth, before its own.
    run : iterable
        The queries with their hits; see `runs.read`.
    depth : int, optional
        How many of a query's hits are rescored; all by default.
    rounds : int
        How often each of them reranks everything, in turn with the others. Times are medians.

    Returns
    -------
    list of Row
        The first stage's, and one a reranker; means over the queries of the run that are judged.

    Raises
    ------
    ValueError
        No query of the run is judged and has a topic.
    """
    judged = {qid: hits for qid, hits in run if qid in qrels and qid in topics}
    if not judged:
        raise ValueError("no query of the run is among the topics and the judgements: name those of the run.")
    texts: dict[str, Any] = {}
    for first in judged.values():
        candidates = from_hits(first, depth or len(first))
        texts |= zip(candidates.docids, read(source, candidates), strict=True)
    every = [part for reranker in rerankers for part in _with_stages(reranker)]
    for _, reranker in every:  # warms up what is slow the first time
        _rerank(reranker, dict([next(iter(judged.items()))]), topics, texts, depth)
    times: list[list[float]] = [[] for _ in every]
    for _ in range(rounds):
        results = []
        for (_, reranker), own in zip(every, times, strict=True):
            before, start = reranker.counts.pairs, time.perf_counter()
            hits = _rerank(reranker, judged, topics, texts, depth)
            own.append(time.perf_counter() - start)
            results.append((hits, reranker.counts.pairs - before))
    rows = [Row("first stage", _ndcg(judged, qrels), 0)]
    for (name, _), own, (hits, pairs) in zip(every, times, results, strict=True):
        seconds, count = median(own), len(judged)
        rows.append(Row(name, _ndcg(hits, qrels), round(pairs / count), 1000 * seconds / count, pairs / seconds))
    return rows


def _with_stages(reranker: Reranker) -> list[tuple[str, Reranker]]:
    stages = reranker.stages if isinstance(reranker, Cascade) else []
    alone = [(f"{part.name}, top {depth}", Cascade([(part, depth)])) for part, depth in stages]
    return [*alone, (reranker.name, reranker)]


def _rerank(
    reranker: Reranker,
    judged: Mapping[str, list[RunHit]],
    topics: Mapping[str, str],
    texts: Mapping[str, Any],
    depth: int | None,
) -> dict[str, Hits]:
    """Rerank in shards, as a batch search does."""
    qids, most = list(judged), max(map(len, judged.values()))
    found: dict[str, Hits] = {}
    for shard in shards([topics[qid] for qid in qids], depth or most):
        some = [qids[i] for i in shard]
        with reranker.counting() as counts:
            hits = reranker.rerank_candidates(
                [topics[qid] for qid in some],
                [from_hits(judged[qid], depth or most) for qid in some],
                Function(texts.get, "the run"),
                most,
                counts,
            )
        found |= zip(some, hits, strict=True)
    return found


def _ndcg(results: Mapping[str, Sequence[Any]], qrels: Qrels) -> float:
    run = ((qid, {hit.docid: float(hit.score) for hit in hits}) for qid, hits in results.items())
    values = per_query(run, {qid: qrels[qid] for qid in results})[MEASURE]
    return sum(values.values()) / len(values)
