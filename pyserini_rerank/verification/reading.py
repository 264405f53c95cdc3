"""A way to read pairs: the reference's own, or one that differs from it as an engine may."""

from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..scoring.backend import Batch, Pair
from ..scoring.backends.torch_backend import TorchBackend
from ..scoring.encoding.batches import batch_by_length
from ..scoring.encoding.encoded_pairs import EncodedPairs, joined
from ..scoring.encoding.encoder import Encoder
from .agreement import Rows, Values

#: More tokens than any pair of the corpus has.
UNCUT = 1_000_000


@dataclass(frozen=True)
class Reading:
    """The reference's model, and how it reads the pairs of the corpus. Its methods give a copy that reads otherwise.

    All copies share the model, and the scores of what it has read before.
    """

    backend: TorchBackend
    pairs: Sequence[Pair]
    groups: Sequence[Rows]
    """The rows of each query, as the engine was asked."""
    left_out: tuple[int, ...] = ()
    """The spans of a pair that are left out, such as the separator."""
    by_rank: bool = False
    """Whether a query's scores are given to its passages in another order: see `assigned`."""
    head: str = ""
    """The name of another head than the reference's."""
    known: dict[tuple[Any, ...], float] = field(default_factory=dict, repr=False)

    @property
    def encoder(self) -> Encoder:
        return self.backend.encoder

    def with_pairs(self, change: Callable[[str, str], Pair]) -> "Reading":
        """Read other texts in the place of a query and its passage."""
        return replace(self, pairs=[change(query, str(passage)) for query, passage in self.pairs])

    def with_encoder(self, **attributes: Any) -> "Reading":
        """Read with an encoder that has other attributes."""
        encoder = copy(self.encoder)
        for name, value in attributes.items():
            setattr(encoder, name, value)
        return self._with_family(encoder=encoder)

    def with_head(self, name: str, head: Callable[[Any], Any]) -> "Reading":
        """Make the score from the labels' logits in another way."""
        return replace(self._with_family(head=head), head=name)

    def _with_family(self, **attributes: Any) -> "Reading":
        backend = copy(self.backend)
        backend.family = copy(backend.family)
        for name, value in attributes.items():
            setattr(backend.family, name, value)
        backend.encoder = backend.family.encoder
        return replace(self, backend=backend)

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of each pair that the model reads: (n,)."""
        return self._encoded(range(len(self.pairs))).lengths

    @cached_property
    def uncut(self) -> NDArray[np.int64]:
        """The tokens of each pair, as the model would read them if it cut none: (n,)."""
        return self.with_encoder(max_length=UNCUT).lengths

    @cached_property
    def scores(self) -> Values:
        """The scores of all pairs."""
        return self.scores_of(range(len(self.pairs)))

    def scores_of(self, rows: Iterable[int]) -> Values:
        """Score the pairs of some rows. What the model has read before is not computed again."""
        encoded = self._encoded(rows)
        keys = [self._key(encoded[row : row + 1]) for row in range(len(encoded))]
        new = np.array([row for row, key in enumerate(keys) if key not in self.known], dtype=np.intp)
        for batch in batch_by_length(encoded.lengths[new], self.backend.budget):
            of_batch = new[batch]
            found = self.backend.run(Batch(of_batch, encoded[of_batch]))
            self.known.update(zip((keys[row] for row in of_batch), found.tolist(), strict=True))
        return np.array([self.known[key] for key in keys])

    def _encoded(self, rows: Iterable[int]) -> EncodedPairs:
        encoded = self.encoder.encode([self.pairs[row] for row in rows])
        if not self.left_out:
            return encoded
        sizes = encoded.sizes.copy()
        sizes[:, self.left_out] = 0
        return replace(encoded, sizes=sizes, lengths=encoded.lengths - len(self.left_out))

    def _key(self, pair: EncodedPairs) -> tuple[Any, ...]:
        types = getattr(self.encoder, "types", np.empty(0))
        ids = joined(pair.ids, pair.starts, pair.sizes)
        return ids.tobytes(), pair.sizes.tobytes(), types.tobytes(), self.head

    def assigned(self, predicted: Values, scores: Values) -> Values:
        """Give each query's predicted scores to its passages in the order that an engine's scores have, if `by_rank`.

        That is what an engine does whose scores are right, but stand with other passages.
        """
        if not self.by_rank:
            return predicted
        moved = predicted.copy()
        for rows in self.groups:
            moved[rows[np.argsort(scores[rows], kind="stable")]] = np.sort(predicted[rows])
        return moved
