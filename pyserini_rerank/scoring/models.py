"""A checkpoint's files to a model and a tokenizer."""

import inspect
import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertTokenizer,
    DistilBertConfig,
)
from transformers.utils import logging

from .checkpoints import Checkpoint, fetch

#: Models whose first position comes after that of padding.
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert")
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


@dataclass(frozen=True)
class Limits:
    """What a model takes and gives."""

    labels: int
    positions: int
    pad_id: int
    takes_types: bool


class FirstToken(torch.nn.Module):
    """An encoder with a Linear layer on its first token's vector: a head that transformers has no class for."""

    def __init__(self, body: torch.nn.Module, linear: torch.nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.linear = linear

    def forward(self, **inputs: torch.Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.linear(self.body(**inputs).last_hidden_state[:, 0]))


def load_model(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> tuple[torch.nn.Module, Limits]:
    """Load a checkpoint's model, its body in `dtype` and its head in float32.

    Raises
    ------
    ValueError
        Weights are missing, which transformers would fill with random numbers, or are damaged.
    OSError
        There is no file of weights.
    """
    try:
        if checkpoint.row.body:
            model, config, missing = _load_first_token(checkpoint, dtype)
        else:
            model, config, missing = _load_classifier(checkpoint, dtype)
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the weights in {checkpoint.folder} cannot be read: {reason}") from None
    if missing:
        raise ValueError(
            f"{checkpoint.name} has no weights for {', '.join(sorted(missing)[:3])}: it is no cross-encoder, "
            "or is damaged, or is one that needs known_as=."
        )
    body = model.body if isinstance(model, FirstToken) else model.base_model
    for module in model.children():
        if module is not body:
            module.float().register_forward_pre_hook(_in_float32)
    takes_types = "token_type_ids" in inspect.signature(body.forward).parameters
    positions = config.max_position_embeddings
    if config.model_type in OFFSET_POSITIONS:
        positions -= config.pad_token_id + 1
    labels = model.linear.out_features if isinstance(model, FirstToken) else config.num_labels
    return model.to(device).eval(), Limits(labels, positions, config.pad_token_id or 0, takes_types)


def load_tokenizer(checkpoint: Checkpoint) -> Tokenizer:
    """Load a checkpoint's tokenizer; lower case is forced where the catalogue says so.

    Raises
    ------
    FileNotFoundError
        The checkpoint has none.
    """
    row, source = checkpoint.row, checkpoint.folder
    if not any((checkpoint.folder / name).is_file() for name in TOKENIZER_FILES):
        if row.tokenizer is None:
            raise FileNotFoundError(
                f"{checkpoint.name} has no tokenizer (none of {', '.join(TOKENIZER_FILES)}): "
                "copy its files into the folder."
            )
        # Not left to transformers, which makes up a vocabulary of five tokens if it cannot be fetched.
        source = fetch(row.tokenizer, TOKENIZER_FILES)
    # Where transformers does not know the model, the configuration does not tell it which tokenizer that has.
    tokenizer = (BertTokenizer if row.body or row.type else AutoTokenizer).from_pretrained(source).backend_tokenizer
    if row.lower_case:
        tokenizer.normalizer = BertNormalizer(lowercase=True)
    return tokenizer


def _in_float32(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(value.float() for value in inputs)


def _load_classifier(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, Any, list[str]]:
    with _quiet():
        model, info = AutoModelForSequenceClassification.from_pretrained(
            checkpoint.folder,
            config=_config(checkpoint),
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            weights_only=True,
        )
    return model, model.config, list(info["missing_keys"])


def _config(checkpoint: Checkpoint) -> Any:
    """Read a checkpoint's configuration; files older than `model_type` need the catalogue to say what they are."""
    path = checkpoint.folder / "config.json"
    try:
        facts = json.loads(path.read_text())
        if checkpoint.row.type and "model_type" not in facts:
            return AutoConfig.for_model(checkpoint.row.type, **facts)
        return AutoConfig.from_pretrained(checkpoint.folder)
    except (OSError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}") from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing a progress bar and reporting on keys, which are checked here."""
    verbosity, shown = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if shown:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def _load_first_token(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, Any, list[str]]:
    body_facts = checkpoint.row.body or {}
    weights = _read_weights(checkpoint.folder)
    prefix, linear = body_facts["prefix"], body_facts["linear"]
    own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    config = _body_config(checkpoint.folder, body_facts["type"], own)
    body = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    missing = [prefix + key for key in body.load_state_dict(own, strict=False).missing_keys]
    missing += [key for key in (f"{linear}.weight", f"{linear}.bias") if key not in weights]
    if missing:
        return None, config, missing
    weight, bias = weights[f"{linear}.weight"], weights[f"{linear}.bias"]
    head = torch.nn.Linear(weight.shape[1], weight.shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    return FirstToken(body.to(dtype), head), config, []


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    if (folder / "model.safetensors").is_file():
        return load_file(folder / "model.safetensors")
    return torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)  # type: ignore[no-any-return]


def _body_config(folder: Path, kind: str, weights: dict[str, torch.Tensor]) -> Any:
    """Read the encoder's configuration; BERT_Cat's has no sizes, so they are read off its weights."""
    if kind != "distilbert":
        return AutoConfig.from_pretrained(folder)
    vocabulary, dim = weights["embeddings.word_embeddings.weight"].shape
    return DistilBertConfig(
        vocab_size=vocabulary,
        dim=dim,
        hidden_dim=next(value.shape[0] for key, value in weights.items() if key.endswith("ffn.lin1.weight")),
        n_layers=len({key.split(".")[2] for key in weights if key.startswith("transformer.layer.")}),
    )
