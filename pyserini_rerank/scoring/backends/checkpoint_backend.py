"""What backends share that tokenize pairs themselves."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ...scales import Scale
from ..backend import Pair, Plan
from ..checkpoints.checkpoint import Checkpoint, fingerprint_of
from ..encoding.encoder import Encoder, vocabulary


class CheckpointBackend:
    """Plans batches with a checkpoint's own tokenizer, and knows its files.

    Parameters
    ----------
    checkpoint : Checkpoint
    encoder : Encoder
    budget : int
        Tokens of a batch.
    facts : str
        What changes the scores beside the checkpoint's files and how the catalogue has them read.
    """

    scale: Scale = "logit"
    workers: int = 1
    known_scores: int = 0
    threads: int
    """How many compute, on a CPU."""

    def __init__(self, checkpoint: Checkpoint, encoder: Encoder[Any], budget: int, facts: str) -> None:
        self.encoder = encoder
        self.max_length = encoder.max_length
        self.budget = budget
        self.checkpoint, self._facts = checkpoint, facts

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the checkpoint's files and of what else changes its scores: head, max_length, dtype."""
        return fingerprint_of(self.checkpoint, self._facts)

    @cached_property
    def vocabulary(self) -> str | None:
        """The tokenizer's fingerprint, which says whose `Tokens` it takes; None where it takes texts only."""
        return vocabulary(self.encoder.tokenizer) if self.encoder.takes_tokens else None

    def tokenize(self, texts: Sequence[str]) -> list[bytes]:
        """Give texts' tokens as `Tokens` has them."""
        return [ids.astype("<i4").tobytes() for ids in self.encoder.tokenize(texts)]

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Tokenize pairs and put those of similar length together."""
        encoded = self.encoder.encode(pairs)
        return self.encoder.plan(pairs, encoded, encoded, self.budget)
