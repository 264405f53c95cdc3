"""Sequences of different lengths end to end through transformers' encoders: nothing is padded, nothing is masked.

Every layer but attention works on tokens one by one, so that it does not matter to it whose they are. Attention is
given to transformers as an implementation of its own, which keeps each sequence to itself.
"""

from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ..device import to_device
from .last_layer import LAST, shorten

ATTENTION = "pyserini_rerank_packed"


class PackedSequences:
    """Where sequences lie that were put end to end.

    Parameters
    ----------
    lengths : sequence of int, (n,)
        Those of the same length should stand together, as `batches.batch_by_length` puts them.
    device : torch.device

    Attributes
    ----------
    first : int64 tensor, (n,)
        Where each sequence's first token lies.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.runs = [(length, len(list(of_length))) for length, of_length in groupby(lengths)]
        self.longest = max(lengths)
        # Older devices have no FlashAttention.
        self.flash = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        self.bounds = to_device(np.array([0, *accumulate(lengths)], dtype=np.int32), device)
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
            asking, stop = 1 if firsts else length, start + count * length
            queries = query[asked : (asked := asked + count * asking)].view(count, asking, *shape)
            keys, values = (part[start:stop].view(count, length, *shape) for part in (key, value))
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
        False for an architecture that is not known here, or where transformers takes no implementation of attention
        but its own; it stays as it was.
    """
    kind = body.config.model_type
    if kind not in ("modernbert", *LAST) or getattr(body.config, "is_decoder", False):  # no token sees those after it
        return False
    body.set_attn_implementation(ATTENTION)
    # Where transformers cannot read its own source, it logs that it leaves attention as it is, which would take all
    # sequences for one.
    if body.config._attn_implementation != ATTENTION:
        return False
    if kind == "modernbert":
        body.register_forward_hook(_one_vector, with_kwargs=True)
    else:
        shorten(body)
    return True


def _one_vector(body: Any, _: Any, inputs: dict[str, Any], output: Any) -> Any:
    """Reduce ModernBERT's vectors as its head would reduce them, to one a sequence."""
    packing, [vectors] = inputs["packing"], output.last_hidden_state
    mean = body.config.classifier_pooling == "mean"
    output.last_hidden_state = (packing.mean(vectors) if mean else vectors[packing.first])[:, None]
    return output


def _attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, *,
    packing: PackedSequences, scaling: float, sliding_window: int | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Attend as transformers asks an implementation to: (1, heads, tokens, dimension) to (1, tokens, heads, …)."""
    # ModernBERT counts the token itself.
    window = None if sliding_window is None else sliding_window - 1
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    return packing.attend(query, key, value, scaling, window)[None], None


AttentionInterface.register(ATTENTION, _attention)
