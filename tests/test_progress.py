"""Progress bars: what they count, that they end at 100 %, that they do not fight, and the switch for all."""

import io
import json
import re
import time
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
import pytest
from collection import HashBackend, listed
from experiment import arguments, run, write_experiment
from pyserini_rerank import Cascade, ModelReranker, RerankingSearcher, load, progress
from pyserini_rerank.scoring.backend import Batch, Plan
from tqdm.auto import tqdm


class Terminal(io.StringIO):
    """A terminal that notes what is written to it, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[float, str]] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.shown.append((time.perf_counter(), text))
        return super().write(text)

    def steps(self, description: str) -> list[tuple[float, int, str]]:
        """Each state of a bar: when it was drawn, the per cent done, and the rest of the line."""
        found = [(at, re.search(rf"{description}: *(\d+)%\|[^|]*\| (.*)", text)) for at, text in self.shown]
        return [(at, int(match[1]), match[2]) for at, match in found if match]


@dataclass
class Hit:
    docid: str
    score: float


class SlowBackend(HashBackend):
    """Takes its time for each character; the longest pairs come first, a batch has some 2,000 characters."""

    def plan(self, pairs: Any) -> Plan:
        order = sorted(range(len(pairs)), key=lambda i: -len(pairs[i][1]))
        batches, start = [], 0
        while start < len(order):
            stop = start + max(1, 2_000 // len(pairs[order[start]][1]))
            positions = order[start:stop]
            batches.append(Batch(np.array(positions), [pairs[i] for i in positions]))
            start = stop
        return Plan(batches)

    def run(self, batch: Batch) -> Any:
        time.sleep(sum(len(text) for _, text in batch.inputs) / 100_000)
        return super().run(batch)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal on which bars are drawn at once and at every step."""
    made = Terminal()
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.setattr(tqdm, "__init__", partialmethod(tqdm.__init__, file=made, mininterval=0, miniters=0))
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    return made


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_experiment(tmp_path_factory.mktemp("small"), queries=6, hits=20)


def test_the_bar_predicts_the_time_though_the_longest_pairs_come_first(terminal: Terminal) -> None:
    """A twentieth of the pairs has half of the characters: of all pairs 5 % are done after half of the time."""
    texts = [f"{i} " + "long " * 190 for i in range(10)] + [f"{i} " + "short" * 10 for i in range(190)]
    start = time.perf_counter()
    ModelReranker(SlowBackend(), "slow").score("a query", texts)
    seconds = time.perf_counter() - start
    steps = terminal.steps("reranking")
    assert len(steps) > 5 and [percent for _, percent, _ in steps] == sorted(percent for _, percent, _ in steps)
    for at, percent, _ in steps:
        assert percent == pytest.approx(100 * (at - start) / seconds, abs=15)
    assert steps[-1][1] == 100 and all(" tokens" in rest for _, _, rest in steps)


def test_a_bar_ends_at_the_end(terminal: Terminal) -> None:
    """Also with equal pairs, which are scored once, and texts that are longer than the model reads."""
    with load("bundled", device="cpu", max_length=32) as reranker, pytest.warns(UserWarning, match="cut to 32"):
        reranker.score("a query", ["short"] * 3 + ["long " * 400, "another"])
    assert terminal.steps("reranking")[-1][1] == 100


def test_a_run_shows_its_queries_in_one_bar_also_within_a_shard(
    small: Any, terminal: Terminal, monkeypatch: Any
) -> None:
    """The run's six queries are one shard; the topics have more of them."""
    topics = small / "more.tsv"
    topics.write_text((small / "topics.tsv").read_text() + "".join(f"x{i}\tanother {i}\n" for i in range(60)))
    words = arguments(small, "bar.run", "--option", "batch_tokens=200")
    words[words.index("--topics") + 1] = str(topics)
    assert run(monkeypatch, *words) == 0
    steps = terminal.steps("reranking")
    assert all(re.match(r"\d/6 queries ", rest) for _, _, rest in steps)  # and no bar of tokens beside it
    percents = [percent for _, percent, _ in steps]
    assert percents == sorted(percents) and percents[-1] == 100
    assert len({percent for percent in percents if 0 < percent < 100}) > 10
    assert steps[-1][2].startswith("6/6 queries ")


def test_a_cascades_stages_move_the_bar_of_a_batch_one_after_the_other(
    terminal: Terminal, searcher: Any, queries: list[str]
) -> None:
    cascade = Cascade([(ModelReranker(SlowBackend(), "one"), 20), (ModelReranker(SlowBackend(), "two"), 10)])
    searcher.set_reranker(cascade)
    searcher.batch_search(queries, [str(i) for i in range(len(queries))], k=5)
    percents = [percent for _, percent, _ in terminal.steps("reranking")]
    assert percents == sorted(percents) and percents[-1] == 100 and 50 in percents
    assert all(f"/{len(queries)} queries" in rest for _, _, rest in terminal.steps("reranking"))


