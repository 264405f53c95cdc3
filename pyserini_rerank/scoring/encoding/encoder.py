"""Texts to tokens: what encoders of pairs and of prompts have in common."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ...passages import Tokens
from ..backend import Batch, Pair, Plan
from .batches import batch_by_length
from .text_tokenizer import Ids, TextTokenizer
from .tokenizing_processes import TokenizingProcesses

#: Texts that are worth sending to other processes.
WORTH_SENDING = 500


#: The parts of a tokenizer's file that make a passage's tokens; special tokens and cutting come after them.
MAKES_TOKENS = ("added_tokens", "normalizer", "pre_tokenizer", "model")


def vocabulary(tokenizer: Tokenizer) -> str:
    """Give the fingerprint of a tokenizer: equal where every passage has the same tokens."""
    parts = json.loads(tokenizer.to_str())
    return blake2b(json.dumps([parts[name] for name in MAKES_TOKENS]).encode(), digest_size=16).hexdigest()


class Encoded(Protocol):
    """A pair's tokens, cut to the model's length."""

    @property
    def passage(self) -> Ids: ...
    @property
    def length(self) -> int:
        """The tokens that it takes up in a batch."""

    @property
    def query_was_cut(self) -> bool: ...
    @property
    def passage_was_cut(self) -> bool: ...


class Encoder[E: Encoded](ABC):
    """Tokenizes pairs, cuts them to what the model reads, and puts those of similar length together.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer; its own truncation and padding are turned off.
    max_length : int
        Tokens of a pair, special ones included.
    cuts_left : bool
        What is too long loses its first tokens.

    Attributes
    ----------
    least : int
        Tokens without which there is no room for a pair.
    takes_tokens : bool
        Passages may be `Tokens`.
    processes : TokenizingProcesses, optional
        They tokenize where there is much to tokenize.
    """

    least: int
    takes_tokens = True
    processes: TokenizingProcesses | None = None

    def __init__(self, tokenizer: Tokenizer, max_length: int, *, cuts_left: bool = False) -> None:
        self.tokenizer = tokenizer
        self.cuts_left = cuts_left
        self.texts = TextTokenizer(tokenizer)
        self.max_length = max_length
        self.unknown = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "<unk>")

    @abstractmethod
    def encode(self, pairs: Sequence[Pair]) -> list[E]:
        """Tokenize and cut pairs."""

    def plan(
        self, pairs: Sequence[Pair], encoded: Sequence[E], inputs: Sequence[Any], budget: int, added: int = 0
    ) -> Plan:
        """Put pairs of similar length together.

        Parameters
        ----------
        pairs, encoded : of the same pairs
        inputs : sequence, (n,)
            What the backend's `run` needs of each pair.
        budget : int
            Tokens of a batch.
        added : int
            Tokens that the backend adds to each pair.
        """
        lengths = [pair.length + added for pair in encoded]
        return Plan(
            batches=[Batch(rows, [inputs[i] for i in rows.tolist()]) for rows in batch_by_length(lengths, budget)],
            cut_passages=sum(pair.passage_was_cut for pair in encoded),
            cut_queries=len({query for (query, _), pair in zip(pairs, encoded, strict=True) if pair.query_was_cut}),
            unknown=int(self.mostly_unknown([pair.passage for pair in encoded]).sum()),
        )

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Give passages' tokens, uncut and without special ones."""
        return self.processes(texts) if self.processes and len(texts) >= WORTH_SENDING else self.texts(texts)

    def distinct(self, passages: Sequence[str | Tokens]) -> dict[str | Tokens, Ids]:
        """Give the tokens of each passage that differs, which may be tokenized already."""
        distinct = dict.fromkeys(passages)
        ids: dict[str | Tokens, Ids] = {
            tokens: np.frombuffer(tokens.ids, dtype="<i4") for tokens in distinct if isinstance(tokens, Tokens)
        }
        texts = [text for text in distinct if isinstance(text, str)]
        ids.update(zip(texts, self.tokenize(texts), strict=True))
        return ids

    def kept(self, ids: Ids, count: int) -> Ids:
        """Cut a text's tokens to `count` of them."""
        return ids[len(ids) - count :] if self.cuts_left and count < len(ids) else ids[:count]

    def mostly_unknown(self, passages: Sequence[Ids]) -> NDArray[np.bool_]:
        """Tell which passages have no more known tokens than unknown ones: bool (n,)."""
        lengths = np.array([len(ids) for ids in passages], dtype=np.int64)
        ids = np.concatenate([*passages, np.empty(0, dtype=np.int32)])
        owners = np.repeat(np.arange(len(lengths)), lengths)[ids == self.unknown]
        return 2 * np.bincount(owners, minlength=len(lengths)) >= lengths
