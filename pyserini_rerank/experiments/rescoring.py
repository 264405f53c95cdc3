"""Reranking a run file: queries in shards, each scored and committed, so that it can be interrupted."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

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
    facts = provenance(reranker)
    if facts["fingerprint"] != work.notes.get("fingerprint", facts["fingerprint"]):
        raise ValueError(f"{work.folder} was begun with another checkpoint or dtype: delete it to begin anew.")
    unknown = Skipped(dict(work.notes.get("unknown", {}))) if skip_bad else None
    counts = Counts(**work.notes.get("counts", {}))
    seconds, known_scores = work.notes.get("seconds", 0.0), work.notes.get("known_scores", 0)
    done = work.commits
    for number, shard in enumerate(_shards(run, depth)):
        if number < done:
            continue
        start, cached = time.perf_counter(), _from_cache(reranker)
        texts: dict[str, Any] = {}
        known = [
            (qid, topics[qid], hits)
            for qid, hits in (_with_text(qid, hits, topics, source, depth, texts, unknown) for qid, hits in shard)
            if hits
        ]
        with reranker.counting() as own:
            results = reranker.rerank_candidates(
                [checked_query(query) for _, query, _ in known],
                [from_hits(hits, depth or len(hits)) for _, _, hits in known],
                Function(texts.get, "the collection"),
                max((len(hits) for _, _, hits in known), default=1),
                own,
            )
        counts.add(own)
        seconds += time.perf_counter() - start
        known_scores += _from_cache(reranker) - cached
        written = (line for (qid, _, _), hits in zip(known, results, strict=True) for line in lines(qid, hits, tag))
        notes = {
            "counts": vars(counts),
            "seconds": seconds,
            "known_scores": known_scores,
            "unknown": unknown.reasons if unknown else {},
        }
        work.commit(written, {"fingerprint": facts["fingerprint"], **notes})
    return {
        **facts,
        "counts": vars(counts),
        "skipped": unknown.reasons if unknown else {},
        "known_scores": known_scores,
        "seconds": round(seconds, 3),
        "pairs_per_second": round((counts.scored - known_scores) / seconds, 1) if seconds else None,
    }


def _from_cache(reranker: Reranker) -> int:
    """How many scores the reranker has taken from its cache so far."""
    return getattr(reranker.backend, "known", 0)


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
) -> tuple[str, list[RunHit]]:
    """Look the texts of a query's first hits up, and leave out what is bad if that is wished."""
    if qid not in topics:
        if unknown is None:
            raise ValueError(f"query {qid} of the run is not among the topics: name others, or pass --skip-bad.")
        unknown.add("query not among the topics")
        return qid, []
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
    return qid, [hit for hit in hits if hit.docid not in missing]
