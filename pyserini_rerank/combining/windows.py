"""Windows: documents that are longer than a model's input are scored piece by piece."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..arguments import whole
from ..counts import Counts
from ..passages import Parts, Passages, Tokens
from ..ranking import Ranking
from ..reranker import Reranker
from ..scales import Scale
from .aggregates import PartsAggregate
from .combination import Combination
from .maker import Maker

#: Bytes of a token's id in `Tokens`.
ID_BYTES = 4


class Windows(Combination, key="windows"):
    """A reranker that scores every window of a document, and makes the document's score of the windows' scores.

    The windows of all documents of all queries go through the model together. A document is tokenized as a whole, and
    its tokens are cut into windows, so that each word has the same tokens as in the whole document. A window that does
    not fit into `max_length` beside the query is cut, and counted as cut. In a combination each checkpoint gives the
    documents scores of its own: a cascade's depths count documents, and scores of documents are normalised.

    Parameters
    ----------
    reranker : Reranker, or an argument of `pyserini_rerank.load`
        Its checkpoints have to read tokens of one vocabulary.
    size : int
        The number of tokens of a window.
    stride : int
        The number of tokens from the start of a window to the start of the next. The last window is the first that
        reaches the document's end.
    aggregate : str or int
        ``"max"`` (MaxP), ``"first"`` (FirstP: only the first window is scored), ``"sum"`` (SumP, of probabilities),
        or n: the mean of the n best.

    Raises
    ------
    ValueError
        The size or stride is below 1; the stride is above the size, which would leave tokens out; there is no such
        aggregate; a checkpoint takes texts only.
    """

    def __init__(self, reranker: Any, size: int = 256, stride: int = 128, aggregate: str | int = "max") -> None:
        size, stride = whole(size, "size"), whole(stride, "stride")
        if not 1 <= stride <= size:
            raise ValueError(f"windows of {size} tokens with stride {stride}: give a stride from 1 to the size.")
        self.size, self.stride = size, stride
        self.aggregate = PartsAggregate(aggregate)
        with Maker() as maker:
            part = maker.make(reranker)
            self._check(part)
        super().__init__(f"windows({part.name}, {size}/{stride}, {aggregate})", [part])
        self.scale = self.aggregate.scale(part.scale)

    @property
    def reranker(self) -> Reranker:
        """The reranker that scores the windows."""
        return self.parts[0]

    def _check(self, reranker: Reranker) -> None:
        """Check that a reranker reads tokens of one vocabulary, and that the aggregate is defined for its scores."""
        self.aggregate.check(reranker.scales_of_parts, reranker.name)
        vocabularies = {leaf.vocabulary: leaf.name for leaf in reranker.leaves()}
        if None in vocabularies or len(vocabularies) != 1:
            raise ValueError(
                f"windows are cut by tokens, and {' and '.join(vocabularies.values()) or reranker.name} "
                + ("have different vocabularies" if len(vocabularies) > 1 else "takes texts only")
                + ": use the torch, onnx or openvino backend, and checkpoints of one vocabulary."
            )

    @property
    def scales_of_parts(self) -> set[Scale]:
        return {self.aggregate.scale(scale) for scale in self.reranker.scales_of_parts}

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        flat = [text for passages in found for text in passages.flat().texts]
        texts = list(dict.fromkeys(text for text in flat if isinstance(text, str)))
        ids = dict(zip(texts, next(self.leaves()).tokenize(texts), strict=True))

        def cut(text: Any) -> Any:
            """Cut a text, or each part of a document in parts, into windows; a document without text stays ""."""
            if isinstance(text, Parts):
                return text._replace(texts=tuple(map(cut, text.texts)))
            if not text:
                return ""
            return Parts(self._windows(ids[text] if isinstance(text, str) else text), self.aggregate)

        windows = [replace(passages, texts=[cut(text) for text in passages.texts]) for passages in found]
        return self.reranker.rankings(queries, windows, counts)

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        ids = passage if isinstance(passage, Tokens) else next(self.leaves()).tokenize([passage])[0]
        windows = self._windows(ids)
        left_out = self.aggregate.name == "first" and len(ids) > len(windows[0])
        return left_out or any(self.reranker.cuts(query, window) for window in windows)

    def _windows(self, ids: Tokens) -> tuple[Tokens, ...]:
        """Cut a text's tokens into windows."""
        count = len(ids) // ID_BYTES
        steps = 0 if self.aggregate.name == "first" else max(0, -(-(count - self.size) // self.stride))
        starts = range(0, (steps + 1) * self.stride, self.stride)
        return tuple(Tokens(ids[start * ID_BYTES : (start + self.size) * ID_BYTES]) for start in starts)
