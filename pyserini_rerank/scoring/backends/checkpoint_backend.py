"""The common part of the backends that tokenize pairs themselves."""

from collections.abc import Sequence
from functools import cached_property
from itertools import pairwise

from ...passages import Tokens
from ...scales import Scale
from ..backend import Pair, Plan
from ..checkpoints.checkpoint import Checkpoint, fingerprint_of
from ..encoding.encoder import Encoder
from ..encoding.pair_encoder import TextEncoder
from ..encoding.vocabulary import vocabulary


class CheckpointBackend:
    """Plans batches with a checkpoint's tokenizer, and gives the fingerprint of its files.

    Parameters
    ----------
    checkpoint : Checkpoint
    encoder : Encoder
    budget : int
        Tokens of a batch.
    facts : str
        All that changes the scores, apart from the checkpoint's files and its row of the catalogue.
    """

    scale: Scale = "logit"
    workers: int = 1
    known_scores: int = 0
    threads: int
    """The number of threads that compute on a CPU."""

    def __init__(self, checkpoint: Checkpoint, encoder: Encoder, budget: int, facts: str) -> None:
        self.encoder = encoder
        self.max_length = encoder.max_length
        self.budget = budget
        self.checkpoint, self._facts = checkpoint, facts

    @cached_property
    def fingerprint(self) -> str:
        """A hash of all that changes the scores: the checkpoint's files, head, max_length, dtype."""
        return fingerprint_of(self.checkpoint, self._facts)

    @property
    def _inputs(self) -> dict[str, str]:
        """What tokenizes, and which revision of the hub's files was asked for, for a report."""
        revision = self.checkpoint.revision
        return {"tokenizer": self.encoder.package, **({"revision": revision} if revision else {})}

    @cached_property
    def vocabulary(self) -> str | None:
        """The tokenizer's fingerprint, which `Tokens` of passages have to match; None if it takes texts only."""
        return vocabulary(self.encoder.tokenizer) if isinstance(self.encoder, TextEncoder) else None

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """Give the tokens of texts, uncut; raises TypeError where it takes texts only."""
        if not isinstance(self.encoder, TextEncoder):
            raise TypeError(f"{self.checkpoint.name} takes texts and no tokens.")
        ids, offsets = self.encoder.texts(texts)
        return [Tokens(ids[start:stop].astype("<i4").tobytes()) for start, stop in pairwise(offsets.tolist())]

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Tokenize pairs, and put pairs of similar length into a batch."""
        return self.encoder.plan(pairs, self.budget)
