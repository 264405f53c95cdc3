"""The first stage as one of the rerankers of a combination."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..counts import Counts
from ..passages import Passages
from ..ranking import Ranking
from ..reranker import Reranker
from ..scales import Scale
from .combination import Combination


class FirstStageScore(Combination):
    """A reranker that gives the first stage's own scores, to be combined with a model's."""

    NAME = "first-stage"

    def __init__(self) -> None:
        super().__init__(self.NAME)

    @property
    def fingerprint(self) -> str:
        return self.name

    def leaves(self) -> Iterator[Reranker]:
        return iter(())  # it reads no passage

    @property
    def scales_of_parts(self) -> set[Scale]:
        return set()  # a document has one score, whatever its parts

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        return [
            Ranking(np.where([text != "" for text in passages.texts], passages.ranked_scores(), np.float32(np.nan)))
            for passages in found
        ]
