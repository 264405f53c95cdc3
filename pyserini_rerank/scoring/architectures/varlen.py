"""Packed sequences: sequences of different lengths go end to end through transformers' encoders, without padding.

Every layer but attention computes each token by itself, no matter which sequence the token belongs to. Attention is
registered with transformers as a further implementation, in which a token sees the tokens of its own sequence only.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ..device import to_device
from .last_layer import LAST, shorten

ATTENTION = "pyserini_rerank_packed"

#: How many tokens look through a window at a time: more compute more that is masked, fewer need more calls.
BLOCK = 128


class PackedSequences:
    """The places of sequences that lie end to end.

    Parameters
    ----------
    lengths : int64 (n,)
        Equal lengths should be neighbours, as `batches.batch_by_length` orders them, since they are computed together.
    device : torch.device

    Attributes
    ----------
    first : int64 tensor, (n,)
        The position of each sequence's first token.
    """

    def __init__(self, lengths: NDArray[np.int64], device: torch.device) -> None:
        #: Neighbours of equal length: the length, and how many there are.
        bounds = np.flatnonzero(np.diff(lengths, prepend=-1, append=-1))
        self.runs = list(zip(lengths[bounds[:-1]].tolist(), np.diff(bounds).tolist(), strict=True))
        self.longest = int(lengths.max())
        # Older devices have no FlashAttention.
        self.flash = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
        self.bounds = to_device(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32), device)
        self.first = self.bounds[:-1].long()

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, window: int | None = None
    ) -> torch.Tensor:
        """Compute each sequence's attention to itself.

        Parameters
        ----------
        query : (tokens, heads, dimension) or (n, heads, dimension)
            The queries of all tokens, or only of each sequence's first token.
        key, value : (tokens, heads, dimension)
        window : int, optional
            How many tokens to either side a token sees; by default all. Not supported for first tokens alone.

        Returns
        -------
        tensor, as `query`
        """
        firsts, shape = len(query) < len(key), query.shape[1:]
        if self.flash and query.dtype != torch.float32:
            queries = torch.arange(len(self.bounds), dtype=torch.int32, device=query.device) if firsts else self.bounds
            sees = -1 if window is None else window
            return varlen_attn(  # type: ignore[return-value]  # it is a tuple only with return_aux
                query, key, value, queries, self.bounds, 1 if firsts else self.longest, self.longest,
                scale=scale, window_size=(sees, sees),
            )  # fmt: skip
        parts, query_start, start = [], 0, 0
        for length, count in self.runs:
            per_sequence, stop = 1 if firsts else length, start + count * length
            query_stop = query_start + count * per_sequence
            queries = query[query_start:query_stop].view(count, per_sequence, *shape)
            keys, values = (part[start:stop].view(count, length, *shape) for part in (key, value))
            queries, keys, values = (part.transpose(1, 2) for part in (queries, keys, values))
            attended = [
                scaled_dot_product_attention(
                    queries[:, :, own], keys[:, :, seen], values[:, :, seen], attn_mask=mask, scale=scale
                ).transpose(1, 2)
                for own, seen, mask in _blocks(length, window, query.device)
            ]
            parts.append(torch.cat(attended, 1).flatten(0, 1))
            query_start, start = query_stop, stop
        return torch.cat(parts)

    def pool(self, vectors: torch.Tensor, pooling: str) -> torch.Tensor:
        """Reduce each sequence's vectors to one: (tokens, dimension) to (n, dimension).

        Parameters
        ----------
        pooling : str
            ``"cls"`` (the first token's vector), ``"lasttoken"``, ``"mean"`` or ``"max"``.
        """
        if pooling in ("cls", "lasttoken"):
            return vectors[self.first if pooling == "cls" else self.bounds[1:].long() - 1]
        parts, start = [], 0
        for length, count in self.runs:
            alike = vectors[start : (start := start + count * length)].view(count, length, -1)
            parts.append(alike.mean(1) if pooling == "mean" else alike.amax(1))
        return torch.cat(parts)


def _blocks(length: int, window: int | None, device: torch.device) -> Iterator[tuple[slice, slice, Any]]:
    """Divide a sequence into blocks whose tokens see not much more than the block: its tokens, what they see, a mask.

    All tokens are one block if each sees all.
    """
    if window is None or window >= length - 1:
        yield slice(None), slice(None), None
        return
    positions = torch.arange(length, device=device)
    for start in range(0, length, BLOCK):
        own, seen = slice(start, start + BLOCK), slice(max(0, start - window), start + BLOCK + window)
        yield own, seen, (positions[own, None] - positions[seen]).abs() <= window


def own_pooling(body: Any) -> str:
    """Tell how the head that transformers has for an encoder pools its vectors, if the encoder is one that packs."""
    return str(body.config.classifier_pooling) if body.config.model_type == "modernbert" else "cls"


def prepare(body: Any, pooling: str) -> bool:
    """Make an encoder take packed sequences: ``body(ids, position_ids=..., packing=...)``, all (1, tokens).

    Its vectors then have the shape (n, 1, dimension), one for each sequence. A classifier's head reads them as it reads
    those of padded sequences.

    Parameters
    ----------
    pooling : str
        What the head reads: see `PackedSequences.pool`.

    Returns
    -------
    bool
        False if the architecture is not known here, or if transformers takes no further implementation of attention.
        The encoder then stays as it was.
    """
    kind = body.config.model_type
    if kind not in LAST or getattr(
        body.config, "is_decoder", False
    ):  # a decoder's token does not see the ones after it
        return False
    body.set_attn_implementation(ATTENTION)
    # If transformers cannot read its own source, it only logs that it keeps its attention, which would take all
    # sequences for one.
    if body.config._attn_implementation != ATTENTION:
        return False
    if not (pooling == "cls" and shorten(body)):
        body.register_forward_hook(partial(_one_vector, pooling), with_kwargs=True)
    return True


def _one_vector(pooling: str, _: Any, __: Any, inputs: dict[str, Any], output: Any) -> Any:
    """Reduce an encoder's vectors to one for each sequence, as the head would."""
    [vectors] = output.last_hidden_state
    output.last_hidden_state = inputs["packing"].pool(vectors, pooling)[:, None]
    return output


def _attention(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: None, *,
    packing: PackedSequences, scaling: float, sliding_window: int | None = None, **_: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Compute attention behind transformers' interface: (1, heads, tokens, dimension) to (1, tokens, heads, …)."""
    # ModernBERT's window counts the token itself.
    window = None if sliding_window is None else sliding_window - 1
    query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
    return packing.attend(query, key, value, scaling, window)[None], None


AttentionInterface.register(ATTENTION, _attention)
