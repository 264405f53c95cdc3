"""Sequences of different lengths end to end through transformers' encoders: nothing is padded, nothing is masked.

Every layer but attention works on tokens one by one, so that it does not matter to it whose they are. Attention is
given to transformers as an implementation of its own, which keeps each sequence to itself. And since the score is read
off each sequence's first token, the last layer computes no other.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from itertools import accumulate, groupby
from typing import Any

import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

ATTENTION = "pyserini_rerank_packed"


class Packing:
    """Where sequences lie that were put end to end.

    Parameters
    ----------
    lengths : sequence of int, (n,)
        Those of the same length should stand together, as `batches.pack` puts them.
    device : torch.device

    Attributes
    ----------
    first : int64 tensor, (n,)
        Where each sequence's first token lies.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.runs = [(length, len(list(own))) for length, own in groupby(lengths)]
        self.longest = max(lengths)
        # Older devices have no FlashAttention.
        self.flash = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        self.bounds = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=device)
        self.first = self.bounds[:-1].long()

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None = None
    ) -> torch.Tensor:
        """Compute each sequence's attention to itself.

        Parameters
        ----------
        query : (tokens, heads, dimension) or (n, heads, dimension)
            Of all tokens, or of each sequence's first one.
        key, value : (tokens, heads, dimension)
        window : int, optional
            How many tokens away a token sees; by default all. Not for first tokens alone.

        Returns
        -------
        tensor, as `query`
        """
        firsts, shape = len(query) < len(key), query.shape[1:]
        if self.flash and query.dtype != torch.float32:
            queries = torch.arange(len(self.bounds), dtype=torch.int32, device=query.device) if firsts else self.bounds
            sees = -1 if window is None else window
            return varlen_attn(  # type: ignore[return-value]  # a tuple is what return_aux asks for
                query, key, value, queries, self.bounds, 1 if firsts else self.longest, self.longest,
                scale=scale, window_size=(sees, sees),
            )  # fmt: skip
        parts, asked, start = [], 0, 0
        for length, count in self.runs:
            own, stop = 1 if firsts else length, start + count * length
            queries = query[asked : (asked := asked + count * own)].view(count, own, *shape)
            keys, values = (some[start:stop].view(count, length, *shape) for some in (key, value))
            mask = None
            if window is not None and window < length - 1:  # else all see all
                at = torch.arange(length, device=query.device)
                mask = (at[:, None] - at).abs() <= window
            attended = scaled_dot_product_attention(
                queries.transpose(1, 2), keys.transpose(1, 2), values.transpose(1, 2), attn_mask=mask, scale=scale
            )
            parts.append(attended.transpose(1, 2).flatten(0, 1))
            start = stop
        return torch.cat(parts)

    def mean(self, vectors: torch.Tensor) -> torch.Tensor:
        """Average each sequence's vectors: (tokens, dimension) to (n, dimension)."""
        parts, start = [], 0
        for length, count in self.runs:
            parts.append(vectors[start : (start := start + count * length)].view(count, length, -1).mean(1))
        return torch.cat(parts)


def prepare(body: Any) -> bool:
    """Have an encoder take packed sequences: ``body(ids, position_ids=..., packing=...)``, all (1, tokens).

    It then gives vectors of shape (n, 1, dimension), one a sequence, which a classifier's head takes as it takes
    padded ones.

    Returns
    -------
    bool
        False for an architecture that is not known here; it stays as it was.
    """
    kind = body.config.model_type
    if kind in LAST:
        layers = body.transformer.layer if kind == "distilbert" else body.encoder.layer
        layers[-1] = LAST[kind](layers[-1])
    elif kind == "modernbert":
        body.register_forward_hook(_one_vector, with_kwargs=True)
    else:
        return False
    body.set_attn_implementation(ATTENTION)
    return True


class LastLayer(torch.nn.Module, ABC):
    """The last layer, for each sequence's first token: the keys and values are all that it needs of the others."""

    def __init__(self, layer: Any, attention: Any, query: Any, key: Any, value: Any) -> None:
        super().__init__()
        self.layer, self.query, self.key, self.value = layer, query, key, value
        self.heads, self.scale = (-1, attention.attention_head_size), attention.scaling

    def forward(self, hidden: torch.Tensor, *_: Any, packing: Packing, **__: Any) -> torch.Tensor:
        """Give a vector a sequence: (1, tokens, dimension) to (n, 1, dimension)."""
        first = hidden[0, packing.first]
        asked = self.query(first), self.key(hidden[0]), self.value(hidden[0])
        query, key, value = (some.view(len(some), *self.heads) for some in asked)
        context = packing.attend(query, key, value, self.scale)
        return self.after(context.flatten(1), first)[:, None]

    @abstractmethod
    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """Do what comes after attention: (n, dimension) each."""


class BertLastLayer(LastLayer):
    """Of BERT, ELECTRA and RoBERTa."""

    def __init__(self, layer: Any) -> None:
        own = layer.attention.self
        super().__init__(layer, own, own.query, own.key, own.value)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        vectors: torch.Tensor = self.layer.feed_forward_chunk(self.layer.attention.output(context, first))
        return vectors


class DistilBertLastLayer(LastLayer):
    def __init__(self, layer: Any) -> None:
        own = layer.attention
        super().__init__(layer, own, own.q_lin, own.k_lin, own.v_lin)

    def after(self, context: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        attended = self.layer.sa_layer_norm(self.layer.attention.out_lin(context) + first)
        vectors: torch.Tensor = self.layer.output_layer_norm(self.layer.ffn(attended) + attended)
        return vectors


LAST: dict[str, Callable[[Any], LastLayer]] = {
    **dict.fromkeys(("bert", "electra", "roberta", "xlm-roberta", "camembert"), BertLastLayer),
    "distilbert": DistilBertLastLayer,
}


def _one_vector(body: Any, _: Any, inputs: dict[str, Any], output: Any) -> Any:
    """Reduce ModernBERT's vectors as its head would reduce them, to one a sequence."""
    packing, [vectors] = inputs["packing"], output.last_hidden_state
    mean = body.config.classifier_pooling == "mean"
    output.last_hidden_state = (packing.mean(vectors) if mean else vectors[packing.first])[:, None]
    return output


def _attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, *,
    packing: Packing, scaling: float, sliding_window: int | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attend as transformers asks an implementation to: (1, heads, tokens, dimension) to (1, tokens, heads, …)."""
    # ModernBERT counts the token itself.
    window = None if sliding_window is None else sliding_window - 1
    query, key, value = (some[0].transpose(0, 1) for some in (query, key, value))
    return packing.attend(query, key, value, scaling, window)[None], None


AttentionInterface.register(ATTENTION, _attention)
