"""The encoder of query-passage pairs for models that read a prompt."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from ...distinct import numbered
from ..backend import Pair
from .encoded_pairs import EncodedPairs, Ids, joined
from .encoder import Encoder
from .text_tokenizer import REFERENCE

#: Texts that are tokenized at once. The number limits the memory: the tokenizer tells much more of a token than its id.
CHUNK = 256
SLOTS = ("query", "document")
#: The part of the prompt that owns a token; the template owns a token that reaches from a text into the template.
TEMPLATE, QUERY, DOCUMENT = range(3)

#: The ids, owners and `of_passage` of one text's tokens: see `Tokenized`.
Part = tuple[Ids, NDArray[np.int8], NDArray[np.bool_]]
NOTHING: Part = (np.empty(0, dtype=np.int32), np.empty(0, dtype=np.int8), np.empty(0, dtype=np.bool_))


@dataclass(frozen=True)
class Tokenized:
    """The tokens of several texts, one text after the other, uncut."""

    ids: Ids
    owners: NDArray[np.int8]
    """The owner of each token: (tokens,)."""
    of_passage: NDArray[np.bool_]
    """Whether a token has characters of the document in it, which the template may own: (tokens,)."""
    offsets: NDArray[np.int64]
    """Where each text begins, and where the last one ends: (n + 1,)."""


class PromptEncoder(Encoder):
    """Fills a template with pairs, tokenizes it as its authors do, and cuts the texts but never the template.

    A pair that is too long loses the document's last tokens, then the query's. The document keeps up to a quarter of
    the room, as in the code of FlagEmbedding and mxbai-rerank: the score of a document that was left out would be
    meaningless.

    Parameters
    ----------
    template : sequence of str
        The pieces of the prompt, which are tokenized separately. One has ``{query}`` in it, and the same or another one
        has ``{document}``.
    instruction : str
        What stands in the template in the place of ``{instruction}``.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_length: int,
        template: Sequence[str],
        instruction: str = "",
        *,
        cuts_left: bool = False,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        self.package = REFERENCE
        #: Each piece as a list of texts and the names of the slots between them: text, slot, text, slot, text.
        self.pieces = [re.split(r"\{(query|document)\}", piece) for piece in template]
        for piece in self.pieces:  # filled in now, since an instruction may have "{query}" in it
            piece[0::2] = [text.replace("{instruction}", instruction) for text in piece[0::2]]
        added = tokenizer.get_added_tokens_decoder().items()
        self.special = [number for number, token in added if token.special and number != self.unknown]
        tokenizer.encode_special_tokens = False
        self.fixed = [self._fixed(piece[0]) if len(piece) == 1 else None for piece in self.pieces]
        # From now on "<|im_end|>" in a text is read as text.
        tokenizer.encode_special_tokens = True
        # At both ends of both texts a token may reach into the template, and such a token is not cut.
        self.least = len(self._prompts([("", "")]).ids) + 4

    def encode(self, pairs: Sequence[Pair]) -> EncodedPairs:
        """Tokenize and cut pairs of texts."""
        prompts = self._prompts(pairs)
        rows = np.repeat(np.arange(len(pairs)), np.diff(prompts.offsets))
        of_texts = [prompts.owners == owner for owner in (QUERY, DOCUMENT)]
        uncut = [np.bincount(rows[of_text], minlength=len(pairs)) for of_text in of_texts]
        of_template = np.diff(prompts.offsets) - uncut[0] - uncut[1]
        kept = self._kept(uncut[0], uncut[1], self.max_length - of_template)
        stays = np.ones(len(rows), dtype=bool)
        for of_text, before, after in zip(of_texts, uncut, kept, strict=True):
            # The place of each token among the tokens of its text.
            place = np.arange(before.sum()) - np.repeat(np.cumsum(before) - before, before)
            of_pair = rows[of_text]
            stays[of_text] = place >= (before - after)[of_pair] if self.cuts_left else place < after[of_pair]
        lengths = np.bincount(rows[stays], minlength=len(pairs))
        return EncodedPairs(
            ids=prompts.ids[stays],
            starts=(np.cumsum(lengths) - lengths)[:, None],
            sizes=lengths[:, None],
            lengths=lengths,
            query_rows=numbered([query for query, _ in pairs])[1],
            query_was_cut=kept[0] < uncut[0],
            passage_was_cut=kept[1] < uncut[1],
            mostly_unknown=self.are_mostly_unknown(
                prompts.ids[prompts.of_passage],
                np.concatenate([[0], np.cumsum(np.bincount(rows[prompts.of_passage], minlength=len(pairs)))]),
            ),
        )

    def pad(self, prompts: EncodedPairs) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lay prompts out as the model's inputs, padded on the right: ids and attention mask, each (n, longest)."""
        mask = np.arange(prompts.lengths.max()) < prompts.lengths[:, None]
        ids = np.zeros(mask.shape, dtype=np.int64)
        ids[mask] = joined(prompts.ids, prompts.starts, prompts.sizes)
        return ids, mask.astype(np.int64)

    def _kept(
        self, queries: NDArray[np.int64], documents: NDArray[np.int64], room: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Decide how many tokens are kept of queries and documents with so many: the document loses its own first."""
        document = np.maximum(room - queries, np.minimum(documents, room // 4))
        fits = queries + documents <= room
        return np.where(fits, queries, np.minimum(queries, room - document)), np.where(fits, documents, document)

    def _prompts(self, pairs: Sequence[Pair]) -> Tokenized:
        """Tokenize whole prompts; each piece that several prompts have in common is tokenized once."""
        texts = [dict(zip(SLOTS, pair, strict=True)) for pair in pairs]
        columns, starts, sizes = [], [], []
        for piece, fixed in zip(self.pieces, self.fixed, strict=True):
            if fixed:
                columns.append(fixed)
                rows = np.zeros(len(pairs), dtype=np.intp)
            else:
                fillings, rows = numbered([tuple(str(slots[name]) for name in piece[1::2]) for slots in texts])
                columns.append(self._fill(piece, fillings))
            before = sum(len(column.ids) for column in columns[:-1])
            starts.append(before + columns[-1].offsets[rows])
            sizes.append(np.diff(columns[-1].offsets)[rows])
        spans = np.stack(starts, axis=1), np.stack(sizes, axis=1)
        return Tokenized(
            joined(np.concatenate([column.ids for column in columns]), *spans),
            joined(np.concatenate([column.owners for column in columns]), *spans),
            joined(np.concatenate([column.of_passage for column in columns]), *spans),
            np.concatenate([[0], np.cumsum(spans[1].sum(axis=1))]),
        )

    def _fixed(self, text: str) -> Tokenized:
        """Tokenize a piece that is the same for every pair."""
        ids = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)
        no_passage = np.zeros(len(ids), dtype=bool)
        return Tokenized(ids, np.full(len(ids), TEMPLATE, dtype=np.int8), no_passage, np.array([0, len(ids)]))

    def _fill(self, piece: Sequence[str], fillings: Sequence[tuple[str, ...]]) -> Tokenized:
        """Fill a piece with texts, one for each of its slots, and tokenize it; do so for each filling."""
        parts = [
            part for start in range(0, len(fillings), CHUNK) for part in self._chunk(piece, fillings[start:][:CHUNK])
        ]
        ids, owners, of_passage = (np.concatenate(column) for column in zip(NOTHING, *parts, strict=True))
        return Tokenized(ids, owners, of_passage, np.cumsum([0, *(len(ids) for ids, *_ in parts)]))

    def _chunk(self, piece: Sequence[str], fillings: Sequence[tuple[str, ...]]) -> Iterable[Part]:
        filled, spans = [], []
        for filling in fillings:
            parts = list(piece)
            parts[1::2] = filling
            ends = np.cumsum([len(part) for part in parts])
            filled.append("".join(parts))
            spans.append(list(zip(piece[1::2], ends[0::2], ends[1::2], strict=False)))
        encodings = self.tokenizer.encode_batch(filled, add_special_tokens=False)
        return map(self._part, encodings, spans)

    def _part(self, encoding: Encoding, spans: Sequence[tuple[str, int, int]]) -> Part:
        """Find the owner of each token by the characters that the query and the document span."""
        ids = np.array(encoding.ids, dtype=np.int32)
        starts, ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
        owners = np.full(len(ids), TEMPLATE, dtype=np.int8)
        of_passage = np.zeros(len(ids), dtype=bool)
        for name, start, end in spans:
            owners[(starts >= start) & (ends <= end)] = QUERY if name == "query" else DOCUMENT
            if name == "document":
                of_passage = (starts < end) & (ends > start)
        # A Unigram vocabulary can turn "</s>" in a text into the special token.
        is_text = ~np.isin(ids, self.special)
        return ids[is_text], owners[is_text], of_passage[is_text]
