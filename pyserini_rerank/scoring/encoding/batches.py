"""Batches of pairs of different lengths, each within a budget of tokens."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def batch_by_length(lengths: Sequence[int], budget: int) -> list[NDArray[np.intp]]:
    """Put pairs of similar length into batches, longest first.

    The longest go first so that a device with too little memory fails at once.

    Parameters
    ----------
    lengths : sequence of int, (n,)
        Tokens of each pair.
    budget : int
        Tokens of a batch, padding included. A longer pair is a batch by itself.

    Returns
    -------
    list of int arrays
        The positions in each batch. They depend on nothing but the lengths and the budget.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    batches = []
    start = 0
    while start < len(order):
        stop = start + max(1, budget // lengths[order[start]])
        batches.append(order[start:stop])
        start = stop
    return batches
