"""Several rerankers at once, and the first stage as one of them."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from ..ranking import best_first
from ..reranker import Counts, Passages, Reranker, Scores

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


class Ensemble(Reranker):
    """Adds the scores of several rerankers, each times its weight.

    A passage that one of them did not score is not scored.

    Parameters
    ----------
    rerankers : sequence of (Reranker, float)
        Each with its weight.
    normalise : str, optional
        How each one's scores for a query are put on one scale first: ``"min-max"``, ``"z"``, ``"rank"`` or
        ``"reciprocal-rank"``. By default they are added as they are.

    Raises
    ------
    ValueError
        There is no reranker, a weight that is no finite number, or no such normalisation.
    """

    def __init__(self, rerankers: Sequence[tuple[Reranker, float]], normalise: str | None = None) -> None:
        weights = [weight for _, weight in rerankers]
        if not weights or not np.isfinite(weights).all():
            raise ValueError(
                f"the weights of the ensemble are {weights}: give one reranker or more, each with a number."
            )
        if normalise is not None and normalise not in NORMALISATIONS:
            raise ValueError(f"normalise={normalise!r}: there are {', '.join(NORMALISATIONS)}.")
        how = f", normalise={normalise}" if normalise else ""
        parts = [reranker for reranker, _ in rerankers]
        super().__init__(f"ensemble({', '.join(f'{weight:g}*{part.name}' for part, weight in rerankers)}{how})", parts)
        self.weights = weights
        self.normalise = normalise

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        scores = [part.relevance(queries, found, counts) for part in self.parts]
        return [self._sum(of_a_query) for of_a_query in zip(*scores, strict=True)]

    def _sum(self, scores: Sequence[Scores]) -> Scores:
        every = np.array(scores, dtype=np.float64)
        scored = ~np.isnan(every).any(axis=0)
        total = np.full(every.shape[1], np.nan, dtype=np.float32)
        if scored.any():
            normalise = NORMALISATIONS[self.normalise] if self.normalise else np.asarray
            total[scored] = sum(w * normalise(own[scored]) for w, own in zip(self.weights, every, strict=True))
        return total


class FirstStage(Reranker):
    """The first stage's own scores, to be weighed against a model's."""

    def __init__(self) -> None:
        super().__init__("first-stage")

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        return [
            np.where([text != "" for text in some.texts], some.first_scores(), np.float32(np.nan)) for some in found
        ]


class Interpolation(Ensemble):
    """Adds the first stage's score to a reranker's: alpha * reranker + (1 - alpha) * first stage.

    Parameters
    ----------
    reranker : Reranker
    alpha : float
        The reranker's weight, from 0 to 1.
    normalise : str
        See `Ensemble`. Here too it is over the passages of a query that were scored.

    Raises
    ------
    ValueError
        alpha is out of range; there is no such normalisation.
    """

    def __init__(self, reranker: Reranker, alpha: float = 0.5, normalise: str | None = "min-max") -> None:
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}: give the reranker's weight, from 0 to 1.")
        super().__init__([(reranker, alpha), (FirstStage(), 1 - alpha)], normalise)


class ReciprocalRankFusion(Ensemble):
    """Adds 1 / (60 + rank) over a reranker's ranks and the first stage's: an ensemble of the two.

    Parameters
    ----------
    reranker : Reranker
    """

    def __init__(self, reranker: Reranker) -> None:
        super().__init__([(reranker, 1), (FirstStage(), 1)], "reciprocal-rank")
