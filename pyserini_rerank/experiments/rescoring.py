"""Reranking a run file: queries in shards, each scored and committed, so that it can be interrupted."""

import time
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .. import __version__
from ..reranker import SHARD, Counts, Reranker
from ..retrieval.candidates import from_hits
from ..retrieval.queries import checked_query
from ..retrieval.texts import Function, MissingText, Source
from .runs import RunHit, Skipped, lines, read
from .work import Work

#: What a report names the versions of.
PACKAGES = ("pyserini", "torch", "transformers", "tokenizers", "numpy")


def rerank_run(
    work: Work,
    run: Path,
    topics: dict[str, str],
    source: Source,
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
    run : path
        See `runs.read`.
    topics : dict
        qid -> query. A query of the run that is not among them is bad.
    source : Source
        Where the documents' texts are. A document without one is bad.
    depth : int, optional
        How many of a query's hits are rescored; the others follow below. All by default.
    skip_bad : bool
        Leave out what is bad and count it; otherwise it is an error.

    Returns
    -------
    dict
        The report, which also lies beside the output.

    Raises
    ------
    ValueError, LookupError
        A bad line, an unknown qid, a document without text.
    """
    bad_lines = Skipped() if skip_bad else None
    unknown = Skipped(dict(work.notes.get("unknown", {}))) if skip_bad else None
    counts = Counts(**work.notes.get("counts", {}))
    seconds = float(work.notes.get("seconds", 0))
    done = work.commits
    for number, shard in enumerate(_shards(read(run, bad_lines), depth)):
        if number < done:
            continue
        start = time.perf_counter()
        texts: dict[str, str | None] = {}
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
        written = (line for (qid, _, _), hits in zip(known, results, strict=True) for line in lines(qid, hits, tag))
        notes = {"counts": vars(counts), "seconds": seconds, "unknown": unknown.reasons if unknown else {}}
        work.commit(written, notes)
    report = {
        "settings": work.settings,
        "fingerprint": reranker.backend.fingerprint if reranker.backend else None,
        "versions": {"pyserini-rerank": __version__, **{name: version(name) for name in PACKAGES}},
        "counts": vars(counts),
        "skipped": {**(bad_lines.reasons if bad_lines else {}), **(unknown.reasons if unknown else {})},
        "seconds": round(seconds, 3),
        "pairs_per_second": round(counts.scored / seconds, 1) if seconds else None,
    }
    work.finish(report)
    return report


def _shards(queries: Iterable[tuple[str, list[RunHit]]], depth: int | None) -> Iterator[list[tuple[str, list[RunHit]]]]:
    """Cut a run into shards of about `SHARD` pairs, by nothing but its lines."""
    shard: list[tuple[str, list[RunHit]]] = []
    pairs = 0
    for qid, hits in queries:
        own = min(len(hits), depth or len(hits))
        if shard and pairs + own > SHARD:
            yield shard
            shard, pairs = [], 0
        shard.append((qid, hits))
        pairs += own
    yield shard


def _with_text(
    qid: str,
    hits: Sequence[RunHit],
    topics: dict[str, str],
    source: Source,
    depth: int | None,
    texts: dict[str, str | None],
    unknown: Skipped | None,
) -> tuple[str, list[RunHit]]:
    """Look the texts of a query's first hits up, and leave out what is bad if that is wished."""
    if qid not in topics:
        if unknown is None:
            raise ValueError(f"query {qid} of the run is not among the topics: name others, or pass --skip-bad.")
        unknown.add("query not among the topics")
        return qid, []
    head = [hit.docid for hit in hits[: depth or len(hits)]]
    found = dict(zip(head, source.read(head, [None] * len(head)), strict=True))
    missing = {docid for docid, text in found.items() if text is None}
    if missing:
        if unknown is None:
            raise MissingText(
                f"document {min(missing)} of query {qid} has no text in {source.place}: name another collection or "
                "index, or pass --skip-bad."
            )
        unknown.add("document without text", len(missing))
    texts |= found
    return qid, [hit for hit in hits if hit.docid not in missing]
