"""The scores of a document's parts to the document's own."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..arguments import whole
from ..ranking import Scores
from ..scales import Scale, check_probabilities, probabilities

NAMES = ("max", "first", "sum")


@dataclass(frozen=True)
class PartsAggregate:
    """What is made of the scores of a document's parts, in their order: Dai and Callan, SIGIR 2019.

    Their SumP adds probabilities: a sum of logits would make a document worse with each part that is not relevant.

    Parameters
    ----------
    name : str or int
        ``"max"`` (MaxP), ``"first"`` (FirstP), ``"sum"`` (SumP); or n: the mean of the n best.

    Raises
    ------
    ValueError
        There is none of that name; n is below 1.
    """

    name: str | int

    def __post_init__(self) -> None:
        if isinstance(self.name, str):
            valid = self.name in NAMES
        else:
            valid = not isinstance(self.name, bool) and whole(self.name, "aggregate") >= 1
        if not valid:
            names = ", ".join(NAMES)
            raise ValueError(f"aggregate={self.name!r}: there are {names}, and n for the mean of the n best.")

    def __call__(self, scores: Scores, scale: Scale) -> float:
        if self.name == "max":
            return float(scores.max())
        if self.name == "first":
            return float(scores[0])
        if self.name == "sum":
            return float(probabilities(scores, scale, "a document's parts").sum())
        return float(np.sort(scores)[-int(self.name) :].mean())

    def scale(self, scale: Scale) -> Scale:
        """Tell the scale of what it gives, of the parts'."""
        return "other" if self.name == "sum" else scale

    def check(self, scales: Iterable[Scale], name: str) -> None:
        """Check that it can be made of scores on such scales; raises ValueError where that is not defined."""
        if self.name == "sum":
            for scale in scales:
                check_probabilities(scale, name)
