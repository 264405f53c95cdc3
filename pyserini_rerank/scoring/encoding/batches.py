"""Batches of pairs of similar length that fit a budget of tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def batch_by_length(lengths: Sequence[int] | NDArray[np.int64], budget: int) -> list[NDArray[np.intp]]:
    """Put pairs of similar length together, longest first.

    The longest pairs come first so that a device with too little memory fails in the first batch.

    Parameters
    ----------
    lengths : sequence of int, (n,)
        Tokens of each pair.
    budget : int
        Tokens of a batch, padding included. A pair longer than that is a batch of its own.

    Returns
    -------
    list of int arrays
        The positions in each batch. They depend only on the lengths and the budget.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    batches = []
    start = 0
    while start < len(order):
        stop = start + max(1, budget // int(lengths[order[start]]))
        batches.append(order[start:stop])
        start = stop
    return batches
