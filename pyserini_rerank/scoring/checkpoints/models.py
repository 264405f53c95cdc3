"""Loading a checkpoint's configuration and model, and checking that its weights are complete."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, DistilBertConfig
from transformers.utils import logging

from .checkpoint import ADAPTER, CONFIG, MERGE, Checkpoint, lacks_weights, weights_of
from .reading import reading

#: The end of the names of classifiers' classes.
CLASSIFIER = "ForSequenceClassification"
#: A key of the configurations that Lightning IR saves.
LIGHTNING = "backbone_model_type"
#: Ends of the names of counts in a configuration, and the largest count that is believed.
COUNTS, MOST = ("heads", "labels", "layers"), 1000


def architecture(checkpoint: Checkpoint) -> str:
    """Name the class that a checkpoint was saved from; empty if its configuration does not tell."""
    return str((_facts(checkpoint).get("architectures") or [""])[0])


def load_config(checkpoint: Checkpoint) -> Any:
    """Read a checkpoint's configuration.

    The catalogue tells the type of the model if the files are older than the key `model_type`, or if transformers does
    not know the type that they name.

    Raises
    ------
    ValueError
        The configuration cannot be read, or the checkpoint needs its authors' own code.
    """
    facts = _facts(checkpoint)
    if "auto_map" in facts and facts.get("model_type") not in CONFIG_MAPPING:
        raise ValueError(
            f"{checkpoint.name} needs its authors' own code (auto_map in its {CONFIG}), which is not run: use a "
            "checkpoint that transformers knows by itself."
        )
    with reading(str(checkpoint.folder / CONFIG), checkpoint.folder):
        told = checkpoint.row.type or (checkpoint.row.body or {}).get("type")
        if told and facts.get("model_type") not in CONFIG_MAPPING:
            return AutoConfig.for_model(told, **{key: value for key, value in facts.items() if key != "model_type"})
        config = AutoConfig.from_pretrained(checkpoint.folder, trust_remote_code=False)
    config.return_dict = True  # the code here reads fields of the output by name
    # Without a word on labels an encoder has one, as in sentence-transformers.
    tells_labels = checkpoint.row.head or {"num_labels", "id2label"} & facts.keys()
    if not tells_labels and not any(name.endswith(CLASSIFIER) for name in facts.get("architectures") or ()):
        config.num_labels = 1
    return config


def load_model(auto: Any, checkpoint: Checkpoint, dtype: torch.dtype, unread: str | None = None) -> Any:
    """Load a checkpoint's model with one of transformers' Auto classes.

    Parameters
    ----------
    unread : str, optional
        The start of the keys of weights that no score is computed from, and that may be missing.

    Raises
    ------
    ValueError
        A file is damaged. Or weights are missing, which transformers would fill with random numbers. Or there are
        weights of layers that the configuration does not have, which transformers would leave out.
    OSError
        A file of weights is not there.
    """
    config = load_config(checkpoint)
    _check_files(checkpoint)
    with reading(f"the weights in {checkpoint.folder}", checkpoint.folder), _quiet(), _shapes():
        model, info = auto.from_pretrained(
            checkpoint.folder,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            trust_remote_code=False,
            weights_only=True,
        )
    missing = [key for key in info["missing_keys"] if unread is None or not key.startswith(unread)]
    _check(checkpoint, missing, info["unexpected_keys"])
    return model


def load_body(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, torch.nn.Linear]:
    """Load an encoder and the Linear layer on its vectors, if transformers has no class for the two.

    The row's `body` says which keys of the weights belong to which. Raises as `load_model` does.
    """
    _check_files(checkpoint)
    facts, body_facts = _facts(checkpoint), checkpoint.row.body or {}
    if (pooling := facts.get("pooling_strategy", "first")) != "first":  # Lightning IR's
        raise ValueError(
            f"{checkpoint.name} has pooling_strategy={pooling!r} in its {CONFIG}, and 'first' alone is read here: use "
            "lightning-ir."
        )
    prefix, linear = body_facts["prefix"], body_facts["linear"]
    # BERT_Cat's configuration is of a type that transformers does not know.
    config = None if body_facts["type"] == "distilbert" else load_config(checkpoint)
    with reading(f"the weights in {checkpoint.folder}", checkpoint.folder):
        weights = read_weights(checkpoint.folder)
        of_body = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        body = AutoModel.from_config(config or _sizes(of_body))
        missing, unused = body.load_state_dict(of_body, strict=False)
    of_linear = {
        key.removeprefix(f"{linear}."): value for key, value in weights.items() if key.startswith(f"{linear}.")
    }
    # ColBERT's has no bias, and Lightning IR's may have one, of which its configuration knows.
    may_lack = checkpoint.row.family == "late" or (LIGHTNING in facts and not facts.get("linear_bias"))
    needed = ["weight"] if may_lack else ["weight", "bias"]
    missing = [*(prefix + key for key in missing), *(f"{linear}.{key}" for key in needed if key not in of_linear)]
    _check(checkpoint, missing, unused)
    return body.to(dtype), linear_of(of_linear["weight"], of_linear.get("bias"))


def linear_of(weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.nn.Linear:
    """Make a Linear layer of its weights; it computes in float32, whatever the dtype of its input."""
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.load_state_dict({"weight": weight} | ({} if bias is None else {"bias": bias}))
    in_float32(layer)
    return layer


def in_float32(module: torch.nn.Module) -> None:
    """Make a module compute in float32, whatever the dtype of its input."""
    module.float().register_forward_pre_hook(lambda _, inputs: tuple(value.float() for value in inputs))


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    """Read the keys of a checkpoint's configuration."""
    path = checkpoint.folder / CONFIG
    with reading(str(path), path):
        facts: dict[str, Any] = json.loads(path.read_bytes())
        for name, value in facts.items():
            # A larger number is damage, and to make a model with it would take for ever.
            if name.endswith(COUNTS) and isinstance(value, int) and not 0 <= value <= MOST:
                raise ValueError(f"{name} is {value}")
    return facts


