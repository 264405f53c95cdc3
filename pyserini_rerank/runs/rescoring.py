"""Reranking a run file in shards of queries. Each shard is scored and committed, so that the job can be interrupted.

The result of a shard depends on the shard alone: a `Reader` looks up its texts, and a `Scorer` scores them.
`one_process.OneProcess` runs both in this process, and `ray_cluster.Cluster` runs them on many machines.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, NamedTuple

from ..counts import Counts
from ..passages import Passages
from ..progress import queries_bar
from ..reranker import SHARD, Reranker
from ..retrieval.candidates import from_hits
from ..retrieval.queries import text_or_blank
from ..texts.source import MissingText, Source, clean
from .resumable_output import ResumableOutput
from .run_file import RunHit, Skipped, check_name, lines

#: The most lines of a run in one shard, and so in memory, whatever the depth.
LINES = 10 * SHARD


class Query(NamedTuple):
    """A query of a run with its hits."""

    qid: str
    text: str | None
    """None if the query is not among the topics."""
    hits: list[RunHit]


#: The unit of work: its pairs are tokenized and put into batches together, and its lines are committed together.
Shard = list[Query]


@dataclass(frozen=True)
class RerankSettings:
    """The settings of reranking a run.

    Parameters
    ----------
    depth : int, optional
        The number of a query's hits that are rescored; the other hits follow them. All by default.
    tag : str
        The last column of the output.
    skip_bad : bool
        Leave out bad queries and documents, and count them. Otherwise they are errors.

    Raises
    ------
    ValueError
        The tag is empty, has white space in it, or cannot be written in UTF-8.
    """

    depth: int | None = None
    tag: str = "reranked"
    skip_bad: bool = False

    def __post_init__(self) -> None:
        check_name(self.tag, "the tag", "choose one without")


@dataclass(frozen=True)
class ShardTexts:
    """A shard with its texts."""

    shard: Shard
    """The queries and hits that were not left out."""
    texts: list[list[Any]]
    """The texts of each query's first hits, which are rescored. A docid may have another text for another query."""
    skipped: dict[str, int]
    """How many queries and documents were left out, by reason."""
    queries: int
    """The number of queries before any was left out."""


@dataclass(frozen=True)
class Rescored:
    """The result of a shard."""

    lines: str
    """Its lines of the output."""
    counts: Counts
    skipped: dict[str, int]
    """How many queries and documents were left out, by reason."""
    known_scores: int
    """The number of scores that came from a cache."""
    queries: int
    """The number of queries before any was left out."""


#: A function that rescores shards, and gives the results in the order of the shards. It may take several shards before
#: it gives a result.
Rescore = Callable[[Iterator[Shard]], Iterator[Rescored]]


def cut(run: Iterable[tuple[str, list[RunHit]]], topics: Mapping[str, str], depth: int | None) -> Iterator[Shard]:
    """Cut a run into shards of about `SHARD` pairs and at most `LINES` lines. The cuts depend on nothing but the run.

    Parameters
    ----------
    run : iterable
        The queries with their hits; see `run_file.read` and `OfficialCandidates`.
    topics : mapping
        qid -> query.
    depth : int, optional
        The number of a query's hits that are rescored; all by default.
    """
    shard: Shard = []
    pairs = run_lines = 0
    for qid, hits in run:
        rescored = min(len(hits), depth or len(hits))
        if shard and (pairs + rescored > SHARD or run_lines + len(hits) > LINES):
            yield shard
            shard, pairs, run_lines = [], 0, 0
        shard.append(Query(qid, topics.get(qid), hits))
        pairs, run_lines = pairs + rescored, run_lines + len(hits)
    yield shard


class Reader:
    """A reader that looks up the texts of shards.

    Parameters
    ----------
    settings : RerankSettings
    open_source : callable
        Opens the source of the texts, when the first text is needed. It gives None if the hits have their texts.
    """

    def __init__(self, settings: RerankSettings, open_source: Callable[[], Source | None]) -> None:
        self.settings = settings
        self.open_source = open_source

    @cached_property
    def source(self) -> Source | None:
        return self.open_source()

    def location(self) -> str | None:
        """Name the file, index or folder that holds the texts; None if the hits have their texts."""
        return self.source.location if self.source else None

    def read(self, shard: Shard) -> ShardTexts:
        """Look up the texts of each query's first hits.

        Raises
        ------
        ValueError, LookupError
            A qid is unknown or a document has no text, and the settings do not have them left out.
        """
        skipped = Skipped()
        kept: Shard = []
        texts: list[list[Any]] = []
        for query in shard:
            hits, query_texts = self._with_text(query, skipped)
            if hits:
                kept.append(query._replace(hits=hits))
                texts.append(query_texts)
        return ShardTexts(kept, texts, skipped.reasons, len(shard))

    def _with_text(self, query: Query, skipped: Skipped) -> tuple[list[RunHit], list[Any]]:
        """Look up the texts of a query's first hits; give all hits that are kept, and those texts.

        A bad hit may be left out as if it were not in the run: the hits below it move up.
        """
        qid, hits = query.qid, query.hits
        if query.text is None:
            if not self.settings.skip_bad:
                raise ValueError(f"query {qid} of the run is not among the topics: name others, or pass skip_bad=True.")
            skipped.add("query not among the topics")
            return [], []
        depth = self.settings.depth or len(hits)
        kept: list[RunHit] = []
        texts: list[Any] = []
        rest = iter(hits)
        while next_hits := list(islice(rest, depth - len(kept))):
            for hit, text in zip(next_hits, self._texts(next_hits), strict=True):
                if text is not None:
                    kept.append(hit)
                    texts.append(clean(text) if isinstance(text, str) else text)
                elif self.settings.skip_bad:
                    skipped.add("document without text")
                else:
                    raise MissingText(
                        f"document {hit.docid} of query {qid} has no text in {self.location() or 'the run'}: "
                        "name another collection or index, or pass skip_bad=True."
                    )
        return kept + list(rest), texts

    def _texts(self, hits: list[RunHit]) -> Sequence[Any]:
        if self.source is None:
            return [hit.text for hit in hits]
        return self.source.read([hit.docid for hit in hits], [None] * len(hits))


