"""The last layer of an encoder, computed for each sequence's first token only: a classifier's head reads no other."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention


def shorten(body: Any) -> bool:
    """Make an encoder compute vectors of shape (n, 1, dimension): of each sequence's first token.

    Returns
    -------
    bool
        False if the architecture is not known here. The encoder then stays as it was.
    """
    kind = body.config.model_type
    if kind in LAST:
        layers = body.transformer.layer if kind == "distilbert" else body.encoder.layer
        layers[-1] = LAST[kind](layers[-1])
    return kind in LAST


class LastLayer(torch.nn.Module, ABC):
    """The last layer for each sequence's first token. Of the other tokens it computes keys and values only."""

    def __init__(self, layer: Any, attention: Any, query: Any, key: Any, value: Any) -> None:
        super().__init__()
        self.layer, self.query, self.key, self.value = layer, query, key, value
        self.heads, self.scale = (-1, attention.attention_head_size), attention.scaling

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
        first = hidden[:, 0] if packing is None else hidden[0, packing.first]
        query, key, value = (
            part.unflatten(-1, self.heads) for part in (self.query(first), self.key(hidden), self.value(hidden))
        )
        if packing is None:
            context = scaled_dot_product_attention(
                query[:, :, None], key.transpose(1, 2), value.transpose(1, 2), mask[:, :, :1], scale=self.scale
            )
        else:
            context = packing.attend(query, key[0], value[0], self.scale)
        return self.after(context.flatten(1), first)[:, None]

    @abstractmethod
    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Compute the rest of the layer after attention, of arrays (n, dimension)."""


class BertLastLayer(LastLayer):
    """The last layer of BERT, ELECTRA and RoBERTa."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention.self
        super().__init__(layer, attention, attention.query, attention.key, attention.value)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.layer.feed_forward_chunk(self.layer.attention.output(context, first))
        return vectors


class DistilBertLastLayer(LastLayer):
    """The last layer of DistilBERT."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention
        super().__init__(layer, attention, attention.q_lin, attention.k_lin, attention.v_lin)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        attended = self.layer.sa_layer_norm(self.layer.attention.out_lin(context) + first)
        vectors: torch.Tensor = self.layer.output_layer_norm(self.layer.ffn.ff_chunk(attended) + attended)
        return vectors


LAST: dict[str, Callable[[Any], LastLayer]] = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta", "camembert"), BertLastLayer),
    "distilbert": DistilBertLastLayer,
}
