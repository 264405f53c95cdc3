"""A run with its texts in memory, which can be reranked several times."""

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
    """The queries of a run, by qid, and the seconds that reading them took."""

    queries: Mapping[str, Fetched]
    first_stage: float
    """Seconds to read the run."""
    fetch: float
    """Seconds to read the texts."""
    coverage: Coverage | None = None
    """How many of the run's queries are judged; None without judgements."""

    def pairs(self) -> list[tuple[str, str]]:
        """Give the pairs of a query and a text; equal pairs only once."""
        pairs = ((query, text) for query, _, passages in self.queries.values() for text in passages.texts if text)
        return list(dict.fromkeys(pairs))

    def results(self, reranker: Reranker, scores: NDArray[np.float32]) -> dict[str, Hits]:
        """Make all hits of each query from the scores of `pairs`; float32 (n,)."""
        score_of = dict(zip(self.pairs(), scores.tolist(), strict=True))
        results = {}
        for qid, (query, candidates, passages) in self.queries.items():
            query_scores = np.array([score_of.get((query, text), np.nan) for text in passages.texts], dtype=np.float32)
            results[qid] = reranker.to_hits(candidates, Ranking(query_scores), candidates.count)
        return results


def fetch(
    run: str | Path, topics: Mapping[str, str], source: Source, *, depth: int | None = None, qrels: Qrels | None = None
) -> FetchedRun:
    """Read a run's queries that have a topic, and the texts of their candidates.

    Parameters
    ----------
    run : path
        See `run_file.read`.
    depth : int, optional
        The number of a query's hits whose texts are read and scored; all by default.
    qrels : dict, optional
        Judgements; queries that are not judged are left out.

    Raises
    ------
    ValueError
        No query of the run is among the topics and the judgements.
    As `run_file.read` and `pyserini_rerank.texts.source.read`.
    """
    start = time.perf_counter()
    hits, qids = {}, []
    for qid, query_hits in run_file.read(run):
        if qid in topics:
            qids.append(qid)
            if qrels is None or qid in qrels:
                hits[qid] = query_hits
    if not hits:
        inputs = "topics" if qrels is None else "topics and the judgements"
        raise ValueError(f"no query of the run is among the {inputs}: name the {inputs} of the run.")
    run_coverage = None if qrels is None else coverage(qids, qrels)
    fetch_start = time.perf_counter()
    queries = {}
    for qid, query_hits in hits.items():
        candidates = from_hits(query_hits, depth or len(query_hits))
        passages = Passages(candidates.docids, read(source, candidates), candidates.first_scores)
        queries[qid] = Fetched(topics[qid], candidates, passages)
    return FetchedRun(queries, fetch_start - start, time.perf_counter() - fetch_start, run_coverage)