class Scorer:
    """A scorer of shards with their texts."""

    def __init__(self, settings: RerankSettings, reranker: Reranker) -> None:
        self.settings = settings
        self.reranker = reranker

    def score(self, shard_texts: ShardTexts) -> Rescored:
        """Score a shard's pairs, and write its lines."""
        shard, known_before = shard_texts.shard, self.reranker.known_scores
        candidates_of_queries = [
            from_hits(query.hits, len(texts)) for query, texts in zip(shard, shard_texts.texts, strict=True)
        ]
        with self.reranker.counting() as counts:
            results = self.reranker.rerank_passages(
                [text_or_blank(query.text) for query in shard],
                candidates_of_queries,
                [
                    Passages(candidates.docids, texts, candidates.first_scores)
                    for candidates, texts in zip(candidates_of_queries, shard_texts.texts, strict=True)
                ],
                max((len(query.hits) for query in shard), default=1),
                counts,
            )
        run_lines = (
            line
            for query, hits in zip(shard, results, strict=True)
            for line in lines(query.qid, hits, self.settings.tag)
        )
        known = self.reranker.known_scores - known_before
        return Rescored("".join(run_lines), counts, shard_texts.skipped, known, shard_texts.queries)


def rescore_run(
    work: ResumableOutput, shards: Iterator[Shard], rescore: Rescore, facts: Mapping[str, Any], queries: int
) -> dict[str, Any]:
    """Rerank a run into a TREC run.

    Parameters
    ----------
    work : ResumableOutput
        The growing output. Shards that are committed there are not rescored again.
    shards : iterator of Shard
        The run; see `cut`.
    rescore : Rescore
        `OneProcess.rescore` or `Cluster.rescore`.
    facts : mapping
        The `provenance` of the scores.
    queries : int
        The number of queries of the run, for the progress bar.

    Returns
    -------
    dict
        The report: the facts, the ``counts``, how much was ``skipped`` by reason, ``known_scores`` (the number of
        scores that came from a cache), the ``seconds`` from reading the first shard to committing the last one, and
        ``pairs_per_second`` of the scores that were computed.

    Raises
    ------
    ValueError, LookupError
        A line is bad, a qid is unknown, a document has no text, or the output was begun with another checkpoint.
    """
    tally = Tally(facts["fingerprint"])
    if work.commits:
        tally = Tally(**{**work.notes, "counts": Counts(**work.notes["counts"])})
    if tally.fingerprint != facts["fingerprint"]:
        raise ValueError(f"{work.folder} was begun with another checkpoint or dtype: delete it to begin anew.")
    done = sum(len(shard) for shard in islice(shards, work.commits))
    with queries_bar(queries, "reranking", done=done, leave=True) as reach:
        start = time.perf_counter()
        for rescored in rescore(shards):
            start, shard_start = time.perf_counter(), start
            tally.add(rescored, start - shard_start)
            work.commit(rescored.lines, asdict(tally))
            done += rescored.queries
            reach(done)
    computed = tally.counts.scored - tally.known_scores
    return {
        **facts,
        "counts": vars(tally.counts),
        "skipped": tally.unknown,
        "known_scores": tally.known_scores,
        "seconds": round(tally.seconds, 3),
        "pairs_per_second": round(computed / tally.seconds, 1) if tally.seconds else None,
    }


@dataclass
class Tally:
    """The sums over all shards so far, which are stored with each commit."""

    fingerprint: str
    counts: Counts = field(default_factory=Counts)
    unknown: dict[str, int] = field(default_factory=dict)
    """How many queries and documents were left out, by reason."""
    known_scores: int = 0
    seconds: float = 0.0

    def add(self, rescored: Rescored, seconds: float) -> None:
        self.counts.add(rescored.counts)
        for reason, count in rescored.skipped.items():
            self.unknown[reason] = self.unknown.get(reason, 0) + count
        self.known_scores += rescored.known_scores
        self.seconds += seconds
