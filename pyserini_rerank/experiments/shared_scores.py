"""Scores that the systems of an experiment share: each pair is scored once, and its time counts for all of them."""

import copy
import json
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ..files.growing import read_state
from ..files.writing import replace
from ..model import ModelReranker
from ..passages import Tokens
from ..reranker import Reranker
from ..scoring.backend import Backend, Batch, Pair, Plan, TextBackend, complete
from ..scoring.backends.cached_backend import CachedBackend


@dataclass
class Meter:
    """The time that one checkpoint has taken so far, by everybody who uses it."""

    planned: int = 0
    """Pairs that were tokenized."""
    planning: float = 0.0
    """Seconds."""
    scored: int = 0
    """Pairs that went through the model."""
    scoring: float = 0.0
    """Seconds."""

    @property
    def seconds_a_pair(self) -> float | None:
        """What a pair takes from its text to its score; None where none was scored."""
        if not (self.planned and self.scored):
            return None
        return self.planning / self.planned + self.scoring / self.scored


class MeteredBackend(TextBackend):
    """A backend whose calls are timed: has the interface of the one that it wraps."""

    def __init__(self, backend: Backend, meter: Meter) -> None:
        full = complete(backend)
        self.backend, self.meter = full, meter
        self.max_length, self.fingerprint, self.scale, self.workers = (
            full.max_length, full.fingerprint, full.scale, full.workers
        )  # fmt: skip
        #: Pairs that were asked for through this wrapper.
        self.asked = 0
        self._lock = threading.Lock()
        self.vocabulary = full.vocabulary

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        return self.backend.tokenize(texts)

    def plan(self, pairs: Sequence[Pair]) -> Plan:
        start = perf_counter()
        plan = self.backend.plan(pairs)
        with self._lock:
            self.asked += len(pairs)
            self.meter.planned += len(pairs)
            self.meter.planning += perf_counter() - start
        return plan

    def run(self, batch: Batch) -> NDArray[np.float32]:
        start = perf_counter()
        scores = self.backend.run(batch)
        with self._lock:
            self.meter.scored += len(batch.positions)
            # Several workers score at the same time.
            self.meter.scoring += (perf_counter() - start) / self.workers
        return scores

    def close(self) -> None:
        """Leave the backend open: it is its owner's."""


@dataclass
class SharingReranker:
    """A reranker whose checkpoints share their scores with those of other systems."""

    reranker: Reranker
    backends: list[MeteredBackend]
    """One for each of its checkpoints."""
    models: list[ModelReranker]
    others: bool
    """It also has rerankers without a backend, of which only the user knows what they do."""

    def seconds(self) -> float | None:
        """Give the seconds that all its pairs take from their texts to their scores, as if it had shared none.

        That is the pairs of each checkpoint times the time that one of that checkpoint's pairs took, whoever had it
        scored; None where no pair of a checkpoint was scored, or where others than checkpoints score as well.
        """
        if self.others:
            return None
        spent = [(backend.asked, backend.meter.seconds_a_pair) for backend in self.backends if backend.asked]
        return None if any(rate is None for _, rate in spent) else sum(asked * (rate or 0) for asked, rate in spent)

    def close(self) -> None:
        """Close what was made for sharing; the checkpoints stay open."""
        for model in self.models:
            model.close()


class SharedScores:
    """The scores of an experiment, in a folder, from which the same experiment goes on after it was interrupted.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / "seconds.json"
        facts = read_state(self._file) if self._file.is_file() else {}
        self.meters = {fingerprint: Meter(**of_checkpoint) for fingerprint, of_checkpoint in facts.items()}

    def share(self, reranker: Reranker) -> "SharingReranker":
        """Copy a reranker so that its checkpoints look scores up here before they compute them."""
        backends: list[MeteredBackend] = []
        models: list[ModelReranker] = []

        def shared(leaf: Reranker) -> Reranker:
            if not isinstance(leaf, ModelReranker):
                return leaf
            given, folder = leaf.backend, self.folder
            # Nobody knows whether a checkpoint without a fingerprint is the same as another one.
            meter = self.meters.setdefault(given.fingerprint, Meter()) if given.fingerprint else Meter()
            if isinstance(given, CachedBackend):  # the user's own cache is kept
                folder = given.store.folder
            metered = MeteredBackend(given.backend if isinstance(given, CachedBackend) else given, meter)
            backends.append(metered)
            model = copy.copy(leaf)  # of a subclass, too, with all that it does besides
            ModelReranker.__init__(model, CachedBackend(metered, folder) if given.fingerprint else metered, leaf.name)
            models.append(model)
            return model

        others = any(not isinstance(leaf, ModelReranker) for leaf in reranker.leaves())
        return SharingReranker(reranker.with_leaves(shared), backends, models, others)

    def save(self) -> None:
        """Keep the seconds beside the scores."""
        self.folder.mkdir(parents=True, exist_ok=True)
        replace(self._file, json.dumps({name: asdict(meter) for name, meter in self.meters.items()}))
