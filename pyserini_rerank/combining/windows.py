"""Documents that are longer than a model reads."""

from collections.abc import Sequence

import numpy as np

from ..reranker import Counts, Passages, Reranker, Scores
from ..scoring.backend import Tokens
from .aggregates import aggregate_of

#: Bytes of a token in `Tokens`.
WIDTH = 4


class Windows(Reranker):
    """Scores every window of a document, and makes the document's score of theirs.

    The windows of all documents of all queries go through the model together. They are the model's own tokens, so that
    none is read otherwise than in the whole document. Windows that leave the query too little room in `max_length` are
    cut, and counted as such.

    Parameters
    ----------
    reranker : Reranker
        Its checkpoints have to read tokens, of one vocabulary.
    size : int
        Tokens of a window.
    stride : int
        Tokens from the start of a window to that of the next. The last window is the first to reach the document's end.
    aggregate : str or int
        ``"max"`` (MaxP), ``"first"`` (FirstP, for which no other window is scored), ``"sum"`` (SumP, of probabilities),
        or n: the mean of the n best.

    Raises
    ------
    ValueError
        A size or stride below 1, a stride above the size (which would leave tokens out), no such aggregate, or a
        checkpoint that takes texts only.
    """

    def __init__(self, reranker: Reranker, size: int = 256, stride: int = 128, aggregate: str | int = "max") -> None:
        if not 1 <= stride <= size:
            raise ValueError(f"windows of {size} tokens with stride {stride}: give a stride from 1 to the size.")
        super().__init__(f"windows({reranker.name}, {size}/{stride}, {aggregate})", [reranker])
        self.reranker = reranker
        self.size, self.stride = size, stride
        self.only_first = aggregate == "first"
        self.aggregate = aggregate_of(aggregate)
        self.depth = reranker.depth
        vocabularies = {model.vocabulary: model.name for model in self.models()}
        if None in vocabularies or len(vocabularies) != 1:
            raise ValueError(
                f"windows are cut by tokens, and {' and '.join(vocabularies.values())} "
                + ("takes texts only" if None in vocabularies else "have different vocabularies")
                + ": use the torch backend and checkpoints of one vocabulary."
            )

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        windows = self._windows(found)
        inner = [_repeated(some, own) for some, own in zip(found, windows, strict=True)]
        scores = self.reranker.relevance(queries, inner, counts)
        return [self._aggregated(own, scored) for own, scored in zip(windows, scores, strict=True)]

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        ids = passage.ids if isinstance(passage, Tokens) else next(self.models()).tokenize([passage])[0]
        windows = self._cut(ids)
        beyond = self.only_first and len(ids) > len(windows[0].ids)
        return beyond or any(self.reranker.cuts(query, window) for window in windows)

    def _windows(self, found: Sequence[Passages]) -> list[list[list[Tokens]]]:
        """Cut each query's passages; one without text has no windows."""
        texts = list(dict.fromkeys(text for some in found for text in some.texts if isinstance(text, str)))
        ids = dict(zip(texts, next(self.models()).tokenize(texts), strict=True))
        return [
            [self._cut(ids[text] if isinstance(text, str) else text.ids) if text else [] for text in some.texts]
            for some in found
        ]

    def _cut(self, ids: bytes) -> list[Tokens]:
        count = len(ids) // WIDTH
        steps = 0 if self.only_first else max(0, -(-(count - self.size) // self.stride))
        starts = range(0, (steps + 1) * self.stride, self.stride)
        return [Tokens(ids[start * WIDTH : (start + self.size) * WIDTH], 0) for start in starts]

    def _aggregated(self, windows: Sequence[Sequence[Tokens]], scores: Scores) -> Scores:
        ends = np.cumsum([len(own) for own in windows], dtype=np.intp)
        parts = np.split(scores, ends[:-1])
        return np.array(
            [self.aggregate(part) if len(part) and np.isfinite(part).all() else np.nan for part in parts],
            dtype=np.float32,
        )


def _repeated(passages: Passages, windows: Sequence[Sequence[Tokens]]) -> Passages:
    """Lay windows out as passages of their own, each with its document's docid and first-stage score."""
    counts = [len(own) for own in windows]
    return Passages(
        np.repeat(passages.docids, counts).tolist(),
        [window for own in windows for window in own],
        lambda: np.repeat(passages.first_scores(), counts),
    )
