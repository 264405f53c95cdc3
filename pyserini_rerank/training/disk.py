"""A full disk under a training: what the libraries that write its files raise becomes an OSError."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

#: torch has no class of its own for a file that it cannot write.
TORCH = ("PytorchStreamWriter", "inline_container")


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn the exceptions of safetensors, torch and datasets for a file that cannot be written into an OSError."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) or not _is_of_a_file(error):
            raise
        reason = " ".join(str(error.__cause__ or error).split())
        raise OSError(
            f"a file in {folder} cannot be written, is the disk full? ({reason:.200}) The last complete checkpoint is "
            "kept, and the same call goes on from there."
        ) from error


def _is_of_a_file(error: Exception) -> bool:
    if isinstance(error, SafetensorError):
        return "I/O" in str(error)
    if isinstance(error, RuntimeError):
        return any(word in str(error) for word in TORCH)
    return isinstance(error.__cause__, OSError)
