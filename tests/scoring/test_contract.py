"""The contract that every backend keeps, run against those that are here; and that it finds those that do not."""

import time
from importlib import import_module
from inspect import get_annotations, isabstract, isclass
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest
import typed
from collection import HashBackend
from pyserini_rerank.scoring import backends
from pyserini_rerank.scoring.backend import Batch, Plan
from pyserini_rerank.scoring.backends.sentence_transformers_backend import SentenceTransformersBackend
from pyserini_rerank.scoring.backends.torch_backend import TorchBackend
from pyserini_rerank.testing import BackendContract
from tiny_checkpoints import build

ONE_LABEL = "cross-encoder/ms-marco-MiniLM-L-2-v2"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ONE_LABEL, tmp_path_factory.mktemp("contract"))


class OfCheckpoint(BackendContract):
    """The contract of a backend that loads the small checkpoint."""

    @pytest.fixture(autouse=True)
    def checkpoint(self, tiny):
        self.folder = tiny

    def make(self):
        return self.kind(self.folder, device="cpu", batch_tokens=600)


class TestTorch(OfCheckpoint):
    kind = TorchBackend


class TestSentenceTransformers(OfCheckpoint):
    kind = SentenceTransformersBackend


def test_mypy_checks_every_backend_of_the_package():
    """Each is a parameter of the function in tests/typed.py that assigns it to `FullBackend`."""
    modules = [import_module(f"{backends.__name__}.{module.name}") for module in iter_modules(backends.__path__)]
    classes = {
        kind
        for module in modules
        for kind in vars(module).values()
        if isclass(kind) and kind.__module__ == module.__name__ and hasattr(kind, "plan") and hasattr(kind, "run")
    }
    assert {kind for kind in classes if not isabstract(kind)} == set(get_annotations(typed.of_the_package).values()) - {
        None
    }


class Given(BackendContract):
    """The contract of what a test makes."""

    knows_relevance = True

    def __init__(self, make):
        self.given = make

    def make(self):
        return self.given()


class Hashing(HashBackend):
    fingerprint = ""


class TestHashing(BackendContract):
    make = Hashing


class TestCachedHashing(BackendContract):
    """A fingerprint is all that a cache asks for."""

    def make(self):
        backend = Hashing()
        backend.fingerprint = "hashing"
        return backend


# ------------------------------------------------------------------------------------ backends that are wrong somewhere


class Leaves(Hashing):
    def plan(self, pairs):
        plan = super().plan(pairs)
        return Plan([Batch(batch.positions[1:], batch.inputs[1:]) for batch in plan.batches])


class Twice(Hashing):
    def plan(self, pairs):
        return Plan([*super().plan(pairs).batches] * 2)


class Remembers(Hashing):
    calls = 0

    def plan(self, pairs):
        Remembers.calls += 1
        plan = super().plan(pairs)
        turn = Remembers.calls % max(1, len(pairs))
        return Plan([Batch(np.roll(b.positions, turn), b.inputs[-turn:] + b.inputs[:-turn]) for b in plan.batches])


class InDoubles(Hashing):
    def run(self, batch):
        return super().run(batch).astype(np.float64)


class ByColumn(Hashing):
    def run(self, batch):
        return super().run(batch)[:, None]


class Normalizes(Hashing):
    def run(self, batch):
        scores = super().run(batch)
        return scores - scores.mean() if len(scores) else scores


class Random(Hashing):
    def run(self, batch):
        return (super().run(batch) + np.random.default_rng().normal(0, 1e-6, len(batch.positions))).astype(np.float32)


class Tramples(Hashing):
    """Two threads may run it, it says, but the one's batch becomes the other's."""

    workers = 2

    def run(self, batch):
        self.batch = batch
        time.sleep(0.001)
        return super().run(self.batch)


class NotANumber(Hashing):
    def run(self, batch):
        return np.where([len(text) > 1000 for _, text in batch.inputs], np.nan, super().run(batch)).astype(np.float32)


class Chokes(Hashing):
    def run(self, batch):
        return super().run(batch[0]) if not len(batch.positions) else super().run(batch)


class NoFingerprint(Hashing):
    fingerprint = None


class NoLength(Hashing):
    max_length = None


class NewFingerprint(Hashing):
    def __init__(self):
        super().__init__()
        self.fingerprint = str(id(self))


class CountsAll(Hashing):
    def plan(self, pairs):
        return Plan(super().plan(pairs).batches, cut_queries=[10_000])


class Constant(Hashing):
    def run(self, batch):
        return np.zeros(len(batch.positions), dtype=np.float32)


class Upside(Hashing):
    def __init__(self):
        super().__init__(lambda query, text: -len(set(query.split()) & set(text.split())))


@pytest.mark.parametrize(
    ("made", "test"),
    [
        (Leaves, "the_plan_has_every_pair_once"),
        (Twice, "the_plan_has_every_pair_once"),
        (Remembers, "the_plan_is_a_function_of_the_pairs_alone"),
        (Remembers, "plans_of_several_threads"),
        (InDoubles, "scores_are_finite_float32"),
        (ByColumn, "scores_are_finite_float32"),
        (Normalizes, "scores_do_not_depend_on_what_else_is_in_the_batch"),
        (Constant, "scores_do_not_depend_on_what_else_is_in_the_batch"),
        (Random, "scores_repeat_to_the_bit"),
        (Tramples, "runs_of_several_threads"),
        (NotANumber, "odd_texts"),
        (Chokes, "no_pairs"),
        (NoFingerprint, "the_facts_about_it"),
        (NewFingerprint, "the_facts_about_it"),
        (NoLength, "the_facts_about_it"),
        (CountsAll, "the_facts_of_a_plan"),
        (Upside, "higher_is_better"),
    ],
)
def test_the_contract_finds(made, test):
    contract = Given(made)
    with pytest.raises((AssertionError, TypeError)):
        getattr(contract, f"test_{test}")()


def test_the_contract_finds_a_cache_that_serves_another_models_scores():
    """Two backends with one fingerprint: the second gets the first one's scores."""
    made = []

    def make():
        backend = Hashing(lambda query, text: float(len(made)))
        backend.fingerprint = "the same"
        made.append(backend)
        return backend

    with pytest.raises(AssertionError, match="through the cache"):
        Given(make).test_a_cache_over_it()


def test_the_real_model_knows_relevance(reranker):
    Given(lambda: Open(reranker.backend)).test_higher_is_better()


class Open:
    """A backend that stays open for other tests."""

    def __init__(self, backend):
        self.plan, self.run = backend.plan, backend.run

    def close(self):
        pass
