"""The processes of a distributed training, of which the first alone writes files and lines."""

import os

from .. import progress


def is_first() -> bool:
    """Tell whether this is the first process of a distributed training, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def say(line: str) -> None:
    """Write a line to stderr, from the first process alone."""
    if is_first():
        progress.say(line)
