"""How far the order of scores agrees with that of the reference."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

#: The positions of some pairs.
Rows = NDArray[np.intp]
#: Scores, float64 (n,), that are compared with each other.
Values = NDArray[np.float64]
#: Scores of the reference that are nearer to each other are taken for equal: float32 rounds differently elsewhere.
NEAR = 1e-3
#: The share of pairs of passages that may be in another order. It is in the help of the command.
TOLERANCE = 0.02


@dataclass(frozen=True)
class Agreement:
    """The order of an engine's scores beside the reference's, within each query.

    Attributes
    ----------
    tau : float
        Kendall's tau (b), the mean over queries: 1 for the same order, -1 for the opposite one.
    compared : int
        The pairs of passages of a query that the reference tells apart.
    swaps : int
        How many of them are the other way round.
    ties : int
        How many of them have equal scores.
    """

    tau: float
    compared: int
    swaps: int
    ties: int

    @property
    def is_close(self) -> bool:
        """Whether no more than 2 in 100 pairs of passages are swapped or tied."""
        return self.swaps + self.ties <= TOLERANCE * self.compared


def agreement(expected: Values, scores: Values, groups: Sequence[Rows]) -> Agreement:
    """Compare the order of scores with that of the expected ones, each float64 (n,), within groups of rows."""
    taus = []
    compared = swaps = ties = 0
    for rows in groups:
        first, second = np.triu_indices(len(rows), 1)
        apart = expected[rows[first]] - expected[rows[second]]
        told = np.abs(apart) > NEAR
        product = (np.sign(apart) * np.sign(scores[rows[first]] - scores[rows[second]]))[told]
        compared += len(product)
        swaps += int((product < 0).sum())
        ties += int((product == 0).sum())
        if told.any():
            tau = kendalltau(expected[rows], scores[rows]).statistic
            taus.append(0.0 if np.isnan(tau) else float(tau))  # equal scores have no order
    return Agreement(float(np.mean(taus)), compared, swaps, ties)
