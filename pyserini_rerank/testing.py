"""The contract of backends, as tests that the author of a backend can run.

pytest collects a subclass whose name begins with ``Test``; this module does not import pytest. ::

    from pyserini_rerank.testing import BackendContract

    class TestMyBackend(BackendContract):
        def make(self):
            return MyBackend("my-model")
"""

from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from tempfile import TemporaryDirectory
from unittest import SkipTest

import numpy as np

from .scoring.backend import Backend, Pair, Plan, complete, score
from .scoring.backends.cached_backend import CachedBackend

QUERIES = ["how many people live in Berlin?", "long life cycle of a flea", "cat"]
PASSAGES = [
    "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
    "Berlin is well known for its museums.",
    "The flea lives for two or three months, and longer where there is blood to feed on. " * 4,
    "a dog",
    "cat",
]
#: Every query with every passage, so that neighbours differ in query and length.
PAIRS: list[Pair] = [(query, passage) for passage in PASSAGES for query in QUERIES]
#: Texts that break a backend that was tested with plain text only.
ODD = ["🐛🦟 👩‍👩‍👧", "a\0b", "\u202eאב ‏مرحبا", "?", "\u200b", "\ufffd", " \t\r\n x", "flea " * 2_000, "x" * 20_000]
#: A query, a passage that answers it, and a passage that does not.
OBVIOUS = (QUERIES[0], PASSAGES[0], PASSAGES[3])
#: How much a float32 score may differ when other pairs are in the batch.
TOLERANCE = 1e-4


