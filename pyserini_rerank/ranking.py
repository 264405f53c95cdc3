"""The order and the scores of a reranked list."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Positions = NDArray[np.intp]

LARGEST = float(np.finfo(np.float32).max)


class RankedText(NamedTuple):
    """A text among those that were ranked for a query."""

    index: int  # type: ignore[assignment]  # a tuple has a method of that name
    """Its position among the texts that were given, from 0."""
    score: float
    text: str


@dataclass(frozen=True)
class Ranking:
    """What a reranker says of a query's passages: scores of some, and the order of those that it left behind."""

    scores: Scores
    """By position in the first stage: float32 (n,), NaN for a passage without a score."""
    behind: Positions = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """The positions of passages without a score that follow in this order, such as those that an earlier stage of a
    cascade scored last."""

    @property
    def scored(self) -> int:
        """How many passages have a score."""
        return int(np.count_nonzero(~np.isnan(self.scores)))

    @property
    def order(self) -> Positions:
        """The positions of all passages that have a place: by falling score, equal ones as in the first stage; then
        those behind. A passage without text has no place."""
        return np.concatenate([best_first(self.scores), self.behind])

    def filled(self) -> Scores:
        """Give those behind scores that fall strictly from below the lowest: float32 (n,), NaN without a place."""
        filled = self.scores.copy()
        filled[self.behind] = below(self.scores[best_first(self.scores)], len(self.behind))
        return filled


def arrange(ranking: Ranking, count: int) -> tuple[Positions, Scores]:
    """Order a list of hits by what a reranker says of the first of them.

    Parameters
    ----------
    ranking : Ranking
        Of the first n hits.
    count : int
        How many hits there are, n or more.

    Returns
    -------
    positions : int (count,)
        First-stage positions, from 0, in the new order: those that have a place in the ranking, then the rest as in
        the first stage.
    scores : float32 (count,)
        Their scores. Those of hits that have none in the ranking lie below the lowest that have one and fall
        strictly, in float32 and as Pyserini's run files print them (``%.6f``).

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
    """Give the positions of what was scored, by falling score and at equal scores as they are."""
    return np.argsort(-scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))]


def below(scores: Scores, count: int) -> Scores:
    """Give scores that fall strictly, all of them below the last of `scores`, which fall too: float32 (count,)."""
    lowest = float(scores[-1]) if len(scores) else 0.0
    # Two float32 steps at the far end of the tail, and two units of the last printed digit.
    far = min(2 * (abs(lowest) + 2e-6 * count), 0.9 * LARGEST)  # the largest of all has no next one
    step = max(2e-6, 2 * float(np.spacing(np.float32(far))))
    if lowest - step * count < -LARGEST:
        raise FloatingPointError(
            f"the model scored {lowest:g}, and float32 has no room below that for {count} hits that were not "
            "reranked: its weights are damaged or too large."
        )
    return (lowest - step * np.arange(1, count + 1)).astype(np.float32)
