"""Warnings name the line of the user's own code."""

import inspect
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from collection import HashBackend
from experiment import arguments, write_experiment
from forking import python
from pyserini_rerank import (
    Cascade,
    CutWarning,
    Interpolation,
    ModelReranker,
    OutOfMemoryWarning,
    Reranker,
    RerankingSearcher,
    Segments,
)
from pyserini_rerank.caller import warn
from pyserini_rerank.scoring.backend import Batch, Plan


class CuttingBackend(HashBackend):
    """Says that it has cut a passage, and runs out of memory in the threads of its workers."""

    workers = 2

    def plan(self, pairs: Any) -> Plan:
        rows = np.array_split(np.arange(len(pairs)), 2)
        return Plan([Batch(some, [pairs[i] for i in some]) for some in rows if len(some)], cut_passages=[0])

    def run(self, batch: Any) -> Any:
        warn("no memory", OutOfMemoryWarning)
        return super().run(batch)


def cutting(name: str = "cutting") -> ModelReranker:
    return ModelReranker(CuttingBackend(), name)


MAKERS: dict[str, Callable[[], Reranker]] = {
    "model": cutting,
    "cascade": lambda: Cascade([(cutting("one"), 40), (cutting("two"), 3)]),
    "nested": lambda: Segments(Cascade([(Interpolation(cutting()), 40)])),
}


def where(call: Callable[[], Any]) -> set[tuple[str, int]]:
    """Call something on one line, and give the places that its warnings name."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    assert {warning.category for warning in said} >= {CutWarning, OutOfMemoryWarning}
    return {(warning.filename, warning.lineno) for warning in said}


@pytest.mark.parametrize("kind", list(MAKERS))
def test_searching_and_reranking_name_the_line_that_calls(kind: str, make_searcher: Any, queries: list[str]) -> None:
    searcher, plain = make_searcher("bm25"), make_searcher("bm25")
    make, qids = MAKERS[kind], [str(i) for i in range(len(queries))]
    hits = plain.search(queries[0], 50)
    calls: list[Callable[[], Any]] = [
        lambda: make().rerank(queries[0], hits),
        lambda: RerankingSearcher(plain, make()).search(queries[0], k=50),
        lambda: RerankingSearcher(plain, make()).batch_search(queries, qids, k=50),
    ]
    for method, given in (("search", (queries[0],)), ("batch_search", (queries, qids))):
        calls.append(lambda method=method, given=given: getattr(searcher, method)(*given, k=50))  # type: ignore[misc]
    for call in calls:
        searcher.set_reranker(make())
        assert where(call) == {(__file__, call.__code__.co_firstlineno)}, inspect.getsource(call)


@pytest.mark.parametrize("make", [cutting, lambda: Segments(cutting())], ids=["model", "combination"])
def test_scoring_names_the_line_that_calls(make: Callable[[], Reranker]) -> None:
    texts = [f"text {i}" for i in range(100)]
    calls: list[Callable[[], Any]] = [
        lambda: make().score("a query", texts),
        lambda: make().predict([("a query", text) for text in texts]),
    ]
    for call in calls:
        assert where(call) == {(__file__, call.__code__.co_firstlineno)}


def test_what_pyserini_calls_names_the_line_that_calls_pyserini(make_searcher: Any, queries: list[str]) -> None:
    """A fusion searcher calls the searchers within it, which are reranked."""
    fusion = make_searcher("fusion")
    for searcher in fusion.searchers:
        searcher.set_reranker(cutting(), depth=50)
    call = lambda: fusion.search(queries[0], k=50)  # noqa: E731
    assert where(call) == {(__file__, call.__code__.co_firstlineno)}


def test_a_threads_warning_may_be_made_an_error() -> None:
    texts = [f"text {i}" for i in range(100)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", OutOfMemoryWarning)
        with pytest.raises(OutOfMemoryWarning, match="no memory"):
            cutting().score("a query", texts)


@pytest.mark.slow
def test_a_command_shows_the_message_alone(tmp_path: Path) -> None:
    """There is no line of the user's to name."""
    small = write_experiment(tmp_path, queries=2, hits=5)
    words = [python(), "-m", "pyserini_rerank", *arguments(small, "out.run", "--max-length", "12")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("pyserini-rerank: ") and len(done.stderr.splitlines()) == 1
    assert "were cut to 12 tokens" in done.stderr and ".py" not in done.stderr
