"""Aggregates: they make a document's score of the scores of its parts."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ..arguments import whole
from ..ranking import Scores
from ..scales import Scale, check_probabilities, probabilities

NAMES = ("max", "first", "sum")


@dataclass(frozen=True)
class PartsAggregate:
    """A function from the scores of a document's parts, in their order, to its score: Dai and Callan, SIGIR 2019.

    SumP adds probabilities: in a sum of logits each part that is not relevant would lower the document's score.

    Parameters
    ----------
    name : str or int
        ``"max"`` (MaxP), ``"first"`` (FirstP), ``"sum"`` (SumP); or n: the mean of the n best.

    Raises
    ------
    ValueError
        There is no aggregate of that name; n is below 1.
    """

    name: str | int

    def __post_init__(self) -> None:
        if isinstance(self.name, str):
            valid = self.name in NAMES
        else:
            valid = not isinstance(self.name, bool) and whole(self.name, "aggregate") >= 1
        if not valid:
            names = ", ".join(NAMES)
            raise ValueError(f"aggregate={self.name!r}: give {names}, or n for the mean of the n best.")

    def __call__(self, scores: Scores, scale: Scale) -> float:
        if self.name == "max":
            return float(scores.max())
        if self.name == "first":
            return float(scores[0])
        if self.name == "sum":
            return float(probabilities(scores, scale, "a document's parts").sum())
        return float(np.sort(scores)[-int(self.name) :].mean())

    def scale(self, scale: Scale) -> Scale:
        """Give the scale of the documents' scores for a scale of the parts' scores."""
        return "other" if self.name == "sum" else scale

    def check(self, scales: Iterable[Scale], name: str) -> None:
        """Check that the aggregate is defined for scores on these scales; raises ValueError."""
        if self.name == "sum":
            for scale in scales:
                check_probabilities(scale, name)
