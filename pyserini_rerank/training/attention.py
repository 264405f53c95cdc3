"""Attention for training in bfloat16 on a CPU, where torch's own is slow."""

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "float32_sdpa"


def attend_in_float32(transformer: Any) -> None:
    """Have a model compute its attention, and the gradients of it, in float32.

    In bfloat16 torch's gradients of attention take a CPU about as long as all else of a training step.
    """
    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    transformer.set_attn_implementation(NAME)


def _attention(module: Any, query: Any, key: Any, value: Any, *args: Any, **options: Any) -> Any:
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(module, query.float(), key.float(), value.float(), *args, **options)
