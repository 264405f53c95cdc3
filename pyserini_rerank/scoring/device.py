"""The device that a model runs on, the dtype it runs in, and how many tokens go through it at once."""

import platform
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

#: Tokens of a batch, with the padding where there is any. On a CPU few, so that activations stay in its caches
#: (2,048 was 1.48 times as fast as sentence-transformers' 32 pairs on MiniLM-L-12); on a GPU many.
BATCH_TOKENS = {"cpu": 2048, "mps": 16_384, "cuda": 65_536}


def device_of(name: str | None) -> torch.device:
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name!r}: there are 'cuda', 'cuda:1' and so on, 'mps' and 'cpu'.") from None
    if device.type not in BATCH_TOKENS:
        raise ValueError(f"device={name!r}: there are 'cuda', 'cuda:1' and so on, 'mps' and 'cpu'.")
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(f"device={name!r} is not there: torch sees {count} CUDA devices. Pass device='cpu'.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device='mps' is not there: this is no Mac with a GPU. Pass device='cpu'.")
    return device


def _processor() -> str:
    """Name the processor, as Linux does where it is Linux; `platform` knows no more than its family there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(": ")[2] for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def budget_of(batch_tokens: int | str, device: torch.device) -> int:
    if batch_tokens == "auto":
        return BATCH_TOKENS[device.type]
    if not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise ValueError(f"batch_tokens={batch_tokens!r}: give the tokens of a batch, 1 or more, or 'auto'.")
    return batch_tokens


def dtype_of(name: str | None, device: torch.device) -> torch.dtype:
    if name is None:
        if device.type != "cuda":
            return torch.float32
        # Volta and Turing emulate bfloat16, slowly.
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    dtypes = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in dtypes:
        raise ValueError(f"dtype={name!r}: there are {', '.join(dtypes)}.")
    return dtypes[name]


def to_device(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """Copy an array to a device; to a GPU from pinned memory, so that nobody waits for the copy."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def describe(device: torch.device, dtype: torch.dtype | str, batch_tokens: int) -> dict[str, str]:
    """Give what a report says of them."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    return {
        "device": f"{device.type}: {name}{threads}",
        "dtype": str(dtype).removeprefix("torch."),
        "batch_tokens": str(batch_tokens),
    }
