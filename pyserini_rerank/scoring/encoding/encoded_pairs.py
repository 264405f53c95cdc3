"""The tokens of pairs, as arrays that hold all pairs together."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]


def joined[T: np.generic](values: NDArray[T], starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[T]:
    """Lay spans of an array end to end: each begins at one of `starts`, and has one of `sizes` values."""
    starts, sizes = starts.ravel(), sizes.ravel()
    stops = np.cumsum(sizes)
    total = int(stops[-1]) if len(stops) else 0
    return values[np.repeat(starts - (stops - sizes), sizes) + np.arange(total)]


@dataclass(frozen=True)
class EncodedPairs:
    """The tokens of n pairs, cut to the model's length.

    Every distinct text lies in `ids` once, and so does every special token. A pair is a row of spans of it, which are
    to be laid end to end: ``[CLS]``, the query, ``[SEP]``, the passage, ``[SEP]``.
    """

    ids: Ids
    """The tokens of all texts, uncut, and the special ones: int32 (tokens,)."""
    starts: NDArray[np.int64]
    """Where each span begins in `ids`: (n, spans)."""
    sizes: NDArray[np.int64]
    """The tokens of each span: (n, spans)."""
    lengths: NDArray[np.int64]
    """The tokens that each pair takes up in a batch: (n,)."""
    query_rows: NDArray[np.intp]
    """The number of each pair's query among the distinct queries: (n,)."""
    query_was_cut: NDArray[np.bool_]
    passage_was_cut: NDArray[np.bool_]
    mostly_unknown: NDArray[np.bool_]
    """Whether at least half of the passage's tokens are unknown: (n,)."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: NDArray[np.intp] | slice) -> "EncodedPairs":
        """Give the pairs of these rows; the tokens are shared."""
        columns = [getattr(self, column.name)[rows] for column in fields(self)[1:]]
        return EncodedPairs(self.ids, *columns)

    def alike(self) -> list["EncodedPairs"]:
        """Split where the length changes, into pairs of one length each."""
        bounds = np.flatnonzero(np.diff(self.lengths, prepend=-1, append=-1)).tolist()
        return [self[start:stop] for start, stop in zip(bounds[:-1], bounds[1:], strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the tokens of these pairs alone to another process, and not those of all that were planned with them."""
        ids = joined(self.ids, self.starts, self.sizes)
        starts = (np.cumsum(self.sizes) - self.sizes.ravel()).reshape(self.sizes.shape)
        columns = [getattr(self, column.name) for column in fields(self)[2:]]
        return EncodedPairs, (ids, starts, *columns)
