"""Calls at the same time share batches: in turn, each with its own scores, counts and errors."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from collection import HashBackend, hashed, listed
from pyserini_rerank import AsyncReranker, Cascade, CutWarning, Ensemble, ModelReranker, Reranker, Windows, load
from pyserini_rerank.call import Call
from pyserini_rerank.scoring.backend import Batch, Plan
from tiny_checkpoints import build

QUERY = "how long is the life of a flea"
TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
OTHER = "cross-encoder/ms-marco-MiniLM-L-2-v2"


class GateBackend(HashBackend):
    """Its first batch waits until the gate is opened, so that further calls wait for a batch together."""

    budget = 2_000

    def __init__(self, score: Any = hashed) -> None:
        super().__init__(score)
        self.entered, self.gate = threading.Event(), threading.Event()
        self.batches: list[list[tuple[str, str]]] = []

    def close_gate(self) -> None:
        self.gate.clear()
        self.entered.clear()
        self.batches.clear()

    def plan(self, pairs: Any) -> Plan:
        super().plan(pairs)
        tokens = np.array([10 * (1 + text.count(" ")) for _, text in pairs], dtype=np.int64)
        return Plan([Batch(np.arange(len(pairs)), list(pairs))], tokens=tokens)

    def run(self, batch: Batch) -> np.ndarray:
        self.batches.append(batch.inputs)
        self.entered.set()
        assert self.gate.wait(30)
        return super().run(batch)


@pytest.fixture
def gated() -> Iterator[tuple[GateBackend, Reranker]]:
    backend = GateBackend()
    yield backend, ModelReranker(backend, "gated")
    backend.gate.set()


def texts(count: int, name: str) -> list[str]:
    return [f"{name}{number}" for number in range(count)]


def behind_the_gate(
    backend: GateBackend, reranker: Reranker, calls: Callable[[AsyncReranker], list[Awaitable[Any]]]
) -> list[Any]:
    """Make calls while a first one is being scored, then let all of them be scored."""

    async def main() -> list[Any]:
        async with AsyncReranker(reranker) as shared:
            first = asyncio.ensure_future(shared.score(QUERY, ["first"]))
            assert await asyncio.to_thread(backend.entered.wait, 30)
            others: list[asyncio.Future[Any]] = []
            jobs = shared.reranker.backend._jobs  # type: ignore[attr-defined]
            for call in calls(shared):  # one after another, so that they wait in the order in which they came
                others.append(asyncio.ensure_future(call))
                while len(jobs) < len(others) and not others[-1].done():
                    await asyncio.sleep(0.01)
            backend.gate.set()
            return [await first, *await asyncio.gather(*others, return_exceptions=True)]

    return asyncio.run(main())


def test_ten_documents_do_not_wait_for_a_thousand(gated: tuple[GateBackend, Reranker]) -> None:
    backend, reranker = gated
    many, few = texts(1000, "many"), texts(10, "few")
    _, of_many, of_few = behind_the_gate(
        backend, reranker, lambda shared: [shared.score(QUERY, many), shared.score(QUERY, few)]
    )
    assert of_many.tolist() == [hashed(QUERY, text) for text in many]
    assert of_few.tolist() == [hashed(QUERY, text) for text in few]
    first, second, *rest = backend.batches
    assert first == [(QUERY, "first")]
    assert {text for _, text in second} >= set(few) and len(second) == 200, "a batch has 2,000 tokens of ten each"
    assert [len(batch) for batch in rest] == [200, 200, 200, 200, 10]


def test_long_texts_take_the_room_of_several(gated: tuple[GateBackend, Reranker]) -> None:
    backend, reranker = gated
    long, short = [" ".join(["word"] * 199) + f" {n}" for n in range(3)], texts(5, "short")
    behind_the_gate(backend, reranker, lambda shared: [shared.score(QUERY, short), shared.score(QUERY, long)])
    assert [len(batch) for batch in backend.batches] == [1, 5, 1, 1, 1], "a text of 2,000 tokens fills a batch"


def test_equal_pairs_are_scored_once(gated: tuple[GateBackend, Reranker]) -> None:
    backend, reranker = gated
    same = texts(20, "same")
    _, *scores = behind_the_gate(backend, reranker, lambda shared: [shared.score(QUERY, same) for _ in range(30)])
    assert [len(batch) for batch in backend.batches] == [1, 20]
    assert all(of_call.tolist() == [hashed(QUERY, text) for text in same] for of_call in scores)


def test_a_cancelled_call_drops_its_work(gated: tuple[GateBackend, Reranker]) -> None:
    backend, reranker = gated

    async def main() -> None:
        async with AsyncReranker(reranker) as shared:
            first = asyncio.ensure_future(shared.score(QUERY, ["first"]))
            assert await asyncio.to_thread(backend.entered.wait, 30)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(shared.score(QUERY, texts(1000, "dropped")), 0.3)
            kept = asyncio.ensure_future(shared.rank(QUERY, ["kept"]))
            await asyncio.sleep(0.1)
            backend.gate.set()
            await first
            assert [text.text for text in await kept] == ["kept"]

    asyncio.run(main())
    assert backend.batches == [[(QUERY, "first")], [(QUERY, "kept")]]


def test_a_dropped_call_does_not_begin_its_next_stage(gated: tuple[GateBackend, Reranker]) -> None:
    """A cascade whose first stage was running when its call was dropped."""
    backend, reranker = gated
    second = HashBackend()

    async def main() -> None:
        async with AsyncReranker(Cascade([(reranker, 10), (ModelReranker(second, "second"), 5)])) as shared:
            task = asyncio.ensure_future(shared.score(QUERY, texts(5, "text")))
            assert await asyncio.to_thread(backend.entered.wait, 30)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            backend.gate.set()

    asyncio.run(main())
    assert len(backend.batches) == 1 and second.planned == []


@pytest.mark.parametrize("bad", ["raises", "nan"])
def test_an_error_reaches_the_call_that_it_belongs_to(bad: str) -> None:
    def score(query: str, text: str) -> float:
        if text == "bad" and bad == "raises":
            raise RuntimeError("no memory for this text")
        return np.nan if text == "bad" else hashed(query, text)

    backend = GateBackend(score)
    _, good, failed, also_good = behind_the_gate(
        backend,
        ModelReranker(backend, "gated"),
        lambda shared: [
            shared.score(QUERY, ["a", "b"]),
            shared.score(QUERY, ["c", "bad", "d"]),
            shared.score(QUERY, ["e"]),
        ],
    )
    assert good.tolist() == [hashed(QUERY, "a"), hashed(QUERY, "b")] and also_good.tolist() == [hashed(QUERY, "e")]
    if bad == "raises":
        assert isinstance(failed, RuntimeError) and str(failed) == "no memory for this text"
    else:
        assert isinstance(failed, FloatingPointError) and "the passage 'bad'" in str(failed)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    parent = tmp_path_factory.mktemp("models")
    return build(TINY, parent), build(OTHER, parent)


COMBINATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "a checkpoint": lambda one, _: one,
    "a cascade": lambda one, two: Cascade([(one, 100), (two, 7)]),
    "an ensemble": lambda one, two: Ensemble([(one, 1.0), (two, 2.0)]),
    "the same twice": lambda one, _: Cascade([(one, 100), (one, 5)]),
    "windows": lambda one, _: Windows(one, size=16, stride=8),
    "a cascade within windows": lambda one, two: Windows(Cascade([(one, 100), (two, 3)]), size=16, stride=16),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "combination"),
    [
        pytest.param(backend, name, marks=[pytest.mark.stress] * (backend == "onnx" and "within" not in name))
        for backend in ("torch", "onnx")
        for name in COMBINATIONS
    ],
)
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")
def test_calls_at_once_get_what_they_get_alone(
    combination: str, backend: str, folders: tuple[Path, Path], documents: dict[str, str], tmp_path: Path
) -> None:
    """Scores, ranks and counts, with a score cache over one of the two checkpoints."""
    random = Random(combination)
    questions = [
        (f"{QUERY} {number % 9}", random.sample(list(documents.values()), random.randint(1, 40)))
        for number in range(40)
    ]
    with (
        load(folders[0], backend=backend, max_length=64, cache=tmp_path / "scores") as one,
        load(folders[1], backend=backend, max_length=64) as two,
    ):
        plain = COMBINATIONS[combination](one, two)
        expected = [plain.score(query, passages) for query, passages in questions]

        async def main() -> tuple[list[Any], Any]:
            async with AsyncReranker(COMBINATIONS[combination](one, two)) as shared:
                found = await asyncio.gather(*(shared.score(*question) for question in questions))
                ranked = await shared.rank(*questions[0], top_k=3)
                assert [text.text for text in ranked] == [text.text for text in plain.rank(*questions[0], top_k=3)]
                return found, shared.reranker.counts

        found, counts = asyncio.run(main())
        for scores, others in zip(found, expected, strict=True):
            np.testing.assert_allclose(scores, others, rtol=0, atol=1e-4)
        assert np.ptp(np.concatenate(expected)) > 0.01, "all scores are nearly equal, so that this test cannot fail"
        assert vars(counts) == vars(plain.counts)
        assert one.score(QUERY, ["the flea"]).shape == (1,), "a reranker that was loaded before stays open"


def test_searches_at_once(searcher: Any, queries: list[str], folders: tuple[Path, Path]) -> None:
    async def main() -> list[Any]:
        async with AsyncReranker(folders[0], device="cpu") as shared:
            searcher.set_reranker(shared.reranker, depth=20)
            found = await asyncio.gather(*(shared.search(searcher, query, k=10) for query in queries * 3))
            one = await shared.rerank(queries[0], found[0], k=3, texts=searcher)
            pairs = await shared.predict([(queries[0], "a text"), (queries[1], "another")])
            own = await shared.call(lambda query: shared.reranker.score(query, ["a text"]), queries[0])
            assert abs(own[0] - pairs[0]) < 1e-4 and len(one) == 3
            searcher.unset_reranker()
            return found

    found = asyncio.run(main())
    with load(folders[0], device="cpu") as plain:
        searcher.set_reranker(plain, depth=20)
        for query, hits in zip(queries * 3, found, strict=True):
            expected = searcher.search(query, k=10)
            assert [docid for docid, _ in listed(hits)] == [docid for docid, _ in listed(expected)]
            np.testing.assert_allclose([hit.score for hit in hits], [hit.score for hit in expected], rtol=0, atol=1e-4)


def test_closing(folders: tuple[Path, Path]) -> None:
    shared = AsyncReranker(folders[0], device="cpu")
    assert len(asyncio.run(shared.score(QUERY, ["a flea"]))) == 1
    shared.close()
    with pytest.raises(RuntimeError, match="is closed: load it again"):
        shared.reranker.score(QUERY, ["a flea"])


def test_a_warning_points_at_the_line_that_awaits(folders: tuple[Path, Path]) -> None:
    async def main() -> None:
        async with AsyncReranker(folders[0], device="cpu", max_length=16) as shared:
            with pytest.warns(CutWarning, match="1 of 1 passages") as caught:
                await shared.score(QUERY, ["the flea lives on a cat " * 9])
            assert caught[0].filename == __file__

    asyncio.run(main())


def test_a_call_of_several_plans(monkeypatch: pytest.MonkeyPatch, hashing: Reranker) -> None:
    """Its pairs are planned and scored in other threads, which work for the call as well: figures, and dropping."""
    monkeypatch.setattr("pyserini_rerank.model.PLANNED_TOGETHER", 3)
    many = texts(10, "many")

    async def main() -> None:
        async with AsyncReranker(hashing) as shared:
            call = Call()
            scores = await shared.run(call, lambda: shared.reranker.score(QUERY, many))
            assert scores.tolist() == [hashed(QUERY, text) for text in many] and call.pairs == 10
            call.drop()
            with pytest.raises(asyncio.CancelledError):
                await shared.run(call, lambda: shared.reranker.score(QUERY, many))

    asyncio.run(main())


def test_a_batch_of_searches_beside_calls(searcher: Any, queries: list[str], hashing: Reranker) -> None:
    """`batch_search` with a reranker that shares batches, a cascade around it, and awaited calls at the same time."""

    async def main() -> tuple[Any, list[Any]]:
        async with AsyncReranker(hashing) as shared:
            searcher.set_reranker(Cascade([(shared.reranker, 20), (shared.reranker, 5)]))
            batch = shared.call(searcher.batch_search, queries, queries, k=10, threads=2)
            calls = [shared.score(QUERY, texts(30, str(number))) for number in range(20)]
            found, *scores = await asyncio.gather(batch, *calls)
            searcher.unset_reranker()
            return found, scores

    found, scores = asyncio.run(main())
    assert [of_call.tolist() for of_call in scores] == [
        [hashed(QUERY, text) for text in texts(30, str(number))] for number in range(20)
    ]
    searcher.set_reranker(Cascade([(hashing, 20), (hashing, 5)]))
    expected = searcher.batch_search(queries, queries, k=10, threads=2)
    assert {qid: listed(hits) for qid, hits in found.items()} == {qid: listed(hits) for qid, hits in expected.items()}


class TwoWorkers(HashBackend):
    """A batch waits for another one, so that it fails unless two are scored at the same time."""

    workers, budget = 2, 100

    def __init__(self) -> None:
        super().__init__()
        self.both = threading.Barrier(2, timeout=20)

    def plan(self, pairs: Any) -> Plan:
        super().plan(pairs)
        return Plan([Batch(np.arange(len(pairs)), list(pairs))], tokens=np.full(len(pairs), 10, dtype=np.int64))

    def run(self, batch: Batch) -> np.ndarray:
        self.both.wait()
        time.sleep(0.05)
        return super().run(batch)


def test_a_single_call_uses_all_workers() -> None:
    """Its figures are those of a clock: two batches at the same time take their time once."""
    many = texts(40, "many")

    async def main() -> Call:
        async with AsyncReranker(ModelReranker(TwoWorkers(), "two")) as shared:
            call, start = Call(), time.perf_counter()
            scores = await shared.run(call, lambda: shared.reranker.score(QUERY, many))
            assert scores.tolist() == [hashed(QUERY, text) for text in many]
            assert call.waited >= 0 and 0.1 <= call.scored <= time.perf_counter() - start
            return call

    assert asyncio.run(main()).pairs == 40


def test_a_server_that_is_not_there_is_asked_once_for_all() -> None:
    """And a call that was dropped is not scored alone either."""
    tried = []

    def score(query: str, text: str) -> float:
        if text == "first":
            return hashed(query, text)
        tried.append(text)
        raise ConnectionError("it cannot be reached")

    backend = GateBackend(score)
    _, *failed = behind_the_gate(
        backend, ModelReranker(backend, "gated"), lambda shared: [shared.score(QUERY, [name]) for name in "abc"]
    )
    assert [str(error) for error in failed] == ["it cannot be reached"] * 3 and len(tried) == 1


def test_closing_waits_for_calls_in_threads() -> None:
    backend = GateBackend()
    shared = AsyncReranker(ModelReranker(backend, "gated"))
    with ThreadPoolExecutor(2) as pool:
        many = texts(1000, "many")
        call = pool.submit(shared.reranker.score, QUERY, many)
        assert backend.entered.wait(30)
        closing = pool.submit(shared.close)
        time.sleep(0.1)
        backend.gate.set()
        closing.result()
        assert call.result().tolist() == [hashed(QUERY, text) for text in many]