@contextmanager
def _shapes() -> Iterator[None]:
    """Name mismatched shapes in the error, which transformers only logs.

    The option that it suggests, `ignore_mismatched_sizes`, is no remedy: a damaged size could take any memory.
    """
    try:
        yield
    except RuntimeError as error:
        if "ignore_mismatched_sizes" in str(error):
            raise ValueError("their shapes are not those of config.json") from None
        raise


def _check_files(checkpoint: Checkpoint) -> None:
    """Check that the weights are complete, and need neither an adapter nor another precision."""
    name, folder = checkpoint.name, checkpoint.folder
    if (folder / ADAPTER).is_file():
        raise ValueError(
            f"{name} has an adapter ({ADAPTER}) beside its weights, which this backend does not read: {MERGE}; or use "
            "backend='sentence-transformers', which needs peft."
        )
    if _facts(checkpoint).get("quantization_config"):
        raise ValueError(
            f"{name} has quantized weights (quantization_config in its {CONFIG}), which are not read: name the "
            "checkpoint that it was made from."
        )
    if lacking := lacks_weights(folder):
        graph = next(folder.rglob("*.onnx"), None)
        instead = f", or name its graph for backend='onnx' or 'openvino': {graph}" if graph else ""
        raise FileNotFoundError(f"{name} has no {lacking}: copy the file of weights into {folder}{instead}.")


def _check(checkpoint: Checkpoint, missing: Iterable[str], unused: Iterable[str]) -> None:
    """Check that the weights belong to the configuration."""
    if missing := sorted(missing):
        raise ValueError(
            f"{checkpoint.name} has no weights for {', '.join(missing[:3])}: it is no cross-encoder, "
            "or is damaged, or is one that needs known_as=."
        )
    # Unused weights that belong to no layer are common and harmless.
    if foreign := sorted(key for key in unused if ".layer." in key or ".layers." in key):
        raise ValueError(
            f"{checkpoint.name} has weights that its {CONFIG} has no place for, such as {foreign[0]}: one of the two "
            "is damaged, or another checkpoint's."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing a progress bar, and from reporting on keys, which `_check` does."""
    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a folder, which may be in several files."""
    weights: dict[str, torch.Tensor] = {}
    for file in weights_of(folder):
        safe = file.suffix == ".safetensors"
        weights |= load_file(file) if safe else torch.load(file, map_location="cpu", weights_only=True)
    return weights


def _sizes(weights: dict[str, torch.Tensor]) -> Any:
    """Make a DistilBERT's configuration from the sizes of its weights; BERT_Cat's own configuration has no sizes."""
    vocabulary, dim = weights["embeddings.word_embeddings.weight"].shape
    return DistilBertConfig(
        vocab_size=vocabulary,
        dim=dim,
        hidden_dim=next(value.shape[0] for key, value in weights.items() if key.endswith("ffn.lin1.weight")),
        n_layers=len({key.split(".")[2] for key in weights if key.startswith("transformer.layer.")}),
    )
