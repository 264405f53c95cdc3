"""What rerankers that are made of others have in common."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..counts import Counts
from ..passages import Passages
from ..ranking import Ranking, Scores
from ..reranker import Reranker

#: By the key that stands for one where a user writes a dict.
COMBINATIONS: dict[str, Callable[..., Reranker]] = {}


class Combination(Reranker):
    """Ranks passages by the rankings of its parts. It never looks into a document: its parts are given that as it is,
    be it a text or in `Parts`.

    A class that a user may write as a dict says by which key: ``class Cascade(Combination, written="cascade")``.
    """

    def __init_subclass__(cls, *, written: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if written:
            COMBINATIONS[written] = cls

    @abstractmethod
    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]: ...

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        return [ranking.filled() for ranking in self.rankings(queries, found, counts)]
