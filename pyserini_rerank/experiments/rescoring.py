"""Reranking a run file: queries in shards, each scored and committed, so that it can be interrupted."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tqdm.auto import tqdm

from ..reranker import SHARD, Counts, Reranker
from ..retrieval.candidates import from_hits
from ..retrieval.queries import checked_query
from ..retrieval.texts import Function, MissingText, Source
from .provenance import provenance
from .runs import RunHit, Skipped, lines
from .work import Work

#: Lines that are held in memory at once, whatever the depth.
LINES = 10 * SHARD


def rerank_run(
    work: Work,
    run: Iterable[tuple[str, list[RunHit]]],
    topics: Mapping[str, str],
    source: Source | None,
    reranker: Reranker,
    *,
    depth: int | None = None,
    tag: str = "reranked",
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Rerank a run into a TREC run.

    Parameters
    ----------
    work : Work
        Where the output grows; what was committed there is not done again.
    run : iterable
        The queries with their hits; see `runs.read` and `OfficialCandidates`.
    topics : mapping
        qid -> query. A query of the run that is not among them is bad.
    source : Source, optional
        Where the documents' texts are; without one the hits have them. A document without one is bad.
    depth : int, optional
        How many of a query's hits are rescored; the others follow below. All by default.
    skip_bad : bool
        Leave out what is bad and count it; otherwise it is an error.

    Returns
    -------
    dict
        What is to be known of the output: its `provenance`, and ``counts``, what was ``skipped``, how many
        scores were ``known_scores`` of a cache, ``seconds`` of reading texts and scoring, and
        ``pairs_per_second`` of those that were computed.

    Raises
    ------
    ValueError, LookupError
        A bad line, an unknown qid, a document without text; a work that was begun with another checkpoint.
    """
    fingerprint = provenance(reranker)["fingerprint"]
    tally = Tally(fingerprint)
    if work.commits:
        tally = Tally(**{**work.notes, "counts": Counts(**work.notes["counts"])})
    if tally.fingerprint != fingerprint:
        raise ValueError(f"{work.folder} was begun with another checkpoint or dtype: delete it to begin anew.")
    unknown = Skipped(tally.unknown) if skip_bad else None
    done = work.commits
    with tqdm(total=len(topics), desc="reranking", unit=" queries", delay=2, disable=None) as progress:
        for number, shard in enumerate(_shards(run, depth)):
            if number >= done:
                start, cached = time.perf_counter(), _from_cache(reranker)
                results = _rerank_shard(shard, topics, source, reranker, depth, tally.counts, unknown)
                tally.seconds += time.perf_counter() - start
                tally.known_scores += _from_cache(reranker) - cached
                work.commit((line for qid, hits in results for line in lines(qid, hits, tag)), asdict(tally))
            progress.update(len(shard))
    computed = tally.counts.scored - tally.known_scores
    return {
        **provenance(reranker),
        "counts": vars(tally.counts),
        "skipped": tally.unknown,
        "known_scores": tally.known_scores,
        "seconds": round(tally.seconds, 3),
        "pairs_per_second": round(computed / tally.seconds, 1) if tally.seconds else None,
    }


@dataclass
class Tally:
    """What a work has done so far, which it keeps with each commit."""

    fingerprint: str
    counts: Counts = field(default_factory=Counts)
    unknown: dict[str, int] = field(default_factory=dict)
    """What was left out, by reason."""
    known_scores: int = 0
    seconds: float = 0.0


def _rerank_shard(
    shard: Sequence[tuple[str, list[RunHit]]],
    topics: Mapping[str, str],
    source: Source | None,
    reranker: Reranker,
    depth: int | None,
    counts: Counts,
    unknown: Skipped | None,
) -> list[tuple[str, Sequence[RunHit]]]:
    """Rerank a shard's queries, those that are known and have hits with texts."""
    texts: dict[str, Any] = {}
    found = [(qid, _with_text(qid, hits, topics, source, depth, texts, unknown)) for qid, hits in shard]
    known = [(qid, hits) for qid, hits in found if hits]
    with reranker.counting() as own:
        results = reranker.rerank_candidates(
            [checked_query(topics[qid]) for qid, _ in known],
            [from_hits(hits, depth or len(hits)) for _, hits in known],
            Function(texts.get, "the collection"),
            max((len(hits) for _, hits in known), default=1),
            own,
        )
    counts.add(own)
    return [(qid, hits) for (qid, _), hits in zip(known, results, strict=True)]


def _from_cache(reranker: Reranker) -> int:
    """How many scores the reranker has taken from its cache so far."""
    return sum(model.known_scores for model in reranker.models())


def _shards(queries: Iterable[tuple[str, list[RunHit]]], depth: int | None) -> Iterator[list[tuple[str, list[RunHit]]]]:
    """Cut a run into shards of about `SHARD` pairs and at most `LINES` lines, by nothing but its lines."""
    shard: list[tuple[str, list[RunHit]]] = []
    pairs = count = 0
    for qid, hits in queries:
        own = min(len(hits), depth or len(hits))
        if shard and (pairs + own > SHARD or count + len(hits) > LINES):
            yield shard
            shard, pairs, count = [], 0, 0
        shard.append((qid, hits))
        pairs, count = pairs + own, count + len(hits)
    yield shard


def _with_text(
    qid: str,
    hits: Sequence[RunHit],
    topics: Mapping[str, str],
    source: Source | None,
    depth: int | None,
    texts: dict[str, Any],
    unknown: Skipped | None,
) -> list[RunHit]:
    """Look the texts of a query's first hits up, and leave out what is bad if that is wished."""
    if qid not in topics:
        if unknown is None:
            raise ValueError(f"query {qid} of the run is not among the topics: name others, or pass --skip-bad.")
        unknown.add("query not among the topics")
        return []
    head = hits[: depth or len(hits)]
    docids = [hit.docid for hit in head]
    own = source.read(docids, [None] * len(docids)) if source else [hit.text for hit in head]
    found = dict(zip(docids, own, strict=True))
    missing = {docid for docid, text in found.items() if text is None}
    if missing:
        if unknown is None:
            raise MissingText(
                f"document {min(missing)} of query {qid} has no text in {source.place if source else 'the run'}: name "
                "another collection or index, or pass --skip-bad."
            )
        unknown.add("document without text", len(missing))
    texts |= found
    return [hit for hit in hits if hit.docid not in missing]
