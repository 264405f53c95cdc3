"""The base of the encoders, which turn pairs into the tokens of pairs or of prompts."""

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

#: The number of texts from which on it is faster to send them to other processes.
WORTH_SENDING = 500
#: The parts of a tokenizer's file that decide a passage's tokens. Special tokens and cutting are not among them.
MAKES_TOKENS = ("added_tokens", "normalizer", "pre_tokenizer", "model")


def vocabulary(tokenizer: Tokenizer) -> str:
    """Give the fingerprint of a tokenizer: tokenizers with the same one give a passage the same tokens."""
    parts = json.loads(tokenizer.to_str())
    return blake2b(json.dumps([parts[name] for name in MAKES_TOKENS]).encode(), digest_size=16).hexdigest()


class Encoded(Protocol):
    """A pair's tokens, cut to the model's length."""

    @property
    def passage(self) -> Ids: ...
    @property
    def length(self) -> int:
        """The number of tokens that the pair takes up in a batch."""

    @property
    def query_was_cut(self) -> bool: ...
    @property
    def passage_was_cut(self) -> bool: ...


class Encoder[E: Encoded](ABC):
    """Tokenizes pairs, cuts them to the length that the model reads, and puts pairs of similar length into batches.

    Parameters
    ----------
    tokenizer
        A Rust tokenizer; its own truncation and padding are turned off.
    max_length : int
        Tokens of a pair, special ones included.
    cuts_left : bool
        Whether a text that is too long loses its first tokens instead of its last.

    Attributes
    ----------
    least : int
        The smallest `max_length` that has room for a pair.
    takes_tokens : bool
        Whether passages may be `Tokens`.
    processes : TokenizingProcesses, optional
        Processes that tokenize when there are many texts.
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
        """Put pairs of similar length into batches.

        Parameters
        ----------
        pairs : sequence of Pair, (n,)
        encoded : sequence, (n,)
            The same pairs, encoded.
        inputs : sequence, (n,)
            Each pair in the form that the backend's `run` reads.
        budget : int
            Tokens of a batch.
        added : int
            The number of tokens that the backend adds to each pair.
        """
        lengths = [pair.length + added for pair in encoded]
        return Plan(
            batches=[Batch(rows, [inputs[i] for i in rows.tolist()]) for rows in batch_by_length(lengths, budget)],
            cut_passages=sum(pair.passage_was_cut for pair in encoded),
            cut_queries=len({query for (query, _), pair in zip(pairs, encoded, strict=True) if pair.query_was_cut}),
            unknown=int(self.mostly_unknown([pair.passage for pair in encoded]).sum()),
        )

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """Give the tokens of passages, uncut and without special tokens."""
        return self.processes(texts) if self.processes and len(texts) >= WORTH_SENDING else self.texts(texts)

    def distinct(self, passages: Sequence[str | Tokens]) -> dict[str | Tokens, Ids]:
        """Give the tokens of each distinct passage; a passage may be tokenized already."""
        distinct = dict.fromkeys(passages)
        ids: dict[str | Tokens, Ids] = {
            tokens: np.frombuffer(tokens.ids, dtype="<i4") for tokens in distinct if isinstance(tokens, Tokens)
        }
        texts = [text for text in distinct if isinstance(text, str)]
        ids.update(zip(texts, self.tokenize(texts), strict=True))
        return ids

    def kept(self, ids: Ids, count: int) -> Ids:
        """Cut a text's tokens to at most `count`."""
        return ids[len(ids) - count :] if self.cuts_left and count < len(ids) else ids[:count]

    def mostly_unknown(self, passages: Sequence[Ids]) -> NDArray[np.bool_]:
        """Tell in which passages at least half of the tokens are unknown: bool (n,)."""
        lengths = np.array([len(ids) for ids in passages], dtype=np.int64)
        ids = np.concatenate([*passages, np.empty(0, dtype=np.int32)])
        rows_of_unknown = np.repeat(np.arange(len(lengths)), lengths)[ids == self.unknown]
        return 2 * np.bincount(rows_of_unknown, minlength=len(lengths)) >= lengths
