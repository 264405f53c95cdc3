"""The base of the architectures: loading a checkpoint's model, encoding its pairs, and computing their scores."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer

from ...arguments import whole
from ...scales import Scale
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.settings import Settings, load_settings
from ..encoding.encoded_pairs import EncodedPairs
from ..encoding.encoder import Encoder


class Architecture(ABC):
    """A checkpoint's model and encoder, used as its authors use them.

    Parameters
    ----------
    dtype : torch.dtype
        The dtype of the model's body; its head is in float32.
    max_length : int, optional
        The number of tokens to which a pair is cut; by default the `max_seq_length` in its files, or else
        the tokenizer's limit, 512 at most.

    Attributes
    ----------
    model : torch.nn.Module
    encoder : Encoder
    facts : str
        The fields of the catalogue and the options that change the scores.
    instruction : str
        What the prompt tells the model to look for; empty if it tells nothing.
    """

    model: torch.nn.Module
    encoder: Encoder
    facts: str
    instruction: str = ""
    #: The scale of its scores.
    scale: Scale = "logit"

    def __init__(self, checkpoint: Checkpoint, dtype: torch.dtype, max_length: int | None) -> None:
        body = self._load(checkpoint, dtype)
        self.encoder = encoder_of(checkpoint, body, max_length, self._encoder)

    @abstractmethod
    def _load(self, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
        """Load the model, and give the module that has the embeddings and the configuration."""

    def to(self, device: torch.device) -> None:
        """Move the model to the device that it runs on."""
        self.model.to(device).eval()

    @abstractmethod
    def _encoder(self, checkpoint: Checkpoint, settings: Settings, max_length: int) -> Encoder:
        """Make the encoder that turns pairs into tokens."""

    @abstractmethod
    def scores(self, pairs: EncodedPairs, device: torch.device) -> torch.Tensor:
        """Score pairs that the encoder has encoded: float32 (n,), on the device."""


def encoder_of[E: Encoder](
    checkpoint: Checkpoint,
    body: Any,
    max_length: int | None,
    make: Callable[[Checkpoint, Settings, int], E],
    most: int | None = None,
) -> E:
    """Make the encoder that turns pairs into a checkpoint's tokens.

    Parameters
    ----------
    body : transformers.PreTrainedModel
        The module that has the embeddings and the configuration.
    max_length : int, optional
        By default the length in the files.
    make : callable
        It makes the encoder from the checkpoint, the settings in its files, and a length.
    most : int, optional
        The limit of tokens that a graph has, beside the model's limit.

    Raises
    ------
    FileNotFoundError, ValueError, TypeError
        There is no tokenizer, or it belongs to another model; the model does not read pairs of `max_length` tokens.
    """
    if max_length is not None:
        max_length = whole(max_length, "max_length")
    limit = min(filter(None, (positions(body), most)), default=None)
    settings = load_settings(checkpoint)
    check_vocabulary(settings.tokenizer, body, checkpoint.name)
    length = min(settings.max_length, limit or settings.max_length) if max_length is None else max_length
    encoder = make(checkpoint, settings, length)
    encoder.most = limit
    least = encoder.least
    if length < least or (limit and length > limit):
        reads = f"{least} to {limit}" if limit else f"at least {least}"
        raise ValueError(f"max_length is {length}: {checkpoint.name} reads pairs of {reads} tokens.")
    return encoder


def check_vocabulary(tokenizer: Tokenizer, body: Any, name: str) -> None:
    """Check that a model has embeddings for all tokens of a tokenizer; raises ValueError."""
    vocabulary = body.config.vocab_size
    if max(tokenizer.get_vocab().values()) >= vocabulary:  # such a token would make the GPU unusable for this process
        raise ValueError(
            f"the tokenizer of {name} has tokens that its model lacks, beyond {vocabulary:,}: one of the two is "
            "damaged, or another checkpoint's."
        )


def first_position(body: Any) -> int:
    """Give the position of a sequence's first token: 0, or for RoBERTa and its kind the position after padding's."""
    padding = getattr(position_table(body), "padding_idx", None)
    return 0 if padding is None else int(padding) + 1


def position_table(body: Any) -> torch.nn.Module | None:
    """Find the embeddings of an encoder's absolute positions; None if it has none."""
    tables = (getattr(module, "position_embeddings", None) for module in body.modules())
    return next((table for table in tables if isinstance(table, torch.nn.Module)), None)


def positions(body: Any) -> int | None:
    """Give the number of tokens that a model has positions for; None for relative positions, which have no limit."""
    # XLNet's is -1; T5 has none.
    most: int = getattr(body.config, "max_position_embeddings", None) or 0
    return most - first_position(body) if most > 0 else None


def ids_of(tokenizer: Tokenizer, tokens: Sequence[str], name: str) -> list[int]:
    """Find the ids of a checkpoint's special tokens and answers.

    Raises
    ------
    ValueError
        The tokenizer lacks one of them, so it is not the checkpoint's.
    """
    ids = {token: tokenizer.token_to_id(token) for token in tokens}
    lacking = [token for token, number in ids.items() if number is None]
    if lacking:
        raise ValueError(f"the tokenizer of {name} has no {lacking[0]!r}: copy that of its authors into the folder.")
    return [number for number in ids.values() if number is not None]
