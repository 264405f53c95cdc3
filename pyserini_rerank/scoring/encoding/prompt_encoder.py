"""The encoder of query-passage pairs for models that read a prompt."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer

from ..backend import Pair
from .encoder import Encoder
from .text_tokenizer import Ids

#: Texts that are tokenized at once. The number limits the memory: the tokenizer tells much more of a token than its id.
CHUNK = 256
SLOTS = ("query", "document")
#: The part of the prompt that owns a token; the template owns a token that reaches from a text into the template.
TEMPLATE, QUERY, DOCUMENT = range(3)


@dataclass(frozen=True)
class EncodedPrompt:
    """A prompt's tokens, cut to the model's length."""

    ids: Ids
    passage: Ids
    """The tokens that have characters of the document in them, uncut."""
    query_was_cut: bool
    passage_was_cut: bool

    @property
    def length(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Tokenized:
    """The tokens of a piece of a prompt, uncut."""

    ids: Ids
    owners: NDArray[np.int8]
    """The owner of each token, (n,)."""
    passage: Ids
    """The tokens that have characters of the document in them, including those that the template owns."""


class PromptEncoder(Encoder[EncodedPrompt]):
    """Fills a template with pairs, tokenizes it as its authors do, and cuts the texts but never the template.

    A pair that is too long loses the document's last tokens, then the query's. The document keeps up to a quarter of
    the room, as in the code of FlagEmbedding and mxbai-rerank: the score of a document that was left out would be
    meaningless.

    Parameters
    ----------
    template : sequence of str
        The pieces of the prompt, which are tokenized separately. One has ``{query}`` in it, and the same or another one
        has ``{document}``.
    """

    takes_tokens = False

    def __init__(
        self, tokenizer: Tokenizer, max_length: int, template: Sequence[str], *, cuts_left: bool = False
    ) -> None:
        super().__init__(tokenizer, max_length, cuts_left=cuts_left)
        #: Each piece as a list of texts and the names of the slots between them: text, slot, text, slot, text.
        self.pieces = [re.split(r"\{(query|document)\}", piece) for piece in template]
        added = tokenizer.get_added_tokens_decoder().items()
        self.special = [number for number, token in added if token.special and number != self.unknown]
        tokenizer.encode_special_tokens = False
        self.fixed = [self._fixed(piece[0]) if len(piece) == 1 else None for piece in self.pieces]
        # From now on "<|im_end|>" in a text is read as text.
        tokenizer.encode_special_tokens = True
        empty = self._prompts([("", "")])[0].ids
        # At both ends of both texts a token may reach into the template, and such a token is not cut.
        self.least = len(empty) + 4

    def encode(self, pairs: Sequence[Pair]) -> list[EncodedPrompt]:
        """Tokenize and cut pairs of texts."""
        return [self._cut(prompt) for prompt in self._prompts(pairs)]

    def pad(self, prompts: Sequence[EncodedPrompt]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Lay out prompts as rows, padded on the right: ids and attention mask, each (n, longest)."""
        shape = len(prompts), max(len(prompt.ids) for prompt in prompts)
        ids, mask = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt.ids)] = prompt.ids
            mask[row, : len(prompt.ids)] = 1
        return ids, mask

    def _prompts(self, pairs: Sequence[Pair]) -> list[Tokenized]:
        """Tokenize whole prompts; each distinct filling of a piece is tokenized once."""
        texts = [dict(zip(SLOTS, pair, strict=True)) for pair in pairs]
        columns = []
        for piece, fixed in zip(self.pieces, self.fixed, strict=True):
            if fixed:
                columns.append([fixed] * len(pairs))
                continue
            fillings = [tuple(str(slots[name]) for name in piece[1::2]) for slots in texts]
            distinct = list(dict.fromkeys(fillings))
            tokenized: dict[tuple[str, ...], Tokenized] = {}
            for start in range(0, len(distinct), CHUNK):
                chunk = distinct[start : start + CHUNK]
                tokenized.update(zip(chunk, self._fill(piece, chunk), strict=True))
            columns.append([tokenized[filling] for filling in fillings])
        return [_joined(parts) for parts in zip(*columns, strict=True)]

    def _fixed(self, text: str) -> Tokenized:
        """Tokenize a piece that is the same for every pair."""
        ids = np.array(self.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int32)
        return Tokenized(ids, np.full(len(ids), TEMPLATE, dtype=np.int8), ids[:0])

    def _fill(self, piece: Sequence[str], fillings: Sequence[tuple[str, ...]]) -> list[Tokenized]:
        """Fill a piece with texts, one for each of its slots, and tokenize it."""
        filled, spans = [], []
        for filling in fillings:
            parts = list(piece)
            parts[1::2] = filling
            ends = np.cumsum([len(part) for part in parts])
            filled.append("".join(parts))
            spans.append(list(zip(piece[1::2], ends[0::2], ends[1::2], strict=False)))
        encodings = self.tokenizer.encode_batch(filled, add_special_tokens=False)
        return [self._tokenized(encoding, slots) for encoding, slots in zip(encodings, spans, strict=True)]

    def _tokenized(self, encoding: Encoding, spans: Sequence[tuple[str, int, int]]) -> Tokenized:
        """Find the owner of each token by the characters that the query and the document span."""
        ids = np.array(encoding.ids, dtype=np.int32)
        starts, ends = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2).T
        owners = np.full(len(ids), TEMPLATE, dtype=np.int8)
        passage = np.zeros(len(ids), dtype=bool)
        for name, start, end in spans:
            owners[(starts >= start) & (ends <= end)] = QUERY if name == "query" else DOCUMENT
            if name == "document":
                passage = (starts < end) & (ends > start)
        # A Unigram vocabulary can turn "</s>" in a text into the special token.
        is_text = ~np.isin(ids, self.special)
        return Tokenized(ids[is_text], owners[is_text], ids[passage & is_text])

    def _cut(self, prompt: Tokenized) -> EncodedPrompt:
        """Drop the document's last tokens, then the query's; with `cuts_left` drop the first tokens instead."""
        ids = prompt.ids
        query, document = np.flatnonzero(prompt.owners == QUERY), np.flatnonzero(prompt.owners == DOCUMENT)
        room = self.max_length - (len(ids) - len(query) - len(document))
        n, m = len(query), len(document)
        if n + m > room:
            m = max(room - n, min(m, room // 4))
            n = min(n, room - m)
            dropped = [
                positions[: len(positions) - kept] if self.cuts_left else positions[kept:]
                for positions, kept in ((query, n), (document, m))
            ]
            ids = np.delete(ids, np.concatenate(dropped))
        return EncodedPrompt(ids, prompt.passage, n < len(query), m < len(document))


def _joined(parts: Sequence[Tokenized]) -> Tokenized:
    return Tokenized(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.owners for part in parts]),
        np.concatenate([part.passage for part in parts]),
    )
