"""Encoders with a head of their own: one vector for each pair, and Linear layers on it.

transformers has no class for such a head. Either the catalogue says where its one layer is, or the head is made of the
modules that sentence-transformers has saved beside the encoder: a Pooling, then Dense and LayerNorm modules in any
order.
"""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from transformers import AutoModel

from ..checkpoints import models
from ..checkpoints.checkpoint import CONFIG, Checkpoint, lacks_weights
from ..checkpoints.modules import DENSE, LAYER_NORM, POOLING, Module
from ..checkpoints.reading import not_read, read_json, reading

#: The poolings of a sequence's vectors to one: the first token's, their mean, their maxima, and the last token's.
POOLINGS = ("cls", "mean", "max", "lasttoken")
#: The key of a Pooling's configuration in files of older versions, which have one key for each pooling.
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}
#: The activations that a Dense may name, each a class of `torch.nn` without weights.
ACTIVATIONS = (
    "Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ReLU6", "ELU", "SELU", "Mish", "Softplus",
    "Hardswish", "Hardtanh",
)  # fmt: skip
#: The names under which modules hand on a pair's vector, and its logits.
VECTOR, LOGITS = "sentence_embedding", "scores"


class Pooled(torch.nn.Module):
    """An encoder with a head on one vector for each pair.

    Parameters
    ----------
    body : transformers.PreTrainedModel
        If it takes packed sequences, its vectors are pooled already: see `varlen.prepare`.
    head : torch.nn.Module
        It turns vectors (n, dimension) into logits (n, labels), in float32.
    labels : int
    pooling : str
        One of `POOLINGS`.
    """

    def __init__(self, body: Any, head: torch.nn.Module, labels: int, pooling: str = "cls") -> None:
        super().__init__()
        self.body, self.head, self.labels, self.pooling = body, head, labels, pooling

    def forward(self, **inputs: Any) -> SimpleNamespace:
        vectors = self.body(**inputs).last_hidden_state
        if self.pooling == "cls" or "packing" in inputs:
            return SimpleNamespace(logits=self.head(vectors[:, 0]))
        # A model that takes no mask is given sequences of one length.
        mask = inputs["attention_mask"] if "attention_mask" in inputs else torch.ones_like(inputs["input_ids"])
        return SimpleNamespace(logits=self.head(pool(vectors, mask, self.pooling)))


