"""What rerankers that are made of others have in common."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from ..arguments import listed
from ..counts import Counts
from ..passages import Passages
from ..ranking import Ranking, Scores
from ..reranker import Reranker, checked_reranker


class Combination(Reranker):
    """Ranks passages by the rankings of its parts. It never looks into a document: its parts are given that as it is,
    be it a text or in `Parts`."""

    @abstractmethod
    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]: ...

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        return [ranking.filled() for ranking in self.rankings(queries, found, counts)]


def numbered(pairs: Any, name: str) -> list[tuple[Reranker, Any]]:
    """Read a caller's pairs, each of a reranker and a number.

    Raises
    ------
    TypeError
        One of them is no pair, or has no reranker first.
    """
    read = []
    for pair in listed(pairs, name):
        try:
            reranker, number = pair
        except (TypeError, ValueError):
            kind = type(pair).__name__
            raise TypeError(f"{name} has a {kind} that is no pair of a reranker and a number.") from None
        read.append((checked_reranker(reranker), number))
    return read
