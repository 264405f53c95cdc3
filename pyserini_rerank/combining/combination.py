"""The base class of rerankers that are made of others."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from ..counts import Counts
from ..passages import Passages
from ..ranking import Ranking, Scores
from ..reranker import Reranker

#: From the key in a user's dict, such as ``cascade``, to the class.
COMBINATIONS: dict[str, Callable[..., Reranker]] = {}


class Combination(Reranker):
    """A reranker that ranks passages by the rankings of its parts. It passes the documents on to its parts unchanged,
    whether they are texts or `Parts`.

    A subclass that users can describe by a dict names its key: ``class Cascade(Combination, key="cascade")``.
    """

    def __init_subclass__(cls, *, key: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if key:
            COMBINATIONS[key] = cls

    @abstractmethod
    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]: ...

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        return [ranking.filled() for ranking in self.rankings(queries, found, counts)]
