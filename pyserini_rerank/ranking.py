"""The order and the scores of a reranked list."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Positions = NDArray[np.intp]

LARGEST = float(np.finfo(np.float32).max)


class RankedText(NamedTuple):
    """One of the texts that were ranked for a query."""

    index: int  # type: ignore[assignment]  # a tuple has a method of that name
    """The text's position in the input, from 0."""
    score: float
    text: str


@dataclass(frozen=True)
class Ranking:
    """A reranker's result for a query: scores of passages, and the order of passages behind these.

    Example: a cascade scores 100 passages with its first stage and the 10 best with its second. The 10 have the second
    stage's scores. The other 90 are `behind`, in the first one's order.
    """

    scores: Scores
    """By position in the first stage: float32 (n,), NaN for a passage without a score."""
    behind: Positions = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """The positions of passages without a score that follow the scored ones, in this order."""

    @property
    def scored(self) -> int:
        """How many passages have a score."""
        return int(np.count_nonzero(~np.isnan(self.scores)))

    @property
    def order(self) -> Positions:
        """The positions of all ranked passages: the scored ones from the highest score to the lowest, equal scores in
        first-stage order, and then `behind`. A passage without text is not ranked."""
        return np.concatenate([best_first(self.scores), self.behind])

    def filled(self) -> Scores:
        """Give scores to the passages behind, too: float32 (n,), NaN for a passage that is not ranked.

        Their scores are below the lowest one, and decrease in the order of `behind`.
        """
        filled = self.scores.copy()
        filled[self.behind] = below(self.scores[best_first(self.scores)], len(self.behind))
        return filled


def arrange(ranking: Ranking, count: int) -> tuple[Positions, Scores]:
    """Order a list of hits by a ranking of the first of them.

    Parameters
    ----------
    ranking : Ranking
        The ranking of the first n hits.
    count : int
        The number of hits, n or more.

    Returns
    -------
    positions : int (count,)
        First-stage positions, from 0, in the new order: the hits that the ranking orders, then the rest in first-stage
        order.
    scores : float32 (count,)
        The hits' scores in that order. Hits without a score in the ranking get scores below the lowest one, which
        decrease strictly: in float32, and as Pyserini's run files print them (``%.6f``).

    Raises
    ------
    FloatingPointError
        The lowest score is so close to the most negative float32 that there is no room below it.
    """
    order = ranking.order
    rest = np.setdiff1d(np.arange(count), order)
    best = ranking.scores[best_first(ranking.scores)]
    return np.concatenate([order, rest]), np.concatenate([best, below(best, count - len(best))])


def best_first(scores: NDArray[np.floating[Any]]) -> Positions:
    """Give the positions of all scores but NaN, from the highest score to the lowest; equal scores stay in order."""
    return np.argsort(-scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))]


def below(scores: Scores, count: int) -> Scores:
    """Give strictly decreasing scores below those of a sorted list: float32 (count,).

    Parameters
    ----------
    scores : float32 (n,)
        From the highest to the lowest.
    count : int
    """
    lowest = float(scores[-1]) if len(scores) else 0.0
    # Scores are apart by two float32 steps at the far end, or by two units of the last printed digit if that is more.
    far = min(2 * (abs(lowest) + 2e-6 * count), 0.9 * LARGEST)  # the largest float32 has no next one
    step = max(2e-6, 2 * float(np.spacing(np.float32(far))))
    if lowest - step * count < -LARGEST:
        raise FloatingPointError(
            f"the model scored {lowest:g}, and float32 has no room below that for {count} hits that were not "
            "reranked: its weights are damaged or too large."
        )
    return (lowest - step * np.arange(1, count + 1)).astype(np.float32)
