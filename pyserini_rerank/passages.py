"""The passages that a reranker scores: texts, tokens, or documents in several parts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .ranking import Scores
from .scales import Scale

#: Makes a document's score of its parts' scores, float32 (n,) with n above 0, and of their scale.
Aggregate = Callable[[Scores, Scale], float]


class Tokens(bytes):
    """A passage that was tokenized before, such as a window of a text: its tokens' ids in little-endian int32.

    They are without special tokens and uncut. Only backends with a `vocabulary` are given such passages.
    """


class Parts(NamedTuple):
    """A document in parts, each of which is scored: its windows, or its segments in an index."""

    texts: tuple[Any, ...]
    """One part or more, each a str, `Tokens` or again `Parts`."""
    aggregate: Aggregate


@dataclass(frozen=True)
class Passages:
    """The passages of one query that a reranker scores: the best candidates, in first-stage order."""

    docids: Sequence[str]
    texts: Sequence[Any]
    """Each is a str, `Tokens` or `Parts`; "" stands for a document without any text, which is not scored."""
    first_scores: Callable[[], Scores]
    """The first stage's scores, read when they are asked for: float32 (n,), NaN where the candidates have none."""
    missing: frozenset[int] = frozenset()
    """The positions of texts that are "" because their source lacks the document, and was told to skip it."""

    def at(self, positions: Sequence[int]) -> "Passages":
        """Give the passages at `positions`, in that order."""
        return Passages(
            [self.docids[i] for i in positions],
            [self.texts[i] for i in positions],
            lambda: self.first_scores()[list(positions)],
            frozenset(new for new, old in enumerate(positions) if old in self.missing),
        )

    def ranked_scores(self) -> Scores:
        """Give the first stage's scores, float32 (n,), and check that they order the passages.

        Raises
        ------
        ValueError
            The candidates have no first-stage scores, and so no order; or a score is infinite.
        """
        scores = self.first_scores()
        if np.isinf(scores).any():
            docid = self.docids[int(np.argmax(np.isinf(scores)))]
            raise ValueError(
                f"the first stage's score of {docid!s:.50} is infinite in float32: it cannot be weighed in."
            )
        if np.isnan(scores).any():
            raise ValueError(
                "the candidates have no first-stage scores and are in no order, such as MS MARCO's official ones: a "
                "first stage cannot be weighed in, nor can its best be taken. Rerank them with a checkpoint alone, "
                "with a cascade that scores all of them first, or name the run of a first stage."
            )
        return scores

    def flat(self) -> "Passages":
        """Give each part of a document as a passage of its own, with the document's docid and first-stage score."""
        if not any(isinstance(text, Parts) for text in self.texts):
            return self
        leaves = [list(_leaves(text)) for text in self.texts]
        counts = [len(texts) for texts in leaves]
        return Passages(
            [docid for docid, count in zip(self.docids, counts, strict=True) for _ in range(count)],
            [leaf for texts in leaves for leaf in texts],
            lambda: np.repeat(self.first_scores(), counts),
        )

    def gather(self, scores: Scores, scale: Scale) -> Scores:
        """Make the documents' scores, float32 (n,), of the scores of `flat`'s passages.

        A document's score is NaN where that of one of its parts is.
        """
        if len(scores) == len(self.texts) and not any(isinstance(text, Parts) for text in self.texts):
            return scores
        remaining = iter(scores)
        return np.array([_score_of(text, remaining, scale) for text in self.texts], dtype=np.float32)


def _leaves(text: Any) -> Iterator[Any]:
    """Give the texts and tokens of which a document's parts are made."""
    if isinstance(text, Parts):
        for part in text.texts:
            yield from _leaves(part)
    else:
        yield text


def _score_of(text: Any, scores: Iterator[Any], scale: Scale) -> float:
    """Take a document's scores off `scores`, one for each of its leaves, and make its score of them."""
    if not isinstance(text, Parts):
        return float(next(scores))
    parts_scores = np.array([_score_of(part, scores, scale) for part in text.texts], dtype=np.float32)
    return float("nan") if np.isnan(parts_scores).any() else text.aggregate(parts_scores, scale)


def check_text(text: Any, position: int) -> None:
    """Check that a text can be scored; raises TypeError or ValueError."""
    if not isinstance(text, str):
        raise TypeError(f"text {position} is a {type(text).__name__}, not a string.")
    if not text.strip():
        raise ValueError(f"text {position} is empty: there is nothing to score.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text {position} holds half of a surrogate pair at character {error.start}: "
            "clean it with text.encode('utf-8', 'replace').decode()."
        ) from None
