"""Cascades: a cheap checkpoint scores all candidates, and a costly one the best of them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..arguments import whole
from ..counts import Counts
from ..passages import Passages, Tokens
from ..ranking import Positions, Ranking
from ..reranker import Reranker
from .combination import Combination
from .maker import Maker, numbered


class Cascade(Combination, key="cascade"):
    """A reranker whose stages score fewer and fewer passages: each scores the best of the stage before.

    The passages that the last stage scored come first, with its scores. Below them follow the passages that it left
    out, then the passages that the stage before it left out, and so on, each group in the order in which its stage
    received it. Within windows or segments the depths count documents.

    Parameters
    ----------
    stages : iterable of pairs
        Pairs of a reranker, or an argument of `pyserini_rerank.load`, and its depth: the number of passages that it
        scores. The first stage takes them in first-stage order.

    Raises
    ------
    ValueError, TypeError
        There is no stage; a stage is no pair; a depth is no whole number, below 1, or above that of the stage before.
    As `pyserini_rerank.load`, for the stages that are loaded here.
    """

    def __init__(self, stages: Iterable[tuple[Any, int]]) -> None:
        pairs = [(part, whole(depth, "a depth of the cascade")) for part, depth in numbered(stages)]
        depths = [depth for _, depth in pairs]
        if not depths or depths != sorted(depths, reverse=True) or depths[-1] < 1:
            raise ValueError(
                f"the depths of the cascade are {depths}: give one stage or more, each with a depth from 1 to that of "
                "the stage before."
            )
        with Maker() as maker:
            parts = [maker.make(part) for part, _ in pairs]
        names = ", ".join(f"{part.name}@{depth}" for part, depth in zip(parts, depths, strict=True))
        super().__init__(f"cascade({names})", parts)
        self.depths, self.depth = depths, depths[0]

    @property
    def stages(self) -> list[tuple[Reranker, int]]:
        """The rerankers, each with its depth."""
        return list(zip(self.parts, self.depths, strict=True))

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        return self.parts[-1].cuts(query, passage)  # the last stage gives the scores

    def rankings(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Ranking]:
        for passages in found:
            if len(passages.texts) > self.depths[0]:
                passages.ranked_scores()  # raises unless the passages are in an order, so that the first are the best
        orders = [np.arange(len(passages.texts))[: self.depth] for passages in found]
        behind = [np.empty(0, dtype=np.intp) for _ in found]
        for reranker, depth in self.stages:
            behind = [np.concatenate([order[depth:], rest]) for order, rest in zip(orders, behind, strict=True)]
            heads = [order[:depth] for order in orders]
            rankings = reranker.rankings(
                queries, [passages.at(head.tolist()) for passages, head in zip(found, heads, strict=True)], counts
            )
            orders = [head[ranking.order] for head, ranking in zip(heads, rankings, strict=True)]
        lengths = [len(passages.texts) for passages in found]
        return [_among_all(*of_query) for of_query in zip(lengths, heads, rankings, behind, strict=True)]


def _among_all(count: int, head: Positions, ranking: Ranking, behind: Positions) -> Ranking:
    """Make a ranking of all passages of the last stage's ranking, which is of the passages at `head`."""
    scores = np.full(count, np.nan, dtype=np.float32)
    scores[head] = ranking.scores
    return Ranking(scores, np.concatenate([head[ranking.behind], behind]))
