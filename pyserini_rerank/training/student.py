"""The model that is trained: a checkpoint, or an encoder that gets a head."""

import os
from typing import TYPE_CHECKING, Any, cast

import torch

from ..arguments import whole
from ..scoring.architectures.architecture import positions
from ..scoring.checkpoints.checkpoint import Checkpoint, resolve
from ..scoring.checkpoints.reading import reading
from .processes import say

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

#: Tokens to which a pair is cut, as the rerankers of MS MARCO do it, unless the caller gives a number.
MAX_LENGTH = 512
#: The families of the catalogue whose checkpoints are plain classifiers.
HEADED = "ForSequenceClassification"


def make_student(base: str | os.PathLike[str], max_length: int | None) -> "CrossEncoder":
    """Load a checkpoint or an encoder as a model with one label, whose scores are raw logits.

    A head that is made for the training, and two labels that become one, are told on stderr.

    Parameters
    ----------
    base, max_length
        See `pyserini_rerank.train`.

    Raises
    ------
    ValueError, TypeError
        The base is no encoder with at most two labels, or has fewer positions.
    As `pyserini_rerank.load`.
    """
    import transformers
    from sentence_transformers import CrossEncoder

    checkpoint = resolve(base)
    if checkpoint.row.family not in (None, "classifier") or checkpoint.row.body or checkpoint.is_modular:
        raise ValueError(f"{checkpoint.name} is no plain cross-encoder: name an encoder such as BERT, or a classifier.")
    with reading(f"the configuration in {checkpoint.folder}", checkpoint.folder):
        config = transformers.AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    kinds = config.architectures or [""]
    # ColBERT's class, for one, is its authors' own.
    is_known = kinds == [""] or all(hasattr(transformers, kind) for kind in kinds)
    if config.is_encoder_decoder or not is_known or any("CausalLM" in kind for kind in kinds):
        raise ValueError(f"{checkpoint.name} is a {kinds[0]}: name an encoder such as BERT, or a cross-encoder.")
    has_head = any(kind.endswith(HEADED) for kind in kinds)
    if has_head and config.num_labels > 2:
        raise ValueError(f"{checkpoint.name} has {config.num_labels} labels: name a model with one or two, or without.")
    labels = config.num_labels if has_head else 1
    with reading(f"the model in {checkpoint.folder}", checkpoint.folder):
        _check_weights(checkpoint, labels, has_head)
        model = CrossEncoder(
            str(checkpoint.folder),
            num_labels=labels,
            device="cpu",
            local_files_only=True,
            trust_remote_code=False,
            activation_fn=torch.nn.Identity(),
            # A checkpoint in half precision is trained in float32 as well: small steps would be rounded away.
            model_kwargs={"dtype": torch.float32},
        )
    transformer = model[0].model
    if not has_head:
        say(f"{checkpoint.name} has no head: a new one is made, with random weights.")
    elif labels == 2:
        is_positive = checkpoint.row.head == "positive"
        became = "the second, by which its authors score," if is_positive else "the difference of the two"
        say(f"{checkpoint.name} has two labels: {became} becomes its one label, with the same order.")
        _join_labels(transformer, 0 if is_positive else 1)
    model.tokenizer.model_max_length = model[0].max_seq_length = _length(transformer, max_length, checkpoint.name)
    return cast("CrossEncoder", model)


def _length(transformer: Any, max_length: int | None, name: str) -> int:
    most = positions(transformer.base_model)
    if max_length is None:
        return min(MAX_LENGTH, most or MAX_LENGTH)
    if not 5 <= whole(max_length, "max_length") <= (most or max_length):
        reads = f"5 to {most:,}" if most else "at least 5"
        raise ValueError(f"max_length is {max_length}: {name} reads pairs of {reads} tokens.")
    return max_length


def _check_weights(checkpoint: Checkpoint, labels: int, has_head: bool) -> None:
    """Check that a checkpoint has all weights of its transformer, and of its head if it has one.

    Raises
    ------
    ValueError
        One would be drawn by chance.
    """
    from transformers import AutoModelForSequenceClassification

    model, told = AutoModelForSequenceClassification.from_pretrained(
        checkpoint.folder, num_labels=labels, output_loading_info=True, trust_remote_code=False
    )
    body = f"{model.base_model_prefix}."
    # The pooler belongs to the head, and encoders without a head may lack it.
    lacking = sorted(key for key in told["missing_keys"] if has_head or (key.startswith(body) and "pooler" not in key))
    if lacking:
        raise ValueError(f"it lacks {', '.join(lacking[:3])}{' and others' * (len(lacking) > 3)}")


def _join_labels(transformer: Any, first: int) -> None:
    """Replace the two outputs of a classifier by the second less `first` times the first."""
    [(path, old)] = [
        (path, module)
        for path, module in transformer.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == 2
    ]
    new = torch.nn.Linear(old.in_features, 1, bias=old.bias is not None)
    with torch.no_grad():
        new.weight.copy_(old.weight[1:] - first * old.weight[:1])
        if old.bias is not None:
            new.bias.copy_(old.bias[1:] - first * old.bias[:1])
    transformer.set_submodule(path, new)
    transformer.config.num_labels = transformer.num_labels = 1
