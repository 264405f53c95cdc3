"""What rerankers that are made of others have in common."""

from abc import abstractmethod
from collections.abc import Sequence

from ..passages import Passages
from ..ranking import Ranking, Scores
from ..reranker import Counts, Reranker


class Combination(Reranker):
    """Ranks passages by the rankings of its parts. It never looks into a document: its parts are given that as it is,
    be it a text or in `Parts`."""

    @abstractmethod
    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]: ...

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        return [ranking.filled() for ranking in self.rankings(queries, found, counts)]
