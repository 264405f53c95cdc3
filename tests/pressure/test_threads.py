"""One searcher and one model under many threads, and under many searches."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from collection import listed, threaded
from tiny_checkpoints import build

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
THREADS = 8
MEBI = 2**20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that is quick, so that the searching is what is under pressure."""
    return build(TINY, tmp_path_factory.mktemp("small"))


def bits(hits: Any) -> list[tuple[str, str]]:
    return [(docid, score.hex()) for docid, score in listed(hits)]


@pytest.mark.parametrize("searches", [20, pytest.param(500, marks=pytest.mark.stress)])
@pytest.mark.parametrize("kind", ["bm25", "impact"])
@pytest.mark.filterwarnings("ignore::pyserini_rerank.reranker.CutWarning")
def test_eight_threads_get_what_one_gets(
    kind: str, searches: int, make_searcher: Any, small: Path, queries: list[str]
) -> None:
    """To the bit: searches and batches of one to six queries mixed, with a tail below the depth."""
    searcher = make_searcher(kind)
    searcher.set_reranker(small, depth=5, device="cpu", max_length=64)
    batches = [queries[i:] + queries[:i] for i in range(6)] + [[query] for query in queries]

    def search(query: str) -> Any:
        return bits(searcher.search(query, 8))

    def batch(place: int) -> Any:
        qids = [str(number) for number in range(len(batches[place]))]
        return {qid: bits(hits) for qid, hits in searcher.batch_search(batches[place], qids, 8, threads=2).items()}

    alone = {query: search(query) for query in queries}
    together = [batch(place) for place in range(len(batches))]
    start = threading.Barrier(THREADS)

    def wrong(thread: int) -> int:
        chance = Random(thread)
        start.wait()
        found = 0
        for number in range(searches):
            query, place = chance.choice(queries), chance.randrange(len(batches))
            found += search(query) != alone[query] if number % 5 else batch(place) != together[place]
        return found

    assert threaded(THREADS, wrong, list(range(THREADS))) == [0] * THREADS


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the resident memory is read as Linux tells it")
@pytest.mark.parametrize("searches", [200, pytest.param(10_000, marks=pytest.mark.stress)])
def test_nothing_grows(searches: int, lucene_index: str, small: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("growth.py")), lucene_index, str(small), str(searches)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    before, after = json.loads(done.stdout.splitlines()[-1])
    print(f"{searches:,} searches:", {name: (before[name], after[name]) for name in before})
    # One that every search kept would be there as often as it was searched.
    for name in ("handles", "ScoredDoc", "Document", "ArrayList"):
        assert after[name] < before[name] + 50, name
    assert after["java"] < before["java"] + 2 * MEBI
    assert after["resident"] < before["resident"] + 64 * MEBI
