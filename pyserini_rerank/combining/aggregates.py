"""The scores of a document's parts to the document's own."""

from collections.abc import Callable

import numpy as np

from ..reranker import Scores

#: What is made of the scores of a document's parts, in their order: Dai and Callan, SIGIR 2019 (MaxP, FirstP, SumP).
#: Theirs are probabilities: a sum of logits would make a document worse with each part that is not relevant.
AGGREGATES: dict[str, Callable[[Scores], float]] = {
    "max": lambda scores: float(scores.max()),
    "first": lambda scores: float(scores[0]),
    "sum": lambda scores: float((1 / (1 + np.exp(-scores.astype(np.float64)))).sum()),
}


def aggregate_of(name: str | int) -> Callable[[Scores], float]:
    """Find an aggregate by its name; a number n is the mean of the n best parts.

    Raises
    ------
    ValueError
        There is none of that name; n is below 1.
    """
    if isinstance(name, int) and name >= 1:
        return lambda scores: float(np.sort(scores)[-name:].mean())
    if name not in AGGREGATES:
        raise ValueError(f"aggregate={name!r}: there are {', '.join(AGGREGATES)}, and n for the mean of the n best.")
    return AGGREGATES[str(name)]
