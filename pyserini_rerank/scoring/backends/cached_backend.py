"""The cache of scores: a backend that keeps the scores of another one on disk.

It does not make a first run faster, since a look-up costs about as much as tokenizing. It pays when the
same pairs come again: at another depth, after another first stage, in an experiment that was interrupted.
"""

import logging
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from ...passages import Tokens
from ..backend import Backend, Batch, Pair, Plan, complete
from ..door import close_all
from ..score_store import ScoreStore

log = logging.getLogger(__name__)


class CachedBackend:
    """A backend that looks scores up before it has another backend compute them.

    The other backend plans the batches. A batch is not run if all its scores are known. Otherwise every row of
    it is run, so that no score depends on which scores were known; the known scores are given as they were.
    So a run that was interrupted goes on to the same bits. Several processes may share a cache.

    Parameters
    ----------
    backend : Backend
        It needs a `fingerprint`, which identifies all that changes its scores.
    folder : path
        The folder of the scores; it is made if it is not there.

    Raises
    ------
    ValueError
        The backend has no fingerprint, or the cache is damaged.
    OSError
        The folder cannot be written.
    """

    def __init__(self, backend: Backend, folder: str | os.PathLike[str]) -> None:
        if not backend.fingerprint:
            raise ValueError(
                f"{type(backend).__name__} has no fingerprint, so its scores cannot be cached: leave the cache out, "
                "or, with the http backend, pass fingerprint=, your name for the model behind the URL."
            )
        self.backend = full = complete(backend)
        self.max_length = backend.max_length
        self.fingerprint = backend.fingerprint
        self.vocabulary, self.scale, self.workers = full.vocabulary, full.scale, full.workers
        self.budget = full.budget
        self.store = ScoreStore(folder)
        log.debug("score cache %s is open, with scores of the fingerprint %s among others", folder, self.fingerprint)
        #: How many scores have come from the cache.
        self.known_scores = 0
        self._lock = threading.Lock()

    @property
    def description(self) -> Mapping[str, str]:
        return self.backend.description

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self.backend.tokenize(texts)

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        plan = self.backend.plan(pairs)
        salt = blake2b(self.fingerprint.encode()).digest()
        keys = [_key(salt, pair) for pair in pairs]
        batches = [Batch(batch.positions, ([keys[i] for i in batch.positions], batch)) for batch in plan.batches]
        return replace(plan, batches=batches)

    def run(self, batch: Batch) -> NDArray[np.float32]:
        keys, inner = batch.inputs
        known = self.store.get(keys)
        lacking = np.isnan(known)
        with self._lock:
            self.known_scores += len(keys) - int(np.count_nonzero(lacking))
        if not lacking.any():
            return known
        scores = np.where(lacking, self.backend.run(inner), known)
        new = lacking & np.isfinite(scores)
        self.store.put({key: float(score) for key, score, keep in zip(keys, scores, new, strict=True) if keep})
        return scores

    def close(self) -> None:
        close_all([self.backend, self.store])


def _key(salt: bytes, pair: Pair) -> bytes:
    """Hash a pair to 128 bits; the salt is a hash of the fingerprint. A text and `Tokens` never have the same key."""
    query, passage = pair[0].encode(), pair[1]
    kind, content = (b"", passage.encode()) if isinstance(passage, str) else (b"tokens", passage)
    data = b"%d %b%b" % (len(query), query, content)
    return blake2b(data, digest_size=16, key=salt, person=kind).digest()
