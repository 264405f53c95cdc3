"""The arithmetic of a pair, and what a device can do: the product of two matrices."""

import time
from typing import Any

import torch

from ..scoring.architectures.last_layer import LAST

#: The side of the matrices whose product shows what a device can reach.
MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}
#: That of a product which shows whether the others are to be had in so many seconds.
SMALL, PATIENCE = 256, 10


def operations(config: Any, length: int) -> int | None:
    """Count the floating-point operations of one pair of `length` tokens: two a multiplication.

    They are those that the torch backend needs, whichever backend computes: every Linear layer on every token, and in
    each layer the two products of attention over the tokens that see one another. What is done for one token only is
    left out: the pooler, the head, and the last layer of BERT's kind but for its keys and values.

    Parameters
    ----------
    config
        A classifier's configuration, as transformers has it.

    Returns
    -------
    int or None
        None for an architecture that is not known here.
    """
    kind: str = config.model_type
    hidden: int = config.hidden_size
    layers: int = config.num_hidden_layers
    if kind == "modernbert":
        # Its feed-forward network has a gate, so three matrices, and in most layers a token sees its neighbours only.
        tokens: int = layers * (4 * hidden**2 + 3 * hidden * config.intermediate_size)
        windows = [
            config.sliding_window if attention == "sliding_attention" else length for attention in config.layer_types
        ]
        seen = sum(_seen(length, window) for window in windows)
    elif kind in LAST:
        inner: int = config.hidden_dim if kind == "distilbert" else config.intermediate_size
        embedding: int = getattr(config, "embedding_size", hidden)
        tokens = (layers - 1) * (4 * hidden**2 + 2 * hidden * inner) + 2 * hidden**2
        tokens += embedding * hidden if embedding != hidden else 0  # a Linear layer of ELECTRA's between the two
        seen = (layers - 1) * length**2
    else:
        return None
    return 2 * (tokens * length + 2 * hidden * seen)


def _seen(length: int, window: int) -> int:
    """Count the pairs of tokens that are no more than `window` apart, each with itself as well."""
    reach = min(window, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure what a product of square matrices reaches: operations a second, the best of eight.

    A product that is slow for want of the processor's instructions for it is of smaller matrices, and fewer times.
    """
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    best, began = 0.0, time.perf_counter()
    for side, times in ((SMALL, 3), (MATRIX[device.type], 8)):
        matrix = torch.randn(side, side, device=device).to(dtype)
        for _ in range(times):
            start = time.perf_counter()
            if best and start - began + 2 * side**3 / best > PATIENCE:
                return best
            product = multiply(matrix, matrix)
            float(product[0, 0])  # waits for the device
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
