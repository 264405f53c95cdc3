"""Cheap checkpoints for all candidates, dear ones for the best."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..ranking import below, best_first
from ..reranker import Counts, Passages, Reranker, Scores
from ..scoring.backend import Tokens

Positions = NDArray[np.intp]


class Cascade(Reranker):
    """Has each stage score the best of the stage before.

    What the last stage scored comes first, with its scores. Below follows what a stage left behind, that of the last
    stage first, in the order that it came in and with scores that fall strictly.

    Parameters
    ----------
    stages : sequence of (Reranker, int)
        Each with its depth: how many passages it scores. The first takes them in first-stage order.

    Raises
    ------
    ValueError
        There is no stage, or a depth below 1 or above that of the stage before.
    """

    def __init__(self, stages: Sequence[tuple[Reranker, int]]) -> None:
        depths = [depth for _, depth in stages]
        if not depths or depths != sorted(depths, reverse=True) or depths[-1] < 1:
            raise ValueError(
                f"the depths of the cascade are {depths}: give one stage or more, each with a depth from 1 to that of "
                "the stage before."
            )
        parts = [reranker for reranker, _ in stages]
        super().__init__(f"cascade({', '.join(f'{part.name}@{d}' for part, d in stages)})", parts)
        self.depth, self.last_depth = depths[0], depths[-1]
        self.stages = list(stages)

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        return self.parts[-1].cuts(query, passage)  # the scores are the last stage's

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        best = [np.arange(len(some.texts))[: self.depth] for some in found]
        left = [np.empty(0, dtype=np.intp) for _ in found]
        for reranker, depth in self.stages:
            left = [np.concatenate([order[depth:], behind]) for order, behind in zip(best, left, strict=True)]
            heads = [order[:depth] for order in best]
            scores = reranker.relevance(
                queries, [some.at(head.tolist()) for some, head in zip(found, heads, strict=True)], counts
            )
            orders = [best_first(own) for own in scores]
            best = [head[order] for head, order in zip(heads, orders, strict=True)]
        last = [own[order] for own, order in zip(scores, orders, strict=True)]
        lengths = [len(some.texts) for some in found]
        return [_laid_out(*parts) for parts in zip(lengths, best, last, left, strict=True)]


def _laid_out(count: int, best: Positions, scores: Scores, left: Positions) -> Scores:
    laid = np.full(count, np.nan, dtype=np.float32)
    laid[best] = scores
    laid[left] = below(scores, len(left))
    return laid
