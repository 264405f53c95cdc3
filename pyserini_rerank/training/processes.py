"""The processes of a distributed training, of which the first alone writes files and lines."""

import os

from .. import progress


def count() -> int:
    """Give the number of processes of a distributed training; 1 if it is none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def take_gpu() -> None:
    """Have this process of a distributed training use its own GPU, also before the trainer begins."""
    import torch

    if torch.cuda.is_available() and "LOCAL_RANK" in os.environ:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def is_first() -> bool:
    """Tell whether this is the first process of a distributed training, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def say(line: str) -> None:
    """Write a line to stderr, from the first process alone."""
    if is_first():
        progress.say(line)
