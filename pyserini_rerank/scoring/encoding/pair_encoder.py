"""Query-passage pairs to tokens."""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import groupby, pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ...distinct import numbered
from ...passages import Tokens
from ..backend import Pair
from .encoded_pairs import EncodedPairs, Ids, joined
from .encoder import Encoder
from .text_tokenizer import TextTokenizer, TokenLists

#: Pairs of quite different lengths, to try a model with.
EXAMPLE: list[Pair] = [("a", "a b c d " * 8), ("a b", "a"), ("c", "b a")]

#: The names of the arrays of padded pairs, in the order of `PairEncoder.pad`.
INPUTS = IDS, MASK, TYPES = ("input_ids", "attention_mask", "token_type_ids")

#: Tokens of each pair's query and passage, each int64 (n,).
Sizes = tuple[NDArray[np.int64], NDArray[np.int64]]


class TextEncoder(Encoder):
    """Tokenizes every query and every passage once, apart from the special tokens that stand around them.

    Parameters
    ----------
    prompt : str
        Text that is put in front of every query.

    Attributes
    ----------
    special : int32 array, (s,)
        The special tokens of a pair, in their order.
    query_at, passage_at : int
        How many spans come before the query, and before the passage. A special token is a span.
    """

    special: Ids
    query_at: int
    passage_at: int

    def __init__(self, tokenizer: Tokenizer, max_length: int, *, prompt: str = "", cuts_left: bool = False) -> None:
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        self.prompt = prompt
        self.texts = TextTokenizer(tokenizer)
        self.package = self.texts.package

    @abstractmethod
    def kept(self, queries: NDArray[np.int64], passages: NDArray[np.int64]) -> Sizes:
        """Decide how many tokens are kept of queries and passages with so many."""

    def lengths(self, queries: NDArray[np.int64], passages: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tell how many tokens a pair takes up in a batch, of the tokens that are kept of its texts."""
        return queries + passages + len(self.special)

    def encode(self, pairs: Sequence[Pair]) -> EncodedPairs:
        queries, query_rows = numbered([query for query, _ in pairs])
        passages, passage_rows = numbered([passage for _, passage in pairs])
        tokens = self._tokens([*(self.prompt + query for query in queries), *passages])
        text_rows = query_rows, len(queries) + passage_rows
        uncut = [np.diff(tokens.offsets)[rows] for rows in text_rows]
        kept = self.kept(*uncut)
        starts = np.empty((len(pairs), len(self.special) + 2), dtype=np.int64)
        sizes = np.ones_like(starts)
        starts[:, self.special_at()] = np.arange(len(self.special))
        for at, rows, before, after in zip((self.query_at, self.passage_at), text_rows, uncut, kept, strict=True):
            starts[:, at] = len(self.special) + tokens.offsets[rows] + (before - after if self.cuts_left else 0)
            sizes[:, at] = after
        return EncodedPairs(
            ids=np.concatenate([self.special, tokens.ids]),
            starts=starts,
            sizes=sizes,
            lengths=self.lengths(*kept),
            query_rows=query_rows,
            query_was_cut=kept[0] < uncut[0],
            passage_was_cut=kept[1] < uncut[1],
            mostly_unknown=self.are_mostly_unknown(tokens.ids, tokens.offsets[len(queries) :])[passage_rows],
        )

    def _tokens(self, texts: Sequence[str | Tokens]) -> TokenLists:
        """Give the tokens of texts, of which some may be tokenized already."""
        new = [text for text in texts if isinstance(text, str)]
        tokens = self.texts(new)
        if len(new) == len(texts):
            return tokens
        of_new = (tokens.ids[start:stop] for start, stop in pairwise(tokens.offsets.tolist()))
        ids = [next(of_new) if isinstance(text, str) else np.frombuffer(text, dtype="<i4") for text in texts]
        return TokenLists(np.concatenate(ids), np.cumsum([0, *map(len, ids)]))

    def special_at(self) -> list[int]:
        """List the spans that are special tokens."""
        return [at for at in range(len(self.special) + 2) if at not in (self.query_at, self.passage_at)]


class PairEncoder(TextEncoder):
    """Joins every query and every passage to one sequence, as the tokenizer itself does.

    Parameters
    ----------
    prompt, cuts_left, pads_left, takes_types
        See `pyserini_rerank.scoring.checkpoints.settings.Settings`.

    Attributes
    ----------
    of_one_length : bool
        Whether pairs that are laid out together must have the same length. They must if the padding would come before
        them, or if the model is not told where the padding is.

    Raises
    ------
    ValueError
        The tokenizer makes something else of a pair than its query and then its passage.
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
        super().__init__(tokenizer, max_length, prompt=prompt, cuts_left=cuts_left)
        self.of_one_length = pads_left
        # A short pair shows where the special tokens stand.
        example = tokenizer.encode("a", "a")
        parts = example.sequence_ids
        if [part for part, _ in groupby(part for part in parts if part is not None)] != [0, 1]:
            raise ValueError(
                "its tokenizer does not make a query and then a passage, each once, of the texts 'a' and 'a' "
                "(post_processor in tokenizer.json): copy the files of its authors into the folder."
            )
        is_special = [part is None for part in parts]
        #: Where each span begins: every special token does, and each text at its first token.
        first = [at for at, part in enumerate(parts) if part is None or part not in parts[:at]]
        self.query_at, self.passage_at = first.index(parts.index(0)), first.index(parts.index(1))
        #: The token type of each span.
        self.types = np.array(example.type_ids, dtype=np.int64)[first] * takes_types
        self.special = np.array(example.ids, dtype=np.int32)[is_special]
        self.least = len(self.special) + 2

    def kept(self, queries: NDArray[np.int64], passages: NDArray[np.int64]) -> Sizes:
        """Cut the longer of the two first, then both, as Hugging Face's "longest first" does.

        600 and 600 tokens at a max_length of 512 keep 254 and 255.
        """
        room = self.max_length - len(self.special)
        shorter = np.minimum(np.minimum(queries, passages), room // 2)
        longer = np.minimum(np.maximum(queries, passages), room - shorter)
        query_is_shorter = queries <= passages
        return np.where(query_is_shorter, shorter, longer), np.where(query_is_shorter, longer, shorter)

    def together(self, pairs: EncodedPairs) -> list[EncodedPairs]:
        """Split pairs into groups that may be laid out together."""
        return pairs.alike() if self.of_one_length else [pairs]

    def join(self, pairs: EncodedPairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lay pairs end to end: ids and token types, each (tokens,)."""
        ids = joined(pairs.ids, pairs.starts, pairs.sizes).astype(np.int64)
        return ids, np.repeat(np.tile(self.types, len(pairs)), pairs.sizes.ravel())

    def pad(self, pairs: EncodedPairs, pad_id: int) -> tuple[NDArray[np.int64], ...]:
        """Lay pairs out as rows: ids, attention mask and token types, each (n, longest)."""
        mask = np.arange(pairs.lengths.max()) < pairs.lengths[:, None]
        ids, types = np.full(mask.shape, pad_id, dtype=np.int64), np.zeros(mask.shape, dtype=np.int64)
        ids[mask], types[mask] = self.join(pairs)
        return ids, mask.astype(np.int64), types
