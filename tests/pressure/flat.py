"""Reranks more and more hits, and tells the peak of the memory after each: ``flat.py QUERIES ...``.

The queries are 1,000 hits deep, of which ten come back, and the scores are zero: the memory is that of everything but
the model. In a process of its own, since a process has one peak. A line a number of queries: the pairs so far, the
bytes, the seconds.
"""

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyserini_rerank
from rounds import asked, indexed


def main(counts: list[int]) -> None:
    from pyserini.search.lucene import LuceneSearcher

    reranker = pyserini_rerank.load("bundled", device="cpu")
    reranker.backend.run = lambda batch: np.zeros(len(batch.positions), dtype=np.float32)
    with tempfile.TemporaryDirectory() as folder:
        indexed(str(Path(folder, "index")))
        searcher = LuceneSearcher(str(Path(folder, "index")))
        searcher.set_reranker(reranker, depth=1000)
        for count in counts:
            start = time.perf_counter()
            searcher.batch_search(asked(count), [str(number) for number in range(count)], k=10, threads=2)
            seconds = time.perf_counter() - start
            print(reranker.counts.pairs, 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, seconds)


if __name__ == "__main__":
    main(list(map(int, sys.argv[1:])))
