"""Distinct values."""

from collections.abc import Hashable, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray


def numbered[T: Hashable](values: Sequence[T]) -> tuple[list[T], NDArray[np.intp]]:
    """Give the distinct values in the order of their first occurrence, and each value's number among them: (n,)."""
    numbers = dict(zip(dict.fromkeys(values), count(), strict=False))
    return list(numbers), np.fromiter(map(numbers.__getitem__, values), dtype=np.intp, count=len(values))
