"""How long a person waits for one query, beside the model: a search whose 100 candidates are reranked by zeros.

    python tests/benchmark_query.py [QUERIES]

prints the median and the ninth of ten of Pyserini's own `search`, of the reranked one, and of the steps in it, each in
milliseconds. The two searches take turns, and each query comes once, so that nothing is known beforehand.
"""

import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank import searcher as searcher_module
from pyserini_rerank.retrieval.searcher_adapter import SearcherAdapter
from rounds import asked, indexed

DEPTH, K = 100, 10
WARM_UP = 20


def main(count: int = 120) -> None:
    seconds: dict[str, list[float]] = defaultdict(list)

    def timed(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                seconds[step].append(time.perf_counter() - start)

        return call

    with tempfile.TemporaryDirectory() as folder:
        indexed(folder)
        plain, reranked = LuceneSearcher(folder), LuceneSearcher(folder)
        reranker = pyserini_rerank.load("bundled", device="cpu")
        backend = reranker.backend
        backend.run = lambda batch: np.zeros(len(batch.positions), dtype=np.float32)
        reranked.set_reranker(reranker, depth=DEPTH)
        first_stage = timed("  first stage: Lucene, and reading its hits", SearcherAdapter.search)
        SearcherAdapter.search = first_stage  # type: ignore[method-assign]
        searcher_module.passages = timed("  texts of the hits", searcher_module.passages)
        backend.plan = timed("  plan", backend.plan)
        reranker.to_hits = timed("  hits", reranker.to_hits)
        ways = {
            "Pyserini's search, k=10": timed("Pyserini's search, k=10", lambda query: plain.search(query, k=K)),
            "Pyserini's search, k=100": timed("Pyserini's search, k=100", lambda query: plain.search(query, k=DEPTH)),
            "reranked search": timed("reranked search", lambda query: reranked.search(query, k=K)),
        }
        words = asked(140)
        for number in range(count + WARM_UP):
            query = f"{words[number % len(words)]} {words[(7 * number + 3) % len(words)]}"
            for way in ways.values():
                way(query)
    for step, taken in sorted(seconds.items(), key=lambda item: item[0].startswith(" ")):
        median, ninth = np.percentile(1000 * np.array(taken[WARM_UP:]), [50, 90])
        print(f"{median:7.2f} / {ninth:6.2f} ms  {step}")
    beyond = np.array(seconds["reranked search"]) - np.array(seconds["Pyserini's search, k=100"])
    print(f"{1000 * np.median(beyond[WARM_UP:]):7.2f} ms at the median beyond Pyserini's own search of as many hits")
    beyond = np.array(seconds["reranked search"]) - np.array(seconds["Pyserini's search, k=10"])
    print(f"{1000 * np.median(beyond[WARM_UP:]):7.2f} ms at the median beyond Pyserini's own search of 10")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
