"""A run with its texts in memory, which can be reranked over and over."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..passages import Passages
from ..ranking import Ranking
from ..reranker import Reranker
from ..retrieval.candidates import Candidates, from_hits
from ..retrieval.hits import Hits
from ..runs import run_file
from ..runs.evaluation import Coverage, coverage
from ..runs.topics import Qrels
from ..texts.source import Source, read


class Fetched(NamedTuple):
    """A query of a run with its candidates."""

    query: str
    candidates: Candidates
    passages: Passages


@dataclass(frozen=True)
class FetchedRun:
    """The queries of a run, by qid, and what it took to read them."""

    queries: Mapping[str, Fetched]
    first_stage: float
    """Seconds to read the run."""
    fetch: float
    """Seconds to read the texts."""
    coverage: Coverage | None = None
    """How the run's queries and the judged ones meet, where there are judgements."""

    def pairs(self) -> list[tuple[str, str]]:
        """Give the pairs of a query and a text, equal ones once."""
        every = ((one.query, text) for one in self.queries.values() for text in one.passages.texts if text)
        return list(dict.fromkeys(every))

    def results(self, reranker: Reranker, scores: NDArray[np.float32]) -> dict[str, Hits]:
        """Make all hits of each query, by the scores of `pairs`; float32 (n,)."""
        found = dict(zip(self.pairs(), scores.tolist(), strict=True))
        results = {}
        for qid, (query, candidates, passages) in self.queries.items():
            of_query = np.array([found.get((query, text), np.nan) for text in passages.texts], dtype=np.float32)
            results[qid] = reranker.to_hits(candidates, Ranking(of_query), candidates.count)
        return results


def fetch(
    run: str | Path, topics: Mapping[str, str], source: Source, *, depth: int | None = None, qrels: Qrels | None = None
) -> FetchedRun:
    """Read a run's queries, those that have a topic, and their candidates' texts.

    Parameters
    ----------
    run : path
        See `run_file.read`.
    depth : int, optional
        How many of a query's hits have their texts read, to be scored; all by default.
    qrels : dict, optional
        Only those that are judged.

    Raises
    ------
    ValueError
        There is no such query.
    As `run_file.read` and `pyserini_rerank.texts.source.read`.
    """
    start = time.perf_counter()
    hits, asked = {}, []
    for qid, of_query in run_file.read(run):
        if qid in topics:
            asked.append(qid)
            if qrels is None or qid in qrels:
                hits[qid] = of_query
    if not hits:
        among = "the topics" if qrels is None else "the topics and the judgements"
        raise ValueError(f"no query of the run is among {among}: name those of the run.")
    covered = None if qrels is None else coverage(asked, qrels)
    at = time.perf_counter()
    queries = {}
    for qid, of_query in hits.items():
        candidates = from_hits(of_query, depth or len(of_query))
        passages = Passages(candidates.docids, read(source, candidates), candidates.first_scores)
        queries[qid] = Fetched(topics[qid], candidates, passages)
    return FetchedRun(queries, at - start, time.perf_counter() - at, covered)
