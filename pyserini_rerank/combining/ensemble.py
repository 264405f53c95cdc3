"""Ensembles: weighted sums of rerankers' scores, of which one can be the first stage's."""

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
    """Scale scores to the range from 0 to 1; equal scores all become 0."""
    return (scores - scores.min()) / (np.ptp(scores) or 1)


def _z(scores: Float64) -> Float64:
    """Scale scores to mean 0 and standard deviation 1 (the list's own, not an estimate); equal scores all become 0."""
    return (scores - scores.mean()) / (scores.std() or 1)


def _rank(scores: Float64) -> Float64:
    """Replace scores by ranks, from 1 for the best to 1/n for the last of n; equal scores get their mean rank."""
    ranks: Float64 = rankdata(-scores)
    return 1 - (ranks - 1) / len(scores)


def _reciprocal_rank(scores: Float64) -> Float64:
    """Replace scores by 1 / (60 + rank), with ranks from 1; equal scores are ranked in first-stage order."""
    ranks = np.empty(len(scores))
    ranks[best_first(scores)] = np.arange(1, len(scores) + 1)
    return 1 / (RRF_K + ranks)


#: Functions that put one reranker's scores for a query, one or more, on a common scale before they are added.
NORMALISATIONS: dict[str, Callable[[Float64], Float64]] = {
    "min-max": _min_max,
    "z": _z,
    "rank": _rank,
    "reciprocal-rank": _reciprocal_rank,
}
#: The normalisations that use ranks only, so that a ranked passage needs no score.
BY_RANK = ("rank", "reciprocal-rank")


class Ensemble(Combination, key="ensemble"):
    """A reranker that adds the scores of several rerankers, each times its weight.

    A passage gets a score if all of the rerankers scored it. A passage that all of them ranked but not all scored, such
    as one that a cascade left behind, follows below; these passages are in the order of the first reranker that left
    passages behind. A normalisation by rank scores them as well.

    Parameters
    ----------
    rerankers : iterable of pairs
        Pairs of a reranker, or an argument of `pyserini_rerank.load`, and its weight.
    normalise : str, optional
        The function that puts each reranker's scores for a query on a common scale first: ``"min-max"``, ``"z"``,
        ``"rank"`` or ``"reciprocal-rank"``. By default the scores are added as they are.

    Raises
    ------
    ValueError, TypeError
        There is no reranker; an item is no pair; a weight is no finite number; there is no such normalisation.
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
            raise ValueError(f"normalise={normalise!r}: give one of {', '.join(NORMALISATIONS)}.")
        with Maker() as maker:
            parts = [maker.make(part) for part, _ in weighted]
        ending = f", normalise={normalise}" if normalise else ""
        terms = ", ".join(f"{weight:.15g}*{part.name}" for part, weight in zip(parts, weights, strict=True))
        super().__init__(f"ensemble({terms}{ending})", parts)
        self.weights = weights
        self.normalise = normalise

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        rankings_of_parts = [part.rankings(queries, found, counts) for part in self.parts]
        return [self._sum(rankings) for rankings in zip(*rankings_of_parts, strict=True)]

    def _sum(self, rankings: Sequence[Ranking]) -> Ranking:
        """Add the parts' rankings of one query."""
        if self.normalise in BY_RANK:
            rankings = [Ranking(ranking.filled()) for ranking in rankings]
        scores = np.array([ranking.scores for ranking in rankings], dtype=np.float64)
        scored = ~np.isnan(scores).any(axis=0)
        total = np.full(scores.shape[1], np.nan, dtype=np.float32)
        if scored.any():
            normalise: Callable[[Float64], Any] = NORMALISATIONS[self.normalise] if self.normalise else np.asarray
            weighted = zip(self.weights, scores, strict=True)
            total[scored] = sum(weight * normalise(part_scores[scored]) for weight, part_scores in weighted)
        if np.isinf(total).any():
            raise FloatingPointError(f"the scores of {self.name} are beyond float32: give smaller weights.")
        ranked_by_all = ~np.isnan([ranking.filled() for ranking in rankings]).any(axis=0)
        order = next((ranking.order for ranking in rankings if len(ranking.behind)), rankings[0].order)
        return Ranking(total, order[ranked_by_all[order] & ~scored[order]])


class Interpolation(Ensemble, key="interpolation"):
    """A weighted sum of a reranker's and the first stage's scores: alpha * reranker + (1 - alpha) * first stage.

    Parameters
    ----------
    reranker : Reranker, or an argument of `pyserini_rerank.load`
    alpha : float
        The reranker's weight, from 0 to 1.
    normalise : str, optional
        See `Ensemble`. The scored passages of a query are normalised, and no others.

    Raises
    ------
    ValueError
        alpha is out of range; there is no such normalisation.
    """

    def __init__(self, reranker: Any, alpha: float = 0.5, normalise: str | None = "min-max") -> None:
        if not (isinstance(alpha, numbers.Real) and 0 <= alpha <= 1):
            raise ValueError(f"alpha is {alpha!r}: give the reranker's weight, from 0 to 1.")
        super().__init__([(reranker, alpha), (FirstStageScore(), 1 - alpha)], normalise)


class ReciprocalRankFusion(Ensemble, key="rrf"):
    """The ensemble of a reranker and the first stage that adds 1 / (60 + rank) of both.

    Parameters
    ----------
    reranker : Reranker, or an argument of `pyserini_rerank.load`
    """

    def __init__(self, reranker: Any) -> None:
        super().__init__([(reranker, 1), (FirstStageScore(), 1)], "reciprocal-rank")
