"""The order and the scores of a reranked list."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)


def arrange(scores: NDArray[np.float32], count: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Order a list of hits by what the model says of the first of them.

    Parameters
    ----------
    scores : float32 (n,)
        The model's scores of the first n hits in first-stage order; NaN for one that was not scored.
    count : int
        How many hits there are, n or more.

    Returns
    -------
    positions : int (count,)
        First-stage positions, from 0, in the new order: what was scored, by falling score and at
        equal scores as in the first stage; then the rest as in the first stage.
    scores : float32 (count,)
        Their scores. Those of the rest lie below the lowest that the model gave and fall strictly,
        in float32 and as Pyserini's run files print them (``%.6f``).

    Raises
    ------
    FloatingPointError
        The lowest score is so close to the most negative float32 that there is no room below it.
    """
    best = best_first(scores)
    rest = np.setdiff1d(np.arange(count), best)
    return np.concatenate([best, rest]), np.concatenate([scores[best], below(scores[best], len(rest))])


def best_first(scores: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Give the positions of what was scored, by falling score and at equal scores as they are."""
    return np.argsort(-scores, kind="stable")[: np.count_nonzero(~np.isnan(scores))]


def below(scores: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Give scores that fall strictly from below the last of others, which fall: float32 (count,)."""
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
