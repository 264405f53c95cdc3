"""Logits to one relevance score."""

from collections.abc import Callable
from typing import Any

#: What each head makes of the logits (n, labels) of n pairs: scores (n,).
#:
#: logit: the one there is. margin: logit[1] - logit[0], which orders as softmax(logits)[1] does without
#: saturating; logit[1] alone does not.
HEADS: dict[str, Callable[[Any], Any]] = {
    "logit": lambda logits: logits[:, 0],
    "margin": lambda logits: logits[:, 1] - logits[:, 0],
}
LABELS = {"logit": 1, "margin": 2}


def choose(given: str | None, labels: int, name: str) -> str:
    """Decide how a checkpoint's logits are read.

    Parameters
    ----------
    given : str or None
        The head that the caller or the catalogue names.
    labels : int
        How many logits the checkpoint has.
    name : str
        The checkpoint, for the error.

    Raises
    ------
    ValueError
        There is no such head, it does not fit the labels, or there are several labels and no word on them.
    """
    if given is None:
        if labels == 1:
            return "logit"
        raise ValueError(
            f"{name} has {labels} labels and nothing says which means relevant: pass head='margin' if label 1 does "
            "(logit[1] - logit[0])."
        )
    if not isinstance(given, str) or given not in HEADS:
        raise ValueError(f"head={given!r}: there are {', '.join(HEADS)}.")
    if LABELS[given] != labels:
        raise ValueError(f"head={given!r} reads {LABELS[given]} labels, and {name} has {labels}.")
    return given
