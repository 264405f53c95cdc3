"""A checkpoint's files to a model and a tokenizer."""

import json
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertTokenizer, DistilBertConfig
from transformers.utils import logging

from .checkpoints import Checkpoint, fetch

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")


def architecture(checkpoint: Checkpoint) -> str:
    """Give the class that a checkpoint was saved from; empty where its configuration does not say."""
    return str((_facts(checkpoint).get("architectures") or [""])[0])


def load_config(checkpoint: Checkpoint) -> Any:
    """Read a checkpoint's configuration; files older than `model_type` need the catalogue to say what they are.

    Raises
    ------
    ValueError
        It cannot be read.
    """
    facts = _facts(checkpoint)
    try:
        if checkpoint.row.type and "model_type" not in facts:
            return AutoConfig.for_model(checkpoint.row.type, **facts)
        return AutoConfig.from_pretrained(checkpoint.folder)
    except (OSError, TypeError, ValueError) as error:
        raise _unreadable(checkpoint, error) from None


def load_model(auto: Any, checkpoint: Checkpoint, dtype: torch.dtype) -> Any:
    """Load a checkpoint's model with one of transformers' Auto classes.

    Raises
    ------
    ValueError
        Weights are missing, which transformers would fill with random numbers, or are damaged.
    OSError
        There is no file of weights.
    """
    with _readable(checkpoint), _quiet():
        model, info = auto.from_pretrained(
            checkpoint.folder,
            config=load_config(checkpoint),
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            weights_only=True,
        )
    _check_none_missing(checkpoint, info["missing_keys"])
    return model


def load_body(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, torch.nn.Linear]:
    """Load an encoder and the Linear layer on its vectors, where transformers has no class for the two.

    The row's `body` says which keys are whose. Raises as `load_model` does.
    """
    body_facts = checkpoint.row.body or {}
    prefix, linear = body_facts["prefix"], body_facts["linear"]
    with _readable(checkpoint):
        weights = _read_weights(checkpoint.folder)
        own = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        body = AutoModel.from_config(_body_config(checkpoint.folder, body_facts["type"], own))  # type: ignore[no-untyped-call]
        missing = [prefix + key for key in body.load_state_dict(own, strict=False).missing_keys]
    keys = [f"{linear}.weight"]
    if checkpoint.row.family != "late":  # ColBERT's has no bias
        keys.append(f"{linear}.bias")
    _check_none_missing(checkpoint, [*missing, *(key for key in keys if key not in weights)])
    return body.to(dtype), linear_of(*(weights[key] for key in keys))


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.nn.Linear:
    """Make a Linear layer of its weights, in float32 whatever comes in."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    in_float32(layer)
    return layer


def in_float32(module: torch.nn.Module) -> None:
    """Have a module compute in float32 whatever comes in."""
    module.float().register_forward_pre_hook(lambda _, inputs: tuple(value.float() for value in inputs))


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


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    path = checkpoint.folder / "config.json"
    try:
        facts: dict[str, Any] = json.loads(path.read_text())
        return facts
    except (OSError, ValueError) as error:
        raise _unreadable(checkpoint, error) from None


def _unreadable(checkpoint: Checkpoint, error: Exception) -> ValueError:
    return ValueError(f"{checkpoint.folder / 'config.json'} cannot be read: {str(error).splitlines()[0]}")


@contextmanager
def _readable(checkpoint: Checkpoint) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"the weights in {checkpoint.folder} cannot be read: {reason}") from None


def _check_none_missing(checkpoint: Checkpoint, missing: Iterable[str]) -> None:
    if missing := sorted(missing):
        raise ValueError(
            f"{checkpoint.name} has no weights for {', '.join(missing[:3])}: it is no cross-encoder, "
            "or is damaged, or is one that needs known_as=."
        )


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
