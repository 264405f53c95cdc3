"""Segments: documents that an index holds in several parts are scored as documents."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..counts import Counts
from ..passages import Parts, Passages
from ..ranking import Ranking, arrange
from ..reranker import Reranker
from ..retrieval.candidates import Candidates
from ..retrieval.hits import Hits, Trace, rescored
from ..retrieval.jvm import JAVA_LOCK
from ..scales import Scale
from .aggregates import PartsAggregate
from .combination import Combination
from .maker import Maker


class Segments(Combination, key="segments"):
    """A reranker that makes a document's score of its segments' scores, and one hit of its segments' hits.

    The hit of a document is a copy of the hit of the segment that the first stage ranked highest, with the document's
    docid. `k` counts documents and the depth counts segments: give a depth with enough segments for k documents. As
    part of another reranker it gives each segment its document's score, and the hits stay hits of segments.

    The reranker in it sees documents: a cascade's depths count them, a fusion ranks them, and a document's first-stage
    score is that of its best segment.

    Parameters
    ----------
    reranker : Reranker, or an argument of `pyserini_rerank.load`
    aggregate : str or int
        As for `Windows`, over the segments that were found, in first-stage order.
    delimiter : str
        The text between the docid and the number of the segment, such as "#" in ``D59219#3``.

    Raises
    ------
    ValueError
        There is no such aggregate; it is not defined for the reranker's scores; the delimiter is empty, or no text.
    """

    def __init__(self, reranker: Any, aggregate: str | int = "max", delimiter: str = "#") -> None:
        if not (isinstance(delimiter, str) and delimiter):
            kind = "empty" if not delimiter else f"a {type(delimiter).__name__}"
            raise ValueError(f"the delimiter is {kind}: give the text before the number of a segment, such as '#'.")
        self.aggregate = PartsAggregate(aggregate)
        self.delimiter = delimiter
        with Maker() as maker:
            part = maker.make(reranker)
            self.aggregate.check(part.scales_of_parts, part.name)
        super().__init__(f"segments({part.name}, {aggregate}, {delimiter})", [part])
        self.scale = self.aggregate.scale(part.scale)

    @property
    def reranker(self) -> Reranker:
        """The reranker that scores the documents."""
        return self.parts[0]

    @property
    def scales_of_parts(self) -> set[Scale]:
        return {self.aggregate.scale(scale) for scale in self.reranker.scales_of_parts}

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        rows = [self._rows(passages) for passages in found]
        documents = [self._documents(*of_query) for of_query in zip(found, rows, strict=True)]
        rankings = self.reranker.rankings(queries, documents, counts)
        lengths = [len(passages.texts) for passages in found]
        return [_ranking_of_segments(*of_query) for of_query in zip(lengths, rows, rankings, strict=True)]

    def _rows(self, passages: Passages) -> dict[str, list[int]]:
        """Map each docid to the positions of its segments that have a text."""
        rows: dict[str, list[int]] = {}
        for row, (docid, text) in enumerate(zip(passages.docids, passages.texts, strict=True)):
            if text != "":
                rows.setdefault(self._document(docid), []).append(row)
        return rows

    def _documents(self, passages: Passages, rows: dict[str, list[int]]) -> Passages:
        """Put segments together into documents, in the order of the first segment of each."""
        if self.aggregate.name == "first" and any(len(segments) > 1 for segments in rows.values()):
            passages.ranked_scores()  # raises unless the segments are in an order, so that the first is the best
        firsts = [segments[0] for segments in rows.values()]
        return Passages(
            list(rows),
            [Parts(tuple(passages.texts[row] for row in segments), self.aggregate) for segments in rows.values()],
            lambda: passages.first_scores()[firsts],
        )

    def to_hits(self, candidates: Candidates, ranking: Ranking, k: int) -> Hits:
        positions, new_scores = arrange(ranking, candidates.count)
        hits: dict[str, object] = {}
        traces = []
        scored = 0
        with JAVA_LOCK:
            for place, (position, score) in enumerate(zip(positions.tolist(), new_scores.tolist(), strict=True)):
                hit = candidates.hit(position)
                docid = self._document(hit.docid)
                if docid not in hits:
                    scored += place < ranking.scored
                    traces.append(Trace(docid, score, position + 1, float(hit.score), hit.docid))
                    hits[docid] = rescored(hit, score, docid)
                    if len(hits) == k:
                        break
        return Hits(hits.values(), traces, scored)

    def _document(self, docid: str) -> str:
        """Give the docid of a segment's document; a docid without delimiter is a document's already."""
        return docid.rpartition(self.delimiter)[0] or docid


def _ranking_of_segments(count: int, rows: dict[str, list[int]], ranking: Ranking) -> Ranking:
    """Give each segment the score of its document, or its document's place behind."""
    segments_by_document = list(rows.values())
    scores = np.full(count, np.nan, dtype=np.float32)
    for segments, score in zip(segments_by_document, ranking.scores, strict=True):
        scores[segments] = score
    behind = [row for document in ranking.behind.tolist() for row in segments_by_document[document]]
    return Ranking(scores, np.array(behind, dtype=np.intp))
