"""The scale of a reranker's scores: logits, probabilities, or numbers that only order passages."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Scale = Literal["logit", "probability", "other"]
SCALES: tuple[Scale, ...] = get_args(Scale)


def probabilities(scores: NDArray[np.float32], scale: Scale, name: str) -> NDArray[np.float64]:
    """Convert scores to probabilities: the sigmoid of logits; probabilities stay as they are.

    Parameters
    ----------
    scores : float32 (n,)
    scale : str
        The scale of the scores.
    name : str
        The reranker that gave them, for the error.

    Raises
    ------
    ValueError
        The scores are neither logits nor probabilities.
    """
    check_probabilities(scale, name)
    exact = scores.astype(np.float64)
    return exact if scale == "probability" else np.exp(-np.logaddexp(0, -exact))


def check_probabilities(scale: Scale, name: str) -> None:
    """Check that scores on this scale can be converted to probabilities; raises ValueError."""
    if scale not in ("logit", "probability"):
        raise ValueError(
            f"the scores of {name} are neither logits nor probabilities, so they cannot be given or added as "
            "probabilities: use them as they are, and 'max', 'first' or a number as the aggregate."
        )
