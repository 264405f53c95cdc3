"""Batches across calls: pairs of calls that come at the same time go through the model together.

Example: one client asks for 1,000 documents, and then another asks for ten. Each batch takes pairs from both in turn,
so that the ten are scored with the next batch and do not wait for the thousand.
"""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import numpy as np

from ..call import Call, current_call
from ..distinct import numbered
from ..model import ModelReranker
from ..passages import Tokens
from ..ranking import Scores
from ..reranker import Reranker
from ..scoring.backend import Batch, Pair, Plan, complete, score

#: Calls whose pairs may wait for batches at the same time.
CALLS = 256


def with_shared_batches(reranker: Reranker) -> Reranker:
    """Copy a reranker so that calls from several threads share batches.

    The scores of a call do not depend on the others, apart from the rounding of a batch (at most 1e-4 in float32).
    Closing the copy leaves the reranker open. A reranker of a user's own class is called as before.

    Parameters
    ----------
    reranker : Reranker
        A checkpoint, or a combination of several. Each checkpoint has a queue of its own.
    """
    made: dict[Reranker, Reranker] = {}

    def share(leaf: Reranker) -> Reranker:
        if not isinstance(leaf, ModelReranker):
            return leaf
        if leaf not in made:
            made[leaf] = ModelReranker(SharedBackend(leaf), leaf.name)
        return made[leaf]

    return reranker.with_leaves(share)


class Job:
    """The pairs of a call that wait for batches, or are being scored.

    Parameters
    ----------
    pairs : sequence of Pair, (n,)
    tokens : int (n,)
        The size of each pair.
    call : Call, optional
        It gets the figures.
    """

    def __init__(self, pairs: Sequence[Pair], tokens: Sequence[int], call: Call | None) -> None:
        self.pairs, self.tokens, self.call = pairs, tokens, call
        #: The pairs that wait. The longest is taken first, so that pairs of similar length come together.
        self.waiting = sorted(range(len(pairs)), key=tokens.__getitem__)
        self.scores = np.full(len(pairs), np.nan, dtype=np.float32)
        self.unscored = len(pairs)
        self.done: Future[Scores] = Future()
        self.began = time.perf_counter()
        self.seconds_in_batches = 0.0
        self._until = self.began
        self._lock = threading.Lock()

    def put(self, positions: Sequence[int], scores: Scores, start: float) -> None:
        """Keep the scores of a batch that began at a time; the last batch ends the job."""
        with self._lock:
            self.scores[list(positions)] = scores
            self.unscored -= len(positions)
            # Two batches at the same time take their time once.
            now = time.perf_counter()
            self.seconds_in_batches += now - max(start, self._until)
            self._until = now
            is_last = self.unscored == 0
        if is_last:
            if self.call:
                self.call.scored += self.seconds_in_batches
                self.call.waited += self._until - self.began - self.seconds_in_batches
            with suppress(InvalidStateError):  # the call was dropped meanwhile
                self.done.set_result(self.scores)


class SharedBackend:
    """A backend whose `run` puts the pairs of all threads that call it into the same batches.

    A batch takes pairs up to the model's budget of tokens from the waiting calls in turn. Equal pairs that wait
    together are scored once. If a batch fails, its calls are scored one by one, so that an error reaches the call that
    it belongs to. An error of a server that is not there belongs to all of them.

    Parameters
    ----------
    model : ModelReranker
        The checkpoint. It stays open.
    """

    def __init__(self, model: ModelReranker) -> None:
        full = complete(model.backend)
        self.model = model
        self.max_length, self.fingerprint, self.budget = full.max_length, full.fingerprint, full.budget
        self.scale, self.vocabulary, self.workers = full.scale, full.vocabulary, CALLS
        # A tokenizer keeps a cache in each thread that calls it, so few threads tokenize.
        self._tokenizing = ThreadPoolExecutor(full.workers, thread_name_prefix="tokenizing")
        self._scoring = ThreadPoolExecutor(full.workers, thread_name_prefix="scoring")
        self._idle = full.workers
        self._jobs: deque[Job] = deque()
        self._lock = threading.Lock()

    @property
    def known_scores(self) -> int:
        return self.model.known_scores

    @property
    def description(self) -> Mapping[str, str]:
        return self.model.description

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self._tokenizing.submit(self.model.tokenize, texts).result()

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        """Put all pairs of a call into one batch."""
        start, call = time.perf_counter(), current_call()
        plan = self._tokenizing.submit(self.model.plan, pairs).result()
        if call:
            call.pairs += len(pairs)
            call.cut += len(plan.cut_passages)
            call.tokens += 0 if plan.tokens is None else int(plan.tokens.sum())
            call.tokenized += time.perf_counter() - start
        tokens = self.model.estimated_tokens(pairs) if plan.tokens is None else plan.tokens
        return replace(plan, batches=[Batch(np.arange(len(pairs)), (pairs, tokens.tolist()))] if pairs else [])

    def run(self, batch: Batch) -> Scores:
        """Score the pairs of a call: float32 (n,).

        Raises
        ------
        CancelledError
            The call was dropped.
        """
        (pairs, tokens), call = batch.inputs, current_call()
        job = Job(pairs, tokens, call)
        if call:
            call.at_drop(job.done.cancel)
        with self._lock:
            self._jobs.append(job)
            self._wake()
        return job.done.result()

    def close(self) -> None:
        self._tokenizing.shutdown()
        self._scoring.shutdown()

    def _wake(self) -> None:
        """Have an idle worker score what waits. The lock is held."""
        if self._idle:
            self._idle -= 1
            self._scoring.submit(self._score_jobs)

    def _score_jobs(self) -> None:
        """Score batches for as long as pairs wait."""
        while taken := self._take():
            self._score(taken)

    def _take(self) -> dict[Job, list[int]]:
        """Take the pairs of a batch from the waiting jobs in turn: their positions in each job."""
        taken: dict[Job, list[int]] = {}
        distinct: set[Pair] = set()
        has_no_room: list[Job] = []
        longest = 0
        with self._lock:
            while self._jobs:
                job = self._jobs.popleft()
                if job.done.done():  # it was dropped, or has failed
                    continue
                pair, size = job.pairs[job.waiting[-1]], job.tokens[job.waiting[-1]]
                if pair not in distinct:
                    # As the backend does, so that the pairs become one batch: all of them count as the longest.
                    if taken and (len(distinct) + 1) * max(longest, size) > self.budget:
                        has_no_room.append(job)
                        continue
                    longest = max(longest, size)
                    distinct.add(pair)
                taken.setdefault(job, []).append(job.waiting.pop())
                if job.waiting:
                    self._jobs.append(job)
            self._jobs.extend(has_no_room)  # the first of these begins the next batch
            if not taken:
                self._idle += 1
            elif self._jobs:
                with suppress(RuntimeError):  # it is being closed, and this worker scores the rest
                    self._wake()
        return taken

    def _score(self, taken: Mapping[Job, list[int]]) -> None:
        """Score a batch's pairs, and give every job its own."""
        pairs, numbers = numbered([job.pairs[position] for job, positions in taken.items() for position in positions])
        start = time.perf_counter()
        try:
            scores = score(self.model, pairs)
        except BaseException as error:
            if len(taken) > 1 and not isinstance(error, OSError):
                for job, positions in taken.items():
                    if not job.done.done():
                        self._score({job: positions})
                return
            for job in taken:
                with suppress(InvalidStateError):
                    job.done.set_exception(error)
            return
        stop = 0
        for job, positions in taken.items():
            first, stop = stop, stop + len(positions)
            job.put(positions, scores[numbers[first:stop]], start)
