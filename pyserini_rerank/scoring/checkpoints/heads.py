"""The heads: how the logits of a pair give its score."""

from collections.abc import Callable
from typing import Any

from ...scales import Scale

#: The function of each head from the logits (n, labels) of n pairs to their scores (n,).
#:
#: logit: the only logit. margin: logit[1] - logit[0], which orders pairs as softmax(logits)[1] does but does not
#: saturate. positive: logit[1] alone, which orders them differently.
HEADS: dict[str, Callable[[Any], Any]] = {
    "logit": lambda logits: logits[:, 0],
    "margin": lambda logits: logits[:, 1] - logits[:, 0],
    "positive": lambda logits: logits[:, 1],
}
#: The number of labels that each head reads.
LABELS = {"logit": 1, "margin": 2, "positive": 2}
#: The scale of each head's scores: one of two logits gives no probability without the other.
SCALES: dict[str, Scale] = {"logit": "logit", "margin": "logit", "positive": "other"}


def choose(head: str | None, labels: int, name: str) -> str:
    """Choose the head that reads a checkpoint's logits.

    Parameters
    ----------
    head : str or None
        The head that the caller or the catalogue names.
    labels : int
        How many logits the checkpoint has.
    name : str
        The checkpoint, for error messages.

    Raises
    ------
    ValueError
        There is no such head, it does not fit the number of labels, or no head is named and there are several labels.
    """
    if head is None:
        if labels == 1:
            return "logit"
        raise ValueError(
            f"{name} has {labels} labels and nothing says which means relevant: pass head='margin' if label 1 does "
            "(logit[1] - logit[0]), or head='positive' if its authors score by logit[1] alone."
        )
    if not isinstance(head, str) or head not in HEADS:
        raise ValueError(f"head={head!r}: there are {', '.join(HEADS)}.")
    if LABELS[head] != labels:
        raise ValueError(f"head={head!r} reads {LABELS[head]} labels, and {name} has {labels}.")
    return head
