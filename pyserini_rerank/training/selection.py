"""The documents that a query is trained on: relevant ones, and others by rank, by a teacher's margin or by chance."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from random import Random
from typing import Any

from ..arguments import listed, whole
from .training_data import Document


@dataclass(frozen=True)
class Selection:
    """How many documents of a query are taken, and which. See `pyserini_rerank.train_data` for the parameters.

    Raises
    ------
    ValueError, TypeError
        A number is out of range.
    """

    positives: int | None = None
    negatives: int = 8
    ranks: Sequence[int] | None = None
    random_negatives: int = 0
    margin: float | None = None
    level: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        # numpy's numbers become Python's, which JSON can hold.
        least = {"positives": 1, "negatives": 0, "random_negatives": 0, "level": 1, "seed": None}
        for name, lowest in least.items():
            if name != "positives" or self.positives is not None:
                object.__setattr__(self, name, whole(getattr(self, name), name, least=lowest))
        if self.ranks is not None:
            ranks = [whole(rank, "ranks", least=1) for rank in listed(self.ranks, "ranks")]
            if len(ranks) != 2 or ranks[0] > ranks[1]:
                raise ValueError(
                    f"ranks={', '.join(map(str, ranks))}: give the first rank of a negative, and then the last."
                )
            object.__setattr__(self, "ranks", tuple(ranks))
        if self.negatives + self.random_negatives == 0:
            raise ValueError("negatives=0 and random_negatives=0: a reranker needs documents that are not relevant.")
        if self.margin is not None:
            if not isinstance(self.margin, Real) or not math.isfinite(self.margin):
                raise ValueError(f"margin={self.margin!r:.50}: give a number, such as 0.")
            object.__setattr__(self, "margin", float(self.margin))

    def can_train(self, documents: Sequence[Document]) -> bool:
        """Tell whether there is a relevant document and another one."""
        return len({document.is_relevant(self.level) for document in documents}) == 2

    def scored_by_teacher(self, qid: str, documents: Sequence[Document]) -> list[Document]:
        """Give the documents that a teacher scores: the chosen ones, or all that a margin may choose."""
        return self.chosen(qid, documents) if self.margin is None else self._in_range(documents)

    def chosen(self, qid: str, documents: Sequence[Document]) -> list[Document]:
        """Choose documents, and keep their order."""
        documents = self._in_range(documents)
        relevant = [document for document in documents if document.is_relevant(self.level)]
        best = sorted(relevant, key=lambda document: (-(document.grade or 0), document.rank or math.inf))
        positives = best[: self.positives]
        others = [document for document in documents if not document.is_relevant(self.level)]
        if self.margin is not None and positives:
            limit = max(_score(document) for document in positives) - self.margin
            others = [document for document in others if _score(document) <= limit]
        random_ones = [document for document in others if document.rank is None]
        ranked = [document for document in others if document.rank is not None]
        random = Random(f"{self.seed} {qid}")
        negatives = random.sample(ranked, min(self.negatives, len(ranked)))
        taken = {document.docid for document in (*positives, *negatives, *random_ones)}
        return [document for document in documents if document.docid in taken]

    def random_docids(self, qid: str, pool: Sequence[str], known: set[str]) -> list[str]:
        """Draw docids of other queries' candidates that are not among this one's."""
        if not self.random_negatives:
            return []
        random = Random(f"{self.seed} {qid} random")
        drawn: dict[str, Any] = {}
        # At most a few of the pool are known, unless it is tiny.
        for docid in random.sample(pool, min(len(pool), self.random_negatives + len(known))):
            if docid not in known and len(drawn) < self.random_negatives:
                drawn[docid] = None
        return list(drawn)

    def _in_range(self, documents: Sequence[Document]) -> list[Document]:
        """Leave out the negatives beyond the range of ranks; a random document has no rank, and stays."""
        first, last = self.ranks or (1, math.inf)
        return [
            document
            for document in documents
            if document.is_relevant(self.level) or document.rank is None or first <= document.rank <= last
        ]


def _score(document: Document) -> float:
    assert document.teacher_score is not None, "a margin needs a teacher's scores"
    return document.teacher_score
