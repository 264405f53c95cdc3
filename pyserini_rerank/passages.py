"""The passages that a reranker scores: texts, or documents in several parts."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .ranking import Scores
from .scales import Scale

#: The scores of a document's parts, float32 (n,) with n above 0 and on a scale, to the document's own.
Aggregate = Callable[[Scores, Scale], float]


class Tokens(NamedTuple):
    """A passage that was tokenized before; only backends with a `vocabulary` are given any."""

    ids: bytes
    """Its tokens' ids in little-endian int32, without special tokens and uncut; a text may have none."""
    text: int
    """A hash of its text. Texts with the same tokens ("Flea", "flea") stay different passages, as they are
    untokenized: the batches, and with them the last bit of every score, are the same either way."""


class Parts(NamedTuple):
    """A document in parts, each of which is scored: its windows, or the segments that an index holds of it."""

    texts: tuple[Any, ...]
    """One or more, each a str, `Tokens` or again `Parts`."""
    aggregate: Aggregate


@dataclass(frozen=True)
class Passages:
    """What a reranker scores for one query: the first of its candidates, in first-stage order."""

    docids: Sequence[str]
    texts: Sequence[Any]
    """Each a str, `Tokens` or `Parts`; "" for a document without any text, which is not scored."""
    first_scores: Callable[[], Scores]
    """The first stage's scores, read when they are asked for: float32 (n,), NaN where the candidates have none."""
    missing: frozenset[int] = frozenset()
    """The positions of the texts that are "" since their source has no such document, and was asked to skip those."""

    def at(self, positions: Sequence[int]) -> "Passages":
        """Give some of them, in another order."""
        return Passages(
            [self.docids[i] for i in positions],
            [self.texts[i] for i in positions],
            lambda: self.first_scores()[list(positions)],
            frozenset(new for new, old in enumerate(positions) if old in self.missing),
        )

    def ranked_scores(self) -> Scores:
        """Give the first stage's scores, where its order counts: float32 (n,).

        Raises
        ------
        ValueError
            The candidates have no first-stage scores, and so no order; or infinite ones.
        """
        scores = self.first_scores()
        if np.isinf(scores).any():
            docid = self.docids[int(np.argmax(np.isinf(scores)))]
            raise ValueError(f"the first stage's score of {docid} is infinite in float32: it cannot be weighed in.")
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
        """Make the documents' scores of those of `flat`'s passages: float32 (n,); NaN where one of a document's is."""
        if len(scores) == len(self.texts) and not any(isinstance(text, Parts) for text in self.texts):
            return scores
        following = iter(scores)
        return np.array([_score_of(text, following, scale) for text in self.texts], dtype=np.float32)


def _leaves(text: Any) -> Iterator[Any]:
    if isinstance(text, Parts):
        for part in text.texts:
            yield from _leaves(part)
    else:
        yield text


def _score_of(text: Any, scores: Iterator[Any], scale: Scale) -> float:
    if not isinstance(text, Parts):
        return float(next(scores))
    of_parts = np.array([_score_of(part, scores, scale) for part in text.texts], dtype=np.float32)
    return float("nan") if np.isnan(of_parts).any() else text.aggregate(of_parts, scale)


def check_text(text: Any, position: int) -> None:
    """Check that a text is one that can be scored; raises TypeError or ValueError."""
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
