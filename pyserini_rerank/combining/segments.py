"""Documents that an index holds in segments."""

from collections.abc import Sequence

import numpy as np

from ..ranking import arrange
from ..reranker import Counts, Passages, Reranker, Scores
from ..retrieval.candidates import Candidates
from ..retrieval.hits import Hits, Trace, rescored
from ..retrieval.jvm import JAVA_LOCK
from .aggregates import aggregate_of


class Segments(Reranker):
    """Makes a document's score of those of its segments, and one hit of theirs.

    The hit of a document is a copy of that of the segment that the first stage ranked highest, with the document's
    docid. Ask for as many documents as you want, and a depth that has enough segments for them. Inside another reranker
    it gives every segment its document's score, and the hits stay those of segments.

    Parameters
    ----------
    reranker : Reranker
    aggregate : str or int
        As for `Windows`, over the segments that were found and in the first stage's order.
    delimiter : str
        What comes between the docid and the number of the segment, as in ``D59219#3``.

    Raises
    ------
    ValueError
        There is no such aggregate; the delimiter is empty.
    """

    def __init__(self, reranker: Reranker, aggregate: str | int = "max", delimiter: str = "#") -> None:
        if not delimiter:
            raise ValueError("the delimiter is empty: give what comes before the number of a segment.")
        super().__init__(f"segments({reranker.name}, {aggregate}, {delimiter})", [reranker])
        self.reranker = reranker
        self.aggregate = aggregate_of(aggregate)
        self.delimiter = delimiter
        self.depth = reranker.depth

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        scores = self.reranker.relevance(queries, found, counts)
        return [self._of_documents(some.docids, own) for some, own in zip(found, scores, strict=True)]

    def _of_documents(self, docids: Sequence[str], scores: Scores) -> Scores:
        rows: dict[str, list[int]] = {}
        for row in np.flatnonzero(~np.isnan(scores)).tolist():
            rows.setdefault(self._document(docids[row]), []).append(row)
        aggregated = np.full(len(scores), np.nan, dtype=np.float32)
        for some in rows.values():
            aggregated[some] = self.aggregate(scores[some])
        return aggregated

    def to_hits(self, candidates: Candidates, scores: Scores, k: int) -> Hits:
        positions, new_scores = arrange(scores, candidates.count)
        hits: dict[str, object] = {}
        traces = []
        with JAVA_LOCK:
            for position, score in zip(positions.tolist(), new_scores.tolist(), strict=True):
                hit = candidates.hit(position)
                docid = self._document(hit.docid)
                if docid not in hits:
                    traces.append(Trace(docid, score, position + 1, float(hit.score), hit.docid))
                    hits[docid] = rescored(hit, score, docid)
                    if len(hits) == k:
                        break
        return Hits(hits.values(), traces)

    def _document(self, docid: str) -> str:
        return docid.rpartition(self.delimiter)[0] or docid
