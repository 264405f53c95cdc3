"""The encoder of query-passage pairs for models that read both as one sequence."""

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ..backend import Pair
from .encoder import Encoder
from .text_tokenizer import Ids

#: Pairs of very different lengths, to test a model with.
EXAMPLE: list[Pair] = [("a", "a b c d " * 8), ("a b", "a"), ("c", "b a")]

#: The names of the arrays of padded pairs, in the order of `PairEncoder.pad`.
INPUTS = IDS, MASK, TYPES = ("input_ids", "attention_mask", "token_type_ids")


class EncodedPair(NamedTuple):
    """A pair's tokens, cut to the model's length, without the special tokens around them."""

    query: Ids
    passage: Ids
    length: int
    """The number of tokens, special tokens included."""
    query_was_cut: bool
    passage_was_cut: bool


class PairEncoder(Encoder[EncodedPair]):
    """Tokenizes each distinct query and passage once, and joins them as the tokenizer would.

    Parameters
    ----------
    prompt, cuts_left, pads_left, takes_types
        See `pyserini_rerank.scoring.checkpoints.settings.Settings`.

    Attributes
    ----------
    of_one_length : bool
        Whether only pairs of the same length may be laid out together, because padding would change their scores: it
        would have to come before them, or the model does not ignore it.

    Raises
    ------
    ValueError
        The tokenizer does not turn a pair into its query and then its passage.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        *,
        prompt: str = "",
        cuts_left: bool = False,
        pads_left: bool = False,
        takes_types: bool = True,
    ) -> None:
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        self.prompt, self.of_one_length = prompt, pads_left
        # A short pair shows where the special tokens are.
        example = tokenizer.encode("a", "a")
        parts = example.sequence_ids
        if [part for part, _ in groupby(part for part in parts if part is not None)] != [0, 1]:
            raise ValueError(
                "its tokenizer does not make a query and then a passage, each once, of the texts 'a' and 'a' "
                "(post_processor in tokenizer.json): copy the files of its authors into the folder."
            )
        query, passage = parts.index(0), parts.index(1)
        after_query, after_passage = len(parts) - parts[::-1].index(0), len(parts) - parts[::-1].index(1)
        ids = np.array(example.ids, dtype=np.int32)
        types = example.type_ids
        self.before, self.between, self.after = ids[:query], ids[after_query:passage], ids[after_passage:]
        self.special = len(self.before) + len(self.between) + len(self.after)
        self.least = self.special + 2
        # A token type for each special token, one for the query and one for the passage.
        pieces = types[:query], [types[query]], types[after_query:passage], [types[passage]], types[after_passage:]
        self.types = np.array([kind * takes_types for piece in pieces for kind in piece], dtype=np.int64)
        self.query_at, self.passage_at = len(self.before), len(self.before) + 1 + len(self.between)

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """Tokenize and cut pairs; passages may be tokenized already."""
        queries = self.distinct([self.prompt + query for query, _ in pairs])
        passages = self.distinct([passage for _, passage in pairs])
        return [self._cut(queries[self.prompt + query], passages[passage]) for query, passage in pairs]

    def together(self, pairs: Sequence[EncodedPair]) -> list[Sequence[EncodedPair]]:
        """Divide pairs, in their order, into groups that may be laid out together."""
        return (
            [list(of_length) for _, of_length in groupby(pairs, lambda pair: pair.length)]
            if self.of_one_length
            else [pairs]
        )

    def join(self, pairs: Sequence[EncodedPair]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lay out pairs end to end: ids and token types, each (tokens,)."""
        ids = np.concatenate(
            [part for pair in pairs for part in (self.before, pair.query, self.between, pair.passage, self.after)],
            dtype=np.int64,
        )
        repeats = np.ones((len(pairs), len(self.types)), dtype=np.int64)
        repeats[:, self.query_at] = [len(pair.query) for pair in pairs]
        repeats[:, self.passage_at] = [len(pair.passage) for pair in pairs]
        return ids, np.repeat(np.tile(self.types, len(pairs)), repeats.ravel())

    def pad(self, pairs: Sequence[EncodedPair], pad_id: int) -> tuple[NDArray[np.int64], ...]:
        """Lay out pairs as rows: ids, attention mask and token types, each (n, longest)."""
        lengths = np.array([pair.length for pair in pairs])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids, types = np.full(mask.shape, pad_id, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
        ids[mask], types[mask] = self.join(pairs)
        return ids, mask.astype(np.int64), types

    def _cut(self, query: Ids, passage: Ids) -> EncodedPair:
        """Cut the longer of the two first, then both, as Hugging Face's "longest first" does.

        For example, a query and a passage of 600 tokens each keep 254 and 255 at a max_length of 512.
        """
        room = self.max_length - self.special
        n, m = len(query), len(passage)
        if n + m <= room:
            return EncodedPair(query, passage, n + m + self.special, False, False)
        if n <= m:
            n = min(n, room // 2)
            m = room - n
        else:
            m = min(m, room // 2)
            n = room - m
        kept = self.kept(query, n), self.kept(passage, m)
        return EncodedPair(*kept, self.max_length, n < len(query), m < len(passage))
