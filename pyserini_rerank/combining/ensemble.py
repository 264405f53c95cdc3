"""Several rerankers at once, and the first stage as one of them."""

import math
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..counts import Counts
from ..passages import Passages
from ..ranking import Ranking, best_first
from .combination import Combination
from .first_stage import FirstStageScore
from .maker import Maker, numbered

Float64 = NDArray[np.float64]

#: The constant of reciprocal rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009.
RRF_K = 60


def _min_max(scores: Float64) -> Float64:
    """From 0 to 1; all 0 where all are equal."""
    return (scores - scores.min()) / (np.ptp(scores) or 1)


def _z(scores: Float64) -> Float64:
    """Of mean 0 and standard deviation 1 (of the list, not estimated from it); all 0 where all are equal."""
    return (scores - scores.mean()) / (scores.std() or 1)


def _rank(scores: Float64) -> Float64:
    """1 for the best and 1/n for the last of n; equal ones share the mean of their ranks."""
    ranks: Float64 = rankdata(-scores)
    return 1 - (ranks - 1) / len(scores)


def _reciprocal_rank(scores: Float64) -> Float64:
    """1 / (60 + rank), with ranks from 1; of equal ones the first in the first stage ranks higher."""
    ranks = np.empty(len(scores))
    ranks[best_first(scores)] = np.arange(1, len(scores) + 1)
    return 1 / (RRF_K + ranks)


#: What can be done to a query's scores, n above 0, before they are added to others'.
NORMALISATIONS: dict[str, Callable[[Float64], Float64]] = {
    "min-max": _min_max,
    "z": _z,
    "rank": _rank,
    "reciprocal-rank": _reciprocal_rank,
}
#: Those for which a passage's place is enough, so that it need not have a score.
BY_RANK = ("rank", "reciprocal-rank")


class Ensemble(Combination, written="ensemble"):
    """Adds the scores of several rerankers, each times its weight.

    A passage that one of them did not score is not scored. Where all of them gave it a place it follows behind, in
    the order of the first reranker that left passages behind; a normalisation by rank needs no more than places.

    Parameters
    ----------
    rerankers : iterable of pairs
        Each of a reranker, or what `pyserini_rerank.load` takes, and its weight.
    normalise : str, optional
        How each one's scores for a query are put on one scale first: ``"min-max"``, ``"z"``, ``"rank"`` or
        ``"reciprocal-rank"``. By default they are added as they are.

    Raises
    ------
    ValueError, TypeError
        There is no reranker, one that is no pair, a weight that is no finite number, or no such normalisation.
    As `pyserini_rerank.load`, for the parts that are loaded here.
    """

    def __init__(self, rerankers: Iterable[tuple[Any, float]], normalise: str | None = None) -> None:
        weighted = numbered(rerankers)
        weights = [weight for _, weight in weighted]
        if not weights or not all(map(math.isfinite, weights)):
            raise ValueError(
                f"the weights of the ensemble are {weights}: give one reranker or more, each with a number."
            )
        if normalise not in (None, *NORMALISATIONS):
            raise ValueError(f"normalise={normalise!r}: there are {', '.join(NORMALISATIONS)}.")
        with Maker() as maker:
            parts = [maker.make(part) for part, _ in weighted]
        how = f", normalise={normalise}" if normalise else ""
        named = ", ".join(f"{weight:.15g}*{part.name}" for part, weight in zip(parts, weights, strict=True))
        super().__init__(f"ensemble({named}{how})", parts)
        self.weights = weights
        self.normalise = normalise

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        of_parts = [part.rankings(queries, found, counts) for part in self.parts]
        return [self._sum(of_a_query) for of_a_query in zip(*of_parts, strict=True)]

    def _sum(self, rankings: Sequence[Ranking]) -> Ranking:
        if self.normalise in BY_RANK:
            rankings = [Ranking(ranking.filled()) for ranking in rankings]
        scores = np.array([ranking.scores for ranking in rankings], dtype=np.float64)
        scored = ~np.isnan(scores).any(axis=0)
        total = np.full(scores.shape[1], np.nan, dtype=np.float32)
        if scored.any():
            normalise: Callable[[Float64], Any] = NORMALISATIONS[self.normalise] if self.normalise else np.asarray
            total[scored] = sum(w * normalise(of_part[scored]) for w, of_part in zip(self.weights, scores, strict=True))
        if np.isinf(total).any():
            raise FloatingPointError(f"the scores of {self.name} are beyond float32: give smaller weights.")
        placed = ~np.isnan([ranking.filled() for ranking in rankings]).any(axis=0)
        order = next((ranking.order for ranking in rankings if len(ranking.behind)), rankings[0].order)
        return Ranking(total, order[placed[order] & ~scored[order]])


class Interpolation(Ensemble, written="interpolation"):
    """Adds the first stage's score to a reranker's: alpha * reranker + (1 - alpha) * first stage.

    Parameters
    ----------
    reranker : Reranker, or what `pyserini_rerank.load` takes
    alpha : float
        The reranker's weight, from 0 to 1.
    normalise : str
        See `Ensemble`. Here too it is over the passages of a query that were scored.

    Raises
    ------
    ValueError
        alpha is out of range; there is no such normalisation.
    """

    def __init__(self, reranker: Any, alpha: float = 0.5, normalise: str | None = "min-max") -> None:
        if not (isinstance(alpha, numbers.Real) and 0 <= alpha <= 1):
            raise ValueError(f"alpha is {alpha!r}: give the reranker's weight, from 0 to 1.")
        super().__init__([(reranker, alpha), (FirstStageScore(), 1 - alpha)], normalise)


class ReciprocalRankFusion(Ensemble, written="rrf"):
    """Adds 1 / (60 + rank) over a reranker's ranks and the first stage's: an ensemble of the two.

    Parameters
    ----------
    reranker : Reranker, or what `pyserini_rerank.load` takes
    """

    def __init__(self, reranker: Any) -> None:
        super().__init__([(reranker, 1), (FirstStageScore(), 1)], "reciprocal-rank")
