"""The number of operations that a pair needs, and the peak of a device, measured by products of matrices."""

import time
from typing import Any

import torch

from ..scoring.architectures.last_layer import LAST, can_shorten

#: The side of the square matrices whose product shows the peak of a device.
MATRIX = {"cpu": 2048, "mps": 4096, "cuda": 8192}
#: The side of a small product, whose time shows whether the large ones would take more than the given seconds.
SMALL_MATRIX, TIME_LIMIT = 256, 2


def operations(config: Any, length: int) -> int | None:
    """Count the floating-point operations of one pair of `length` tokens: two for each multiplication.

    The count is that of the torch backend, whichever backend computes: every Linear layer on every token, and in each
    layer the two products of attention over the tokens that see one another. Work on a single token is left out: the
    pooler, the head, and the last layer except for its keys and values, if the head reads the first token alone.

    Parameters
    ----------
    config
        A classifier's configuration in transformers.

    Returns
    -------
    int or None
        None for an architecture that is not known here.
    """
    kind: str = config.model_type
    hidden: int = config.hidden_size
    layers: int = config.num_hidden_layers
    if kind == "modernbert":
        # The feed-forward network has a gate, and so three matrices. In most layers a token sees only its neighbours.
        if config.classifier_pooling == "cls" and can_shorten(config):
            layers -= 1
        tokens: int = layers * (4 * hidden**2 + 3 * hidden * config.intermediate_size)
        tokens += 2 * hidden**2 * (config.num_hidden_layers - layers)
        windows = [
            config.sliding_window if attention == "sliding_attention" else length
            for attention in config.layer_types[:layers]
        ]
        seen = sum(_seen(length, window) for window in windows)
    elif kind in LAST:
        inner: int = config.hidden_dim if kind == "distilbert" else config.intermediate_size
        embedding: int = getattr(config, "embedding_size", hidden)
        tokens = (layers - 1) * (4 * hidden**2 + 2 * hidden * inner) + 2 * hidden**2
        tokens += embedding * hidden if embedding != hidden else 0  # ELECTRA has a Linear layer between the two
        seen = (layers - 1) * length**2
    else:
        return None
    return 2 * (tokens * length + 2 * hidden * seen)


def _seen(length: int, window: int) -> int:
    """Count the pairs of tokens that are at most `window` apart, including each token with itself."""
    reach = min(window, length - 1)
    return length * (2 * reach + 1) - reach * (reach + 1)


def peak(device: torch.device, dtype: torch.dtype) -> float:
    """Measure the operations a second of a product of square matrices, and give the best of eight at most.

    If the processor has no instructions for the dtype, products are slow. They are then measured on smaller matrices
    and fewer times.
    """
    multiply = torch._int_mm if dtype == torch.int8 else torch.mm
    best, began = 0.0, time.perf_counter()
    for side, times in ((SMALL_MATRIX, 3), (MATRIX[device.type], 8)):
        matrix = torch.randn(side, side, device=device).to(dtype)
        for _ in range(times):
            start = time.perf_counter()
            if best and start - began + 2 * side**3 / best > TIME_LIMIT:
                return best
            product = multiply(matrix, matrix)
            float(product[0, 0])  # waits for the device
            best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best
