"""Documents that an index holds in segments."""

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


class Segments(Combination, written="segments"):
    """Makes a document's score of those of its segments, and one hit of theirs.

    The hit of a document is a copy of that of the segment that the first stage ranked highest, with the document's
    docid. Ask for as many documents as you want, and a depth that has enough segments for them. Inside another reranker
    it gives every segment its document's score, and the hits stay those of segments.

    A reranker within it sees documents: a cascade's depths count them, a fusion ranks them, and a document's
    first-stage score is that of its best segment.

    Parameters
    ----------
    reranker : Reranker, or what `pyserini_rerank.load` takes
    aggregate : str or int
        As for `Windows`, over the segments that were found and in the first stage's order.
    delimiter : str
        What comes between the docid and the number of the segment, as in ``D59219#3``.

    Raises
    ------
    ValueError
        There is no such aggregate, or it is not defined for the reranker's scores; the delimiter is empty.
    """

    def __init__(self, reranker: Any, aggregate: str | int = "max", delimiter: str = "#") -> None:
        if not (isinstance(delimiter, str) and delimiter):
            said = "empty" if not delimiter else f"a {type(delimiter).__name__}"
            raise ValueError(f"the delimiter is {said}: give what comes before the number of a segment, such as '#'.")
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
        documents = [self._documents(*of_a_query) for of_a_query in zip(found, rows, strict=True)]
        rankings = self.reranker.rankings(queries, documents, counts)
        lengths = [len(passages.texts) for passages in found]
        return [_of_segments(*parts) for parts in zip(lengths, rows, rankings, strict=True)]

    def _rows(self, passages: Passages) -> dict[str, list[int]]:
        """Find the segments of each document that have a text, by their positions."""
        rows: dict[str, list[int]] = {}
        for row, (docid, text) in enumerate(zip(passages.docids, passages.texts, strict=True)):
            if text != "":
                rows.setdefault(self._document(docid), []).append(row)
        return rows

    def _documents(self, passages: Passages, rows: dict[str, list[int]]) -> Passages:
        """Put segments together into documents, in the order of the first segment of each."""
        if self.aggregate.name == "first" and any(len(of_document) > 1 for of_document in rows.values()):
            passages.ranked_scores()  # the first segment is the best, or this raises
        firsts = [of_document[0] for of_document in rows.values()]
        return Passages(
            list(rows),
            [Parts(tuple(passages.texts[row] for row in of_document), self.aggregate) for of_document in rows.values()],
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
        return docid.rpartition(self.delimiter)[0] or docid


def _of_segments(count: int, rows: dict[str, list[int]], ranking: Ranking) -> Ranking:
    """Give each document's segments its score, or its place behind."""
    of_documents = list(rows.values())
    scores = np.full(count, np.nan, dtype=np.float32)
    for of_document, score in zip(of_documents, ranking.scores, strict=True):
        scores[of_document] = score
    behind = [row for document in ranking.behind.tolist() for row in of_documents[document]]
    return Ranking(scores, np.array(behind, dtype=np.intp))