class AskingOneByOne:
    """A searcher whose batches are searches of another, which reranks."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def search(self, query: str, k: int = 10) -> Any:
        return self.inner.search(query, k)

    def batch_search(self, queries: list[str], qids: list[str], k: int = 10) -> dict[str, Any]:
        return {qid: self.search(query, k) for query, qid in zip(queries, qids, strict=True)}


def test_a_search_within_a_batch_does_not_move_the_bar_of_the_batch(
    terminal: Terminal, searcher: Any, queries: list[str], documents: dict[str, str]
) -> None:
    """It had the bar beyond its end, where tqdm does not draw it and raises."""
    searcher.set_reranker(ModelReranker(SlowBackend(), "inner"), depth=20)
    inner = ModelReranker(SlowBackend(), "of texts")

    def reranked(docid: str) -> str:
        inner.rerank("a query", [Hit("one", 1.0)], texts={"one": "a text"})
        return documents[docid]

    outer = ModelReranker(SlowBackend(), "outer")
    made = RerankingSearcher(AskingOneByOne(searcher), outer, depth=20, texts=reranked)
    found = made.batch_search(queries, [str(i) for i in range(len(queries))], k=5)
    percents = [percent for _, percent, rest in terminal.steps("reranking") if " queries " in rest]
    assert percents == sorted(percents) and percents[-1] == 100 and len(set(percents)) > 5
    texts = [text for _, text in terminal.shown]
    first = next(i for i, text in enumerate(texts) if re.search(r"[1-9]\d*%.* queries ", text))
    last = max(i for i, text in enumerate(texts) if " tokens" in text)
    assert last < first, "the bar of the queries moves when all of the inner ones have been shown"
    progress.progress_bars(False)
    again = made.batch_search(queries, list("abcdef"), k=5)
    assert [listed(hits) for hits in found.values()] == [listed(hits) for hits in again.values()]


def test_what_is_left_out_or_was_done_before_ends_at_the_end_as_well(
    small: Any, terminal: Terminal, monkeypatch: Any
) -> None:
    changed = small / "changed.run"
    changed.write_text((small / "first.run").read_text() + "bad\n" + "unknown Q0 d1 1 1.0 first\n")
    words = arguments(small, "left.run", "--skip-bad")
    words[words.index("--run") + 1] = str(changed)
    assert run(monkeypatch, *words) == 0
    assert json.loads((small / "left.run.json").read_text())["skipped"]
    assert terminal.steps("reranking")[-1][1] == 100


def test_a_notebooks_bar_is_full_as_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its widget keeps the total with which it was made."""
    from tqdm.notebook import tqdm as of_notebooks

    monkeypatch.setattr("tqdm.auto.tqdm", of_notebooks)
    monkeypatch.setattr(progress, "DELAY", 0)
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    with progress.queries_bar(6, "reranking", leave=True) as reach:
        reach(3)
        shown = progress._bar_around.get()
    assert isinstance(shown, of_notebooks)
    _, widget, figures = shown.container.children
    assert widget.value == widget.max and "6/6" in figures.value


@pytest.mark.parametrize("how", ["variable", "function", "tqdm"])
def test_one_switch_for_all_bars(how: str, small: Any, terminal: Terminal, monkeypatch: Any) -> None:
    """The bars are those of reading a collection, a run's queries and a call's tokens."""
    monkeypatch.setenv(progress.VARIABLE, "1")  # what a test sets is unset after it
    if how == "function":
        pyserini_rerank.progress_bars(False)
    else:
        monkeypatch.setenv(*{"variable": (progress.VARIABLE, "0"), "tqdm": ("TQDM_DISABLE", "1")}[how])
    assert run(monkeypatch, *arguments(small, f"{how}.run")) == 0
    ModelReranker(SlowBackend(), "slow").score("a query", ["some text"])
    assert "%|" not in terminal.getvalue()
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    pyserini_rerank.progress_bars(True)
    assert run(monkeypatch, *arguments(small, f"{how}.shown.run")) == 0
    assert {"reading docs.jsonl", "reranking"} <= set(re.findall(r"\r?([a-z. ]+): +\d+%\|", terminal.getvalue()))


def test_no_bar_is_made_but_by_this_file() -> None:
    """So that the switch holds for each of them."""
    package = Path(progress.__file__).parent
    users = [str(path.relative_to(package)) for path in package.rglob("*.py") if "import tqdm" in path.read_text()]
    assert users == ["progress.py"]
