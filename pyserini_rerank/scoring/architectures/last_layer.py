"""The last layer of an encoder, computed for each sequence's first token only: a classifier's head reads no other."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.modernbert.modeling_modernbert import apply_rotary_pos_emb


def shorten(body: Any) -> bool:
    """Make an encoder compute vectors of shape (n, 1, dimension): of each sequence's first token.

    Returns
    -------
    bool
        False if the architecture is not known here. The encoder then stays as it was.
    """
    if not can_shorten(body.config):
        return False
    kind = body.config.model_type
    holder = {"distilbert": "transformer.layer", "modernbert": "layers"}.get(kind, "encoder.layer")
    layers = body.get_submodule(holder)
    layers[-1] = LAST[kind](layers[-1])
    return True


def can_shorten(config: Any) -> bool:
    """Tell whether the last layer of a configuration's encoder is known here: one whose tokens see all others."""
    is_known: bool = config.model_type in LAST
    return is_known and getattr(config, "layer_types", ["full_attention"])[-1] == "full_attention"


class LastLayer(torch.nn.Module, ABC):
    """The last layer for each sequence's first token. Of the other tokens it computes keys and values only."""

    def __init__(self, layer: Any, head_size: int, query: Any, key: Any, value: Any) -> None:
        super().__init__()
        self.layer, self.query, self.key, self.value = layer, query, key, value
        self.heads, self.scale = (-1, head_size), head_size**-0.5

    def forward(self, hidden: torch.Tensor, mask: Any = None, *_: Any, packing: Any = None, **__: Any) -> torch.Tensor:
        """Compute a vector for each sequence: (n, 1, dimension).

        Parameters
        ----------
        hidden : (n, length, dimension), or (1, tokens, dimension) with a `packing`
        mask : (n, 1, length, length)
            It is added to the products of queries and keys; for padded sequences.
        packing : pyserini_rerank.scoring.architectures.varlen.PackedSequences, optional
            The places of the sequences, if they lie end to end.
        """
        first = firsts(hidden, packing)
        return self.after(self.context(*self.parts(first, hidden), mask, packing), first)[:, None]

    def parts(self, first: torch.Tensor, hidden: torch.Tensor) -> tuple[Any, Any, Any]:
        """Compute the queries of first tokens, and the keys and values of all: (n or tokens, ..., heads, dimension)."""
        query, key, value = self.query(first), self.key(hidden), self.value(hidden)
        return tuple(part.unflatten(-1, self.heads) for part in (query, key, value))

    def context(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, packing: Any
    ) -> torch.Tensor:
        """Compute attention for the first tokens, of `parts`: (n, dimension)."""
        if packing is not None:
            attended: torch.Tensor = packing.attend(query, key[0], value[0], self.scale)
        else:
            attended = scaled_dot_product_attention(
                query[:, :, None], key.transpose(1, 2), value.transpose(1, 2), mask[:, :, :1], scale=self.scale
            )
        return attended.flatten(1)

    @abstractmethod
    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Compute the rest of the layer after attention, of arrays (n, dimension)."""


class BertLastLayer(LastLayer):
    """The last layer of BERT, ELECTRA and RoBERTa."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention.self
        super().__init__(layer, attention.attention_head_size, attention.query, attention.key, attention.value)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.layer.feed_forward_chunk(self.layer.attention.output(context, first))
        return vectors


class DistilBertLastLayer(LastLayer):
    """The last layer of DistilBERT."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention
        super().__init__(layer, attention.attention_head_size, attention.q_lin, attention.k_lin, attention.v_lin)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        attended = self.layer.sa_layer_norm(self.layer.attention.out_lin(context) + first)
        vectors: torch.Tensor = self.layer.output_layer_norm(self.layer.ffn.ff_chunk(attended) + attended)
        return vectors


class ModernBertLastLayer(LastLayer):
    """The last layer of ModernBERT."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attn
        super().__init__(layer, attention.head_dim, *_thirds(attention.Wqkv))
        del attention.Wqkv
        self.attention_type = layer.attention_type

    def forward(  # type: ignore[override]  # as transformers calls it
        self, hidden: torch.Tensor, attention_mask: Any, position_embeddings: Any, packing: Any = None, **_: Any
    ) -> torch.Tensor:
        """As `LastLayer.forward`; the cosines and the sines of the positions turn keys."""
        normed = self.layer.attn_norm(hidden)
        query, key, value = self.parts(firsts(normed, packing), normed)
        # The queries are at position 0, which turns nothing.
        _, key = apply_rotary_pos_emb(key, key, *position_embeddings, unsqueeze_dim=2)
        context = self.context(query, key, value, attention_mask, packing)
        return self.after(context, firsts(hidden, packing))[:, None]

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        attended = first + self.layer.attn.Wo(context)
        vectors: torch.Tensor = attended + self.layer.mlp(self.layer.mlp_norm(attended))
        return vectors


def firsts(vectors: torch.Tensor, packing: Any) -> torch.Tensor:
    """Give each sequence's first vector: (n, dimension)."""
    first: torch.Tensor = vectors[:, 0] if packing is None else vectors[0, packing.first]
    return first


def _thirds(linear: torch.nn.Linear) -> list[torch.nn.Linear]:
    """Split a Linear layer into three that compute a third of its output each."""
    layers = [torch.nn.Linear(1, 1, bias=linear.bias is not None) for _ in range(3)]
    for name, parameter in linear.named_parameters():
        for layer, third in zip(layers, parameter.detach().chunk(3), strict=True):
            setattr(layer, name, torch.nn.Parameter(third))
    return layers


LAST: dict[str, Callable[[Any], LastLayer]] = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta", "camembert"), BertLastLayer),
    "distilbert": DistilBertLastLayer,
    "modernbert": ModernBertLastLayer,
}