class BackendContract(ABC):
    """The tests of the protocol `pyserini_rerank.scoring.backend.Backend`: subclass it and override `make`.

    Attributes
    ----------
    knows_relevance : bool
        Set it to True for a trained model: an obvious answer then has to score higher than a passage about
        something else.
    """

    knows_relevance = False

    @abstractmethod
    def make(self) -> Backend:
        """Make the backend to test; every test closes the backends that it makes."""

    def test_the_facts_about_it(self) -> None:
        with closing(self.make()) as backend:
            length, fingerprint = backend.max_length, backend.fingerprint
            assert isinstance(length, int) and length >= 0, (
                f"max_length is {length!r}, not a number of tokens, or 0 if that is unknown"
            )
            assert isinstance(fingerprint, str), f"fingerprint is {fingerprint!r}: give a str, '' if there is none"
            assert backend.fingerprint == fingerprint, "the fingerprint changes from one reading to the next"
        with closing(self.make()) as again:
            assert again.fingerprint == fingerprint, "the same backend made again has another fingerprint"

    def test_the_plan_has_every_pair_once(self) -> None:
        with closing(self.make()) as backend:
            for pairs in (PAIRS, PAIRS[:1], PAIRS + PAIRS[:2]):
                planned = [position for batch in _positions(backend.plan(pairs)) for position in batch]
                assert sorted(planned) == list(range(len(pairs))), (
                    f"the plan of {len(pairs)} pairs has the positions {planned}"
                )

    def test_the_plan_is_a_function_of_the_pairs_alone(self) -> None:
        with closing(self.make()) as backend:
            first = _positions(backend.plan(PAIRS))
            backend.plan(PAIRS[3:9])
            assert _positions(backend.plan(PAIRS)) == first, "a second plan of the same pairs differs from the first"
        with closing(self.make()) as again:
            assert _positions(again.plan(PAIRS)) == first, (
                "the same backend made again makes another plan of the same pairs"
            )

    def test_plans_of_several_threads(self) -> None:
        parts = [PAIRS[start:] for start in range(8)]
        with closing(self.make()) as backend, ThreadPoolExecutor(len(parts)) as pool:
            expected = [_positions(backend.plan(part)) for part in parts]
            assert [_positions(plan) for plan in pool.map(backend.plan, parts * 4)] == expected * 4

    def test_the_facts_of_a_plan(self) -> None:
        with closing(self.make()) as backend:
            plan = backend.plan(PAIRS)
            for name in ("cut_passages", "cut_queries", "unknown"):
                positions = list(getattr(plan, name))
                assert set(positions) <= set(range(len(PAIRS))) and len(positions) == len(set(positions)), (
                    f"{name} is {positions!r}: give positions from 0 to {len(PAIRS) - 1}, each once"
                )
            assert plan.tokens is None or (plan.tokens.shape == (len(PAIRS),) and (plan.tokens > 0).all()), (
                f"tokens is {plan.tokens!r}: give the tokens of each pair, or None"
            )

    def test_scores_are_finite_float32(self) -> None:
        with closing(self.make()) as backend:
            for batch in backend.plan(PAIRS).batches:
                scores = backend.run(batch)
                assert isinstance(scores, np.ndarray) and scores.dtype == np.float32, f"run() gave {scores!r}"
                assert scores.shape == batch.positions.shape, f"{scores.shape} scores of {batch.positions.shape} pairs"
                assert np.isfinite(scores).all(), f"these scores are not all finite: {scores}"

    def test_scores_do_not_depend_on_what_else_is_in_the_batch(self) -> None:
        with closing(self.make()) as backend:
            together = score(backend, PAIRS)
            alone = np.concatenate([score(backend, [pair]) for pair in PAIRS])
            np.testing.assert_allclose(together, alone, rtol=0, atol=TOLERANCE)
            backwards = score(backend, PAIRS[::-1])[::-1]
            np.testing.assert_allclose(together, backwards, rtol=0, atol=TOLERANCE)
            assert np.ptp(together) > 100 * TOLERANCE, "all scores are nearly equal, so that this test cannot fail"

    def test_scores_repeat_to_the_bit(self) -> None:
        with closing(self.make()) as backend:
            assert score(backend, PAIRS).tobytes() == score(backend, PAIRS).tobytes()

    def test_runs_of_several_threads(self) -> None:
        with closing(self.make()) as backend:
            workers = complete(backend).workers
            assert isinstance(workers, int) and workers >= 1, f"workers is {workers!r}: give a number of threads"
            batches = [backend.plan([pair]).batches[0] for pair in PAIRS * 4]
            in_turn = [backend.run(batch).tobytes() for batch in batches]
            with ThreadPoolExecutor(workers) as pool:
                at_once = [scores.tobytes() for scores in pool.map(backend.run, batches)]
            assert at_once == in_turn, f"with {workers} threads the scores have other bits"

    def test_higher_is_better(self) -> None:
        if not self.knows_relevance:
            raise SkipTest("the backend does not claim to know what is relevant")
        query, good, bad = OBVIOUS
        with closing(self.make()) as backend:
            better, worse = score(backend, [(query, good), (query, bad)])
            assert better > worse, f"the answer scored {better}, a passage about something else {worse}"

    def test_no_pairs(self) -> None:
        with closing(self.make()) as backend:
            assert score(backend, []).shape == (0,)

    def test_odd_texts(self) -> None:
        pairs: list[Pair] = [(query, text) for text in ODD for query in ("cat", text)]
        with closing(self.make()) as backend:
            scores = score(backend, pairs)
            for (query, text), value in zip(pairs, scores, strict=True):
                assert np.isfinite(value), f"scored {value}: the query {query[:20]!r} and the passage {text[:20]!r}"

    def test_closing_again_is_no_error(self) -> None:
        backend = self.make()
        score(backend, PAIRS[:1])
        backend.close()
        backend.close()

    def test_a_cache_over_it(self) -> None:
        with TemporaryDirectory() as folder:
            with closing(self.make()) as backend:
                if not backend.fingerprint:
                    raise SkipTest("a backend without a fingerprint cannot be cached")
                plain = score(backend, PAIRS)
            with closing(CachedBackend(self.make(), folder)) as cached:
                assert score(cached, PAIRS).tobytes() == plain.tobytes(), "through the cache the scores have other bits"
            with closing(CachedBackend(self.make(), folder)) as cached:
                assert score(cached, PAIRS).tobytes() == plain.tobytes(), "the cache gave back scores with other bits"
                assert cached.known_scores == len(PAIRS), f"the cache knew {cached.known_scores} of {len(PAIRS)} scores"


def _positions(plan: Plan) -> list[list[int]]:
    return [batch.positions.tolist() for batch in plan.batches]
