"""The base of the encoders, which turn pairs into the tokens of pairs or of prompts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..backend import Batch, Pair, Plan
from .batches import batch_by_length
from .encoded_pairs import EncodedPairs


class Encoder(ABC):
    """Tokenizes pairs, cuts them to the length that the model reads, and puts pairs of similar length into batches.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer, whose own truncation and padding have to be off.
    max_length : int
        Tokens of a pair, special ones included.
    cuts_left : bool
        Whether a text that is too long loses its first tokens instead of its last.

    Attributes
    ----------
    least : int
        The smallest `max_length` that has room for a pair.
    most : int or None
        The largest `max_length` that the model reads; None if it has no limit.
    package : str
        The package that tokenizes, with its version.
    """

    least: int
    most: int | None = None
    package: str

    def __init__(self, tokenizer: Tokenizer, max_length: int, *, cuts_left: bool = False) -> None:
        self.tokenizer = tokenizer
        self.cuts_left = cuts_left
        self.max_length = max_length
        self.unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "<unk>")

    @abstractmethod
    def encode(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """Tokenize and cut pairs."""

    def plan(
        self,
        pairs: Sequence[Pair],
        budget: int,
        added: int = 0,
        inputs: Callable[[EncodedPairs, NDArray[np.intp]], Any] = EncodedPairs.__getitem__,
    ) -> Plan:
        """Put pairs of similar length into batches.

        Parameters
        ----------
        pairs : sequence of Pair, (n,)
        budget : int
            Tokens of a batch.
        added : int
            The number of tokens that the backend adds to each pair.
        inputs : callable
            Give what the backend's `run` reads, of the encoded pairs and a batch's rows; by default its encoded pairs.
        """
        encoded = self.encode(pairs)
        return Plan(
            batches=[Batch(rows, inputs(encoded, rows)) for rows in batch_by_length(encoded.lengths + added, budget)],
            cut_passages=np.flatnonzero(encoded.passage_was_cut),
            cut_queries=np.flatnonzero(encoded.query_was_cut),
            unknown=np.flatnonzero(encoded.mostly_unknown),
            tokens=encoded.lengths,
        )

    def are_mostly_unknown(self, ids: NDArray[np.int32], offsets: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Tell in which texts at least half of the tokens are unknown: bool (n,).

        Parameters
        ----------
        ids : int32 (tokens,)
            The texts' tokens, one text after the other.
        offsets : int64 (n + 1,)
            Where each text begins, and where the last one ends.
        """
        unknown = np.concatenate([[0], np.cumsum(ids == self.unknown)])
        return 2 * np.diff(unknown[offsets]) >= np.diff(offsets)
