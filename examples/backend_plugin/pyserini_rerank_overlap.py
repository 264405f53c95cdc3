"""Scores passages by the query's words in them, as BM25 does, but with no collection to count words in."""

import re
from collections import Counter

import numpy as np
from pyserini_rerank.scoring.backend import Batch, Plan

#: Words of a usual passage; BM25 takes the collection's mean.
USUAL_WORDS = 60


class OverlapBackend:
    """A backend without a model: the sum of BM25's term frequency part over the query's words.

    Parameters
    ----------
    name : str
        A name for the scores; there is no checkpoint to load.
    k1, b : float
        How soon further occurrences of a word count little, and how much long passages are marked down.
    """

    max_length = 0

    def __init__(self, name, *, k1=0.9, b=0.4):
        self.k1, self.b = k1, b
        self.fingerprint = f"overlap {k1} {b}"

    def plan(self, pairs):
        """Put all pairs into one batch."""
        return Plan([Batch(np.arange(len(pairs)), list(pairs))])

    def run(self, batch):
        """Score a batch: float32 (n,)."""
        return np.array([self.score(*pair) for pair in batch.inputs], dtype=np.float32)

    def score(self, query, passage):
        counts = Counter(words(passage))
        norm = self.k1 * (1 - self.b + self.b * counts.total() / USUAL_WORDS)
        return sum(counts[word] * (self.k1 + 1) / (counts[word] + norm) for word in words(query) if counts[word])

    def close(self):
        """There is nothing to free."""


def words(text):
    return re.findall(r"\w+", text.lower())
