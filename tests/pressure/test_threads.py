"""One searcher and one model under many threads."""

import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest
from collection import listed, threaded
from tiny_checkpoints import build

TINY = "cross-encoder/ms-marco-TinyBERT-L-2-v2"
THREADS = 8


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model that is quick, so that the searching is what is under pressure."""
    return build(TINY, tmp_path_factory.mktemp("small"))


def bits(hits: Any) -> list[tuple[str, str]]:
    return [(docid, score.hex()) for docid, score in listed(hits)]


@pytest.mark.slow
@pytest.mark.parametrize("searches", [20, pytest.param(500, marks=pytest.mark.stress)])
@pytest.mark.parametrize("kind", ["bm25", "impact"])
@pytest.mark.filterwarnings("ignore::pyserini_rerank.counts.CutWarning")
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
