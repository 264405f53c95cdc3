"""A reranker of one checkpoint in one backend; combinations are made of these."""

import threading
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .arguments import whole
from .counts import Counts
from .distinct import numbered
from .passages import Passages, Tokens
from .prefetch import prefetched
from .progress import scoring_bar
from .ranking import Scores
from .reranker import Reranker
from .retrieval.queries import excerpt
from .scales import SCALES
from .scoring.backend import Backend, Batch, Pair, Plan, complete
from .scoring.door import Door

#: Pairs that are planned at once. A shard has more, so that the next pairs are tokenized while these are scored.
PLANNED_TOGETHER = 5_000
#: The facts of `description` that the repr shows.
SHOWN = ("backend", "device", "dtype")
#: About how many characters a token has, and how many bytes its id has in `Tokens`. The time that scoring takes is
#: estimated before the texts are tokenized.
SIZE_OF_TOKEN = 4


class ModelReranker(Reranker):
    """Scores every pair with a backend.

    Parameters
    ----------
    backend : Backend
        Closed along with the reranker.
    name : str
        The checkpoint.
    """

    def __init__(self, backend: Backend, name: str) -> None:
        super().__init__(name)
        full = complete(backend)
        self._door = Door(backend, name)
        self.max_length = whole(full.max_length, f"max_length of the backend of {name}", least=0)
        self._workers = whole(full.workers, f"workers of the backend of {name}", least=1)
        self.scale = full.scale
        if self.scale not in SCALES:
            raise ValueError(f"scale of the backend of {name} is {self.scale!r}: there are {', '.join(SCALES)}.")
        self._turns = threading.Semaphore(self._workers)

    @property
    def backend(self) -> Backend:
        """The backend that computes the scores; raises RuntimeError once the reranker is closed, and in a fork."""
        return self._door.backend

    @property
    def fingerprint(self) -> str:
        return self.backend.fingerprint

    @property
    def vocabulary(self) -> str | None:
        return complete(self.backend).vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        with self._door.entered() as backend:
            return complete(backend).tokenize(texts)

    def cuts(self, query: str, passage: str | Tokens) -> bool:
        return len(self.plan([(query, passage)]).cut_passages) > 0

    @property
    def known_scores(self) -> int:
        return complete(self.backend).known_scores

    @property
    def description(self) -> Mapping[str, str]:
        return complete(self.backend).description

    def __repr__(self) -> str:
        try:
            full = complete(self.backend)
        except RuntimeError:
            facts = ["closed"]  # or made by the process that this one was forked from
        else:
            facts = [f"{name}={value!r}" for name, value in full.description.items() if name in SHOWN]
        return f"{type(self).__name__}({', '.join([repr(self.name), *facts])})"

    def relevance(self, queries: Sequence[str], found: Sequence[Passages], counts: Counts) -> list[Scores]:
        pairs = [
            (query, text)
            for query, passages in zip(queries, found, strict=True)
            for text in passages.texts
            if text != ""
        ]
        scores = iter(self._score(pairs, counts))
        return [
            np.array([next(scores) if text != "" else np.nan for text in passages.texts], dtype=np.float32)
            for passages in found
        ]

    def close(self) -> None:
        """Wait for the batches that are being scored, then free the device. Further batches are refused."""
        self._door.close()

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put pairs into batches, as the backend does."""
        with self._door.entered() as backend:
            return backend.plan(pairs)

    def run(self, batch: Batch) -> Scores:
        """Score a batch once it is its turn: float32 (n,)."""
        with self._turns, self._door.entered() as backend:
            scores = backend.run(batch)
        if scores.shape != batch.positions.shape:
            shapes = f"{scores.shape} scores for {batch.positions.shape} pairs"
            raise ValueError(f"the backend of {self.name} gave {shapes}.")
        return scores

    def _score(self, pairs: Sequence[Pair], counts: Counts) -> Scores:
        """Score pairs in the batches that the backend plans; equal pairs are scored once."""
        _ = self.backend  # a closed reranker raises here, even where there are no pairs
        distinct, numbers = numbered(pairs)
        scores = np.full(len(distinct), np.nan, dtype=np.float32)
        # The bar counts tokens and not pairs, which do not predict the time: a batch has few long pairs or many short
        # ones, and the longest come first.
        tokens = self.estimated_tokens(distinct)
        with scoring_bar(int(tokens.sum())) as advance:
            for positions, batch_scores in self._run(self._batches(distinct, counts)):
                scores[positions] = batch_scores
                advance(int(tokens[positions].sum()))
        counts.scored += len(distinct)
        bad = np.flatnonzero(~np.isfinite(scores))
        if len(bad):
            query, text = distinct[bad[0]]
            raise FloatingPointError(
                f"{self.name} scored {scores[bad[0]]} for {len(bad)} pairs, first for the query "
                f"{excerpt(query)} and the passage {excerpt(str(text))}: its weights are damaged or too large for this "
                "dtype; load it with dtype='float32'."
            )
        return scores[numbers]

    def estimated_tokens(self, pairs: Sequence[Pair]) -> NDArray[np.int64]:
        """Estimate the number of tokens of each pair that the model reads: (n,), at least 1."""
        sizes = np.fromiter((len(query) + len(passage) for query, passage in pairs), np.int64, len(pairs))
        return np.clip(sizes // SIZE_OF_TOKEN, 1, self.max_length or None)

    def _batches(self, pairs: Sequence[Pair], counts: Counts) -> Iterator[Batch]:
        """Plan the batches of all pairs, `PLANNED_TOGETHER` pairs at a time."""
        starts = range(0, len(pairs), PLANNED_TOGETHER)
        pieces = (pairs[start : start + PLANNED_TOGETHER] for start in starts)
        plans = prefetched(self.plan, pieces, threads=self._workers, most=self._workers)
        for start, plan in zip(starts, plans, strict=True):
            counts.cut_passages += len(plan.cut_passages)
            counts.cut_queries += len({pairs[start + position][0] for position in plan.cut_queries})
            counts.unknown += len(plan.unknown)
            for batch in plan.batches:
                yield Batch(start + batch.positions, batch.inputs)

    def _run(self, batches: Iterator[Batch]) -> Iterator[tuple[NDArray[np.intp], Scores]]:
        """Run batches, as many at once as the backend has workers; give their positions and scores in order."""

        def run(batch: Batch) -> tuple[NDArray[np.intp], Scores]:
            return batch.positions, self.run(batch)

        if self._workers == 1:
            return map(run, batches)
        # One more batch is ready for each worker, so that no worker waits for the caller.
        return prefetched(run, batches, threads=self._workers, most=2 * self._workers)