def pool(vectors: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Reduce the vectors of padded sequences to one for each: (n, length, dimension) to (n, dimension).

    Parameters
    ----------
    mask : int64 (n, length)
        1 for a sequence's tokens, and 0 for the padding after them.
    pooling : str
        ``"mean"``, ``"max"`` or ``"lasttoken"``.
    """
    seen = mask[:, :, None]
    if pooling == "max":
        return vectors.masked_fill(seen == 0, torch.finfo(vectors.dtype).min).amax(1)
    if pooling == "lasttoken":
        last = (seen.sum(1, keepdim=True) - 1).expand(-1, 1, vectors.shape[-1])
        return vectors.gather(1, last)[:, 0]
    return (vectors * seen).sum(1, dtype=torch.float32) / seen.sum(1)


def load(checkpoint: Checkpoint, dtype: torch.dtype) -> Pooled:
    """Load a checkpoint whose head is made of modules.

    Raises
    ------
    ValueError
        A module, a pooling or an activation is not known here; the modules do not fit together; a file is damaged.
    OSError
        A file is not there.
    """
    first, *others = (checkpoint.modules or [])[1:]
    if first.kind != POOLING:
        raise _not_known(checkpoint, first)
    pooling = _pooling(checkpoint, first)
    head, size, labels = _head(checkpoint, others)
    body = models.load_model(AutoModel, checkpoint, dtype, unread="pooler.")
    if hasattr(body, "pooler"):
        body.pooler = None
    if size != body.config.hidden_size:
        raise ValueError(
            f"the head of {checkpoint.name} reads vectors of {size} numbers, and its transformer gives "
            f"{body.config.hidden_size}: one of the two is another checkpoint's."
        )
    return Pooled(body, head, labels, pooling)


def _not_known(checkpoint: Checkpoint, module: Module) -> ValueError:
    return not_read(checkpoint.name, f"the module {module.type} in {module.path or 'its own folder'} (modules.json)")


def _pooling(checkpoint: Checkpoint, module: Module) -> str:
    """Read which pooling a checkpoint's Pooling does."""
    file = checkpoint.folder / module.path / CONFIG
    facts = read_json(file, dict)
    old = [pooling for key, pooling in OLD_POOLINGS.items() if facts.get(key)]
    named = facts.get("pooling_mode", old or "mean")
    poolings = named if isinstance(named, list) else [named]
    if len(poolings) != 1 or poolings[0] not in POOLINGS:
        raise not_read(checkpoint.name, f"the pooling {named!r} in {file}")
    if facts.get("include_prompt") is False:
        raise not_read(checkpoint.name, f"include_prompt=false in {file}")
    return str(poolings[0])


def _head(checkpoint: Checkpoint, modules: list[Module]) -> tuple[torch.nn.Sequential, int, int]:
    """Make the layers of a head, in float32; give them, the size of the vectors that they read, and their labels."""
    layers: list[torch.nn.Module] = []
    sizes: list[int] = []
    written = VECTOR
    for module in modules:
        folder = checkpoint.folder / module.path
        facts = read_json(folder / CONFIG, dict)
        if module.kind not in (DENSE, LAYER_NORM):
            raise _not_known(checkpoint, module)
        if (read := facts.get("module_input_name", VECTOR)) != written:
            raise not_read(checkpoint.name, f"module_input_name={read!r} in {folder / CONFIG}")
        written = facts.get("module_output_name") or written
        into, out, made = _dense(checkpoint, folder, facts) if module.kind == DENSE else _norm(folder, facts)
        if sizes[-1:] not in ([], [into]):
            gives = f"the module before it gives {sizes[-1]}"
            raise ValueError(f"{folder / CONFIG} reads vectors of {into} numbers, and {gives}: one is damaged.")
        sizes += [out] if sizes else [into, out]
        layers += made
    if written != LOGITS:
        raise not_read(checkpoint.name, f"no module that writes {LOGITS!r} at the end of its modules.json")
    head = torch.nn.Sequential(*layers)
    models.in_float32(head)
    return head, sizes[0], sizes[-1]


def _dense(checkpoint: Checkpoint, folder: Path, facts: Mapping[str, Any]) -> tuple[int, int, list[torch.nn.Module]]:
    """Make the Linear layer of a Dense, and its activation; give the sizes of the vectors that they read and write."""
    file = folder / CONFIG
    if facts.get("use_residual"):
        raise not_read(checkpoint.name, f"use_residual in {file}")
    name = facts.get("activation_function", "torch.nn.modules.activation.Tanh")
    package, _, activation = str(name).rpartition(".")
    if package.partition(".")[0] != "torch" or activation not in ACTIVATIONS:
        raise not_read(checkpoint.name, f"the activation {name!r} in {file}")
    with reading(str(file), file):
        into, out, bias = int(facts["in_features"]), int(facts["out_features"]), facts.get("bias", True)
    weights = _weights(folder, {"linear.weight": (out, into)} | ({"linear.bias": (out,)} if bias else {}))
    linear = models.linear_of(weights["linear.weight"], weights.get("linear.bias"))
    return into, out, [linear, getattr(torch.nn, activation)()]


def _norm(folder: Path, facts: Mapping[str, Any]) -> tuple[int, int, list[torch.nn.Module]]:
    """Make the layer of a LayerNorm; give the sizes of the vectors that it reads and writes."""
    with reading(str(folder / CONFIG), folder):
        size = int(facts["dimension"])
    weights = _weights(folder, {"norm.weight": (size,), "norm.bias": (size,)})
    norm = torch.nn.LayerNorm(size)
    norm.load_state_dict({key.removeprefix("norm."): value for key, value in weights.items()})
    return size, size, [norm]


def _weights(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Read a module's weights, and check that they have the names and the shapes that its configuration says."""
    if lacking := lacks_weights(folder):
        raise FileNotFoundError(f"{folder} has no {lacking}: copy the file of weights into it.")
    with reading(f"the weights in {folder}", folder):
        weights = models.read_weights(folder)
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if found != shapes:
        raise ValueError(f"the weights in {folder} are {found}, and its {CONFIG} says {dict(shapes)}: one is damaged.")
    return weights
