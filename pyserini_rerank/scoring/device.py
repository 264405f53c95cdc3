"""The device that a model runs on, the dtype it runs in, and how many tokens go through it at once."""

import platform
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..arguments import count_option

#: Tokens of a batch, with the padding where there is any. On a CPU few, so that activations stay in its caches
#: (2,048 was 1.48 times as fast as sentence-transformers' 32 pairs on MiniLM-L-12); on a GPU many.
BATCH_TOKENS = {"cpu": 2048, "mps": 16_384, "cuda": 65_536}


def device_of(wanted: Any) -> torch.device:
    """Give the device that is wanted: a name, a number or a `torch.device`; None for the best one that is there.

    "cuda" is the caller's current CUDA device. It stays that one when the caller's current device changes.

    Raises
    ------
    ValueError, TypeError
        There is no such device, or the value names none, or several.
    """
    if wanted is None:
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kinds = "there are 'cuda', 'cuda:1' and so on, 'mps' and 'cpu'."
    if isinstance(wanted, bool) or not isinstance(wanted, str | torch.device | Integral):
        raise TypeError(f"device={wanted!r} is no device: {kinds}")
    # A number is a CUDA device; torch would choose the kind of device itself.
    name = f"cuda:{wanted}" if isinstance(wanted, Integral) else str(wanted)
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r}: {kinds}") from None
    if device.type not in BATCH_TOKENS:
        raise ValueError(f"device={name!r}: {kinds}")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device={name!r} is not there: torch sees {count} CUDA devices. Take 'cpu'.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' is not there: this is no Mac with a GPU. Take 'cpu'.")
    if device.type == "cuda" and device.index is None:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def _processor() -> str:
    """Name the processor. Linux tells its model, where `platform` knows no more than its family."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def budget_of(batch_tokens: int | str, device: torch.device) -> int:
    """Give the tokens of a batch: the number that the device's kind has for "auto"; raises ValueError."""
    if batch_tokens == "auto":
        return BATCH_TOKENS[device.type]
    return count_option(batch_tokens, "batch_tokens", "the tokens of a batch, 1 or more, or 'auto'")


def dtype_of(wanted: Any, device: torch.device) -> torch.dtype:
    """Give the dtype that is wanted: a name or a `torch.dtype`; None for the device's usual one. Raises ValueError."""
    if wanted is None:
        if device.type != "cuda":
            return torch.float32
        # Volta and Turing emulate bfloat16, slowly.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    name = dtype_name(wanted)
    if not isinstance(name, str) or name not in dtypes:
        raise ValueError(f"dtype={wanted!r}: there are {', '.join(dtypes)}.")
    return dtypes[name]


def dtype_name(dtype: Any) -> Any:
    """Give the name of a `torch.dtype`, and anything else as it is."""
    return str(dtype).removeprefix("torch.") if isinstance(dtype, torch.dtype) else dtype


def nearly_equal(scores: NDArray[np.float32], others: NDArray[np.float32], dtype: torch.dtype) -> bool:
    """Tell whether two arrays of scores differ by no more than the rounding of the dtype they were computed in."""
    rounding = torch.finfo(dtype).eps ** 0.75  # 6e-6 in float32, 0.03 in bfloat16
    return np.allclose(scores, others, rounding, rounding)


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to a GPU from pinned memory, so that this process does not wait for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def describe(device: torch.device, dtype: torch.dtype | str, batch_tokens: int, threads: int) -> dict[str, str]:
    """Describe the device, the dtype and the size of batches for a report; of a CPU the number of threads as well."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": f"{device.type}: {name}" + (f", {threads} threads" if device.type == "cpu" else ""),
        "dtype": str(dtype).removeprefix("torch."),
        "batch_tokens": str(batch_tokens),
    }
