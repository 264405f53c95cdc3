"""Reranking a run file: queries in shards, each scored and committed, so that it can be interrupted.

What a shard becomes is a function of the shard alone: a `Reader` looks its texts up, a `Scorer` scores them.
`one_process.OneProcess` is the two in this process, `ray_cluster.Cluster` the same two on many machines.
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

#: Lines that are held in memory at once, whatever the depth.
LINES = 10 * SHARD


class Query(NamedTuple):
    """A query of a run with its hits."""

    qid: str
    text: str | None
    """None where the query is not among the topics."""
    hits: list[RunHit]


#: The unit of work: its pairs are tokenized and put into batches together, and its lines are committed together.
Shard = list[Query]


@dataclass(frozen=True)
class RerankSettings:
    """How a run is reranked.

    Parameters
    ----------
    depth : int, optional
        How many of a query's hits are rescored; the others follow below. All by default.
    tag : str
        The last column of the output.
    skip_bad : bool
        Leave out what is bad and count it; otherwise it is an error.

    Raises
    ------
    ValueError
        A TREC run cannot hold the tag.
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
    """Without what was left out."""
    texts: list[list[Any]]
    """Of each query's first hits, which are rescored. A docid may have another text for another query."""
    skipped: dict[str, int]
    """What was left out, by reason."""
    queries: int
    """How many there were before."""


@dataclass(frozen=True)
class Rescored:
    """What a shard has become."""

    lines: str
    counts: Counts
    skipped: dict[str, int]
    known_scores: int
    """Scores that a cache had."""
    queries: int


#: What makes of shards what they become, in their order; it may take some ahead.
Rescore = Callable[[Iterator[Shard]], Iterator[Rescored]]


def cut(run: Iterable[tuple[str, list[RunHit]]], topics: Mapping[str, str], depth: int | None) -> Iterator[Shard]:
    """Cut a run into shards of about `SHARD` pairs and at most `LINES` lines, by nothing but its lines.

    Parameters
    ----------
    run : iterable
        The queries with their hits; see `runs.read` and `OfficialCandidates`.
    topics : mapping
        qid -> query.
    """
    shard: Shard = []
    pairs = count = 0
    for qid, hits in run:
        scored = min(len(hits), depth or len(hits))
        if shard and (pairs + scored > SHARD or count + len(hits) > LINES):
            yield shard
            shard, pairs, count = [], 0, 0
        shard.append(Query(qid, topics.get(qid), hits))
        pairs, count = pairs + scored, count + len(hits)
    yield shard


class Reader:
    """Looks the texts of shards up.

    Parameters
    ----------
    settings : RerankSettings
    open_source : callable
        Opens where the documents' texts are, when the first is asked for; gives None where the hits have them.
    """

    def __init__(self, settings: RerankSettings, open_source: Callable[[], Source | None]) -> None:
        self.settings = settings
        self.open_source = open_source

    @cached_property
    def source(self) -> Source | None:
        return self.open_source()

    def location(self) -> str | None:
        """Where the texts are; None where the hits have them."""
        return self.source.location if self.source else None

    def read(self, shard: Shard) -> ShardTexts:
        """Look the texts of each query's first hits up.

        Raises
        ------
        ValueError, LookupError
            An unknown qid, a document without text, unless what is bad is left out.
        """
        skipped = Skipped()
        kept: Shard = []
        texts: list[list[Any]] = []
        for query in shard:
            hits, of_hits = self._with_text(query, skipped)
            if hits:
                kept.append(query._replace(hits=hits))
                texts.append(of_hits)
        return ShardTexts(kept, texts, skipped.reasons, len(shard))

    def _with_text(self, query: Query, skipped: Skipped) -> tuple[list[RunHit], list[Any]]:
        """Look the texts of a query's first hits up.

        What is bad is left out if that is wished, as if it were not in the run: the next ones move up.
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
    """Scores shards that have their texts."""

    def __init__(self, settings: RerankSettings, reranker: Reranker) -> None:
        self.settings = settings
        self.reranker = reranker

    def score(self, passages: ShardTexts) -> Rescored:
        """Score a shard's pairs, and write its lines."""
        shard, before = passages.shard, self.reranker.known_scores
        found = [from_hits(query.hits, len(of_hits)) for query, of_hits in zip(shard, passages.texts, strict=True)]
        with self.reranker.counting() as counts:
            results = self.reranker.rerank_passages(
                [text_or_blank(query.text) for query in shard],
                found,
                [
                    Passages(candidates.docids, texts, candidates.first_scores)
                    for candidates, texts in zip(found, passages.texts, strict=True)
                ],
                max((len(query.hits) for query in shard), default=1),
                counts,
            )
        written = (
            line
            for query, hits in zip(shard, results, strict=True)
            for line in lines(query.qid, hits, self.settings.tag)
        )
        known = self.reranker.known_scores - before
        return Rescored("".join(written), counts, passages.skipped, known, passages.queries)


def rescore_run(
    work: ResumableOutput, shards: Iterator[Shard], rescore: Rescore, facts: Mapping[str, Any], queries: int
) -> dict[str, Any]:
    """Rerank a run into a TREC run.

    Parameters
    ----------
    work : ResumableOutput
        Where the output grows; what was committed there is not done again.
    shards : iterator of Shard
        The run; see `cut`.
    rescore : Rescore
        Who rescores them: `OneProcess.rescore`, or `Cluster.rescore`.
    facts : mapping
        The `provenance` of the scores.
    queries : int
        How many the run has, for the bar.

    Returns
    -------
    dict
        What is to be known of the output: the facts, and ``counts``, what was ``skipped``, how many scores
        were ``known_scores`` of a cache, ``seconds`` from the first shard's reading to the last one's commit,
        and ``pairs_per_second`` of those that were computed.

    Raises
    ------
    ValueError, LookupError
        A bad line, an unknown qid, a document without text; a work that was begun with another checkpoint.
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
            start, before = time.perf_counter(), start
            tally.add(rescored, start - before)
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
    """What a work has done so far, which it keeps with each commit."""

    fingerprint: str
    counts: Counts = field(default_factory=Counts)
    unknown: dict[str, int] = field(default_factory=dict)
    """What was left out, by reason."""
    known_scores: int = 0
    seconds: float = 0.0

    def add(self, rescored: Rescored, seconds: float) -> None:
        self.counts.add(rescored.counts)
        for reason, count in rescored.skipped.items():
            self.unknown[reason] = self.unknown.get(reason, 0) + count
        self.known_scores += rescored.known_scores
        self.seconds += seconds
