"""What a kind of checkpoint knows: how its files are read, what its tokens are, and what its score is."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from ...scales import Scale
from .. import models
from ..checkpoints import Checkpoint
from ..pairs import Encoder

#: Tokens of a pair beyond which it is cut unless more is asked for.
USUAL_LENGTH = 512
#: Models whose first position comes after that of padding.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")


class Family(ABC):
    """A checkpoint that is read as its authors meant it.

    Parameters
    ----------
    dtype : torch.dtype
        Of the model's body; its head is in float32.
    max_length : int, optional
        Tokens of a pair beyond which it is cut; by default the model's limit, 512 at most.

    Attributes
    ----------
    model : torch.nn.Module
    encoder : Encoder
    facts : str
        What of the catalogue or the options changes the scores.
    """

    model: torch.nn.Module
    encoder: Encoder[Any]
    facts: str
    #: What its scores are.
    scale: Scale = "logit"

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, max_length: int | None) -> None:
        config = self._load(checkpoint, dtype)
        self.encoder = encoder_of(checkpoint, config, max_length, self._encoder)

    @abstractmethod
    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        """Load the model, and give its configuration."""

    def place(self, device: torch.device) -> None:
        """Move the model to the device that it runs on."""
        self.model.to(device).eval()

    @abstractmethod
    def _encoder(self, checkpoint: Checkpoint, tokenizer: Tokenizer, max_length: int) -> Encoder[Any]:
        """Make what turns pairs into tokens."""

    @abstractmethod
    def scores(self, pairs: Sequence[Any], device: torch.device) -> torch.Tensor:
        """Score pairs that the encoder has made: float32 (n,), on the device."""


def encoder_of[E: Encoder[Any]](
    checkpoint: Checkpoint, config: Any, max_length: int | None, make: Callable[[Checkpoint, Tokenizer, int], E]
) -> E:
    """Make what turns pairs into a checkpoint's tokens.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no tokenizer, or it is another model's; the model does not read pairs of `max_length` tokens.
    """
    # T5 has no positions but relative ones, and so no limit.
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if limit:
        limit -= first_position(config)
    tokenizer = models.load_tokenizer(checkpoint)
    if max(tokenizer.get_vocab().values()) >= config.vocab_size:  # on a GPU it would end the process's use of it
        raise ValueError(
            f"the tokenizer of {checkpoint.name} has tokens that its model lacks, beyond {config.vocab_size:,}: "
            "one of the two is damaged, or another checkpoint's."
        )
    length = min(USUAL_LENGTH, limit or USUAL_LENGTH) if max_length is None else max_length
    encoder = make(checkpoint, tokenizer, length)
    least = encoder.least
    if length < least or (limit and length > limit):
        reads = f"{least} to {limit}" if limit else f"at least {least}"
        raise ValueError(f"max_length is {length}: {checkpoint.name} reads pairs of {reads} tokens.")
    return encoder


def first_position(config: Any) -> int:
    """Give the position of a sequence's first token."""
    return int(config.pad_token_id) + 1 if config.model_type in OFFSET_POSITIONS else 0


def ids_of(tokenizer: Tokenizer, tokens: Sequence[str], name: str) -> list[int]:
    """Find the ids of a checkpoint's special tokens and answers.

    Raises
    ------
    ValueError
        The tokenizer does not have one: it is not the checkpoint's.
    """
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    lacking = [token for token, number in ids.items() if number is None]
    if lacking:
        raise ValueError(f"the tokenizer of {name} has no {lacking[0]!r}: copy that of its authors into the folder.")
    return [number for number in ids.values() if number is not None]
