"""The registry of architectures: which one reads a checkpoint."""

from collections.abc import Callable

import torch

from ..checkpoints import models
from ..checkpoints.catalogue import catalogue
from ..checkpoints.checkpoint import Checkpoint
from .architecture import Architecture
from .classifier import Classifier
from .late_interaction import LateInteraction
from .prompted import Decoder, Seq2Seq

FAMILIES: dict[str, Callable[..., Architecture]] = {"seq2seq": Seq2Seq, "decoder": Decoder, "late": LateInteraction}
#: The family of a checkpoint by the end of the name of its class. A checkpoint of any other class is a classifier.
ARCHITECTURES = {"ForConditionalGeneration": "seq2seq", "ForCausalLM": "decoder", "HF_ColBERT": "late"}


def family_of(checkpoint: Checkpoint) -> str | None:
    """Find a checkpoint's family; None for a classifier.

    Raises
    ------
    ValueError
        It is of another family than its row says, or of a family whose checkpoints need a row, and has none.
    """
    row, architecture = checkpoint.row, models.architecture(checkpoint)
    family = next((kind for ending, kind in ARCHITECTURES.items() if architecture.endswith(ending)), None)
    if family and not row.family:
        example = next(name for name, known in catalogue().items() if known.family == family)
        raise ValueError(
            f"{checkpoint.name} is a {architecture}, and nothing says how its authors score with it: "
            f"name a checkpoint of the catalogue that is used alike, such as known_as={example!r}."
        )
    if row.family != family:
        raise ValueError(
            f"{checkpoint.name} is a {architecture or 'checkpoint of an unknown class'}, and cannot be read as "
            f"{row.name}, which is of the family {row.family}: pass another known_as=."
        )
    return family


def load(
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    max_length: int | None,
    head: str | None = None,
    instruction: str | None = None,
) -> Architecture:
    """Load a checkpoint with the architecture of its family.

    Parameters
    ----------
    max_length : int, optional
        The number of tokens to which a pair is cut; by default the `max_seq_length` in its files, or else
        the tokenizer's limit, 512 at most.
    head : str, optional
        See `pyserini_rerank.scoring.checkpoints.heads`; for classifiers only.
    instruction : str, optional
        For prompts that have a place for one.

    Raises
    ------
    ValueError
        As `family_of`; there is a `head` for a checkpoint that is no classifier, or an `instruction` for one that reads
        none; `max_length` is out of range.
    As `pyserini_rerank.scoring.checkpoints.models.load_model` and `settings.load_settings`.
    """
    family = family_of(checkpoint)
    if instruction is not None and not checkpoint.row.instruction:
        raise ValueError(
            f"instruction={instruction!r} is for prompts with a place for one, and {checkpoint.name} has none: leave "
            "it out."
        )
    if instruction is not None and not isinstance(instruction, str):
        raise ValueError(f"instruction={instruction!r}: give a text.")
    if family is None:
        return Classifier(checkpoint, dtype, max_length, head)
    if head is not None:
        raise ValueError(f"head={head!r} is for sequence classifiers, and {checkpoint.name} is none: leave it out.")
    options = {} if instruction is None else {"instruction": instruction}
    return FAMILIES[family](checkpoint, dtype, max_length, **options)
