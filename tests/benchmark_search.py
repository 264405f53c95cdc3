"""How long a person waits for one query whose 100 candidates are reranked, for each backend and dtype of the CPU.

    python tests/benchmark_search.py [QUERIES]

prints the median and the 95th of 100 of so many searches, in milliseconds, with the bundled MiniLM-L-12 and with its
first six layers, which is MiniLM-L-6's shape. The last column is the first search, after the model was loaded.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.scoring.checkpoints import bundled
from rounds import asked, indexed, shortened

DEPTH, K = 100, 10
WAYS = [
    {"backend": "torch", "device": "cpu"},
    {"backend": "torch", "device": "cpu", "dtype": "bfloat16"},
    {"backend": "onnx"},
    {"backend": "onnx", "dtype": "int8"},
    {"backend": "openvino"},
    {"backend": "openvino", "dtype": "bfloat16"},
    {"backend": "openvino", "dtype": "int8"},
]


def main(count: int = 10) -> None:
    with tempfile.TemporaryDirectory() as folder:
        indexed(str(Path(folder, "index")))
        searcher = LuceneSearcher(str(Path(folder, "index")))
        six = shortened(bundled.folder(), Path(folder, "six"), layers=6)
        for name, checkpoint in (("12 layers", "bundled"), ("6 layers", six)):
            for way in WAYS:
                with pyserini_rerank.load(checkpoint, **way) as reranker:
                    searcher.set_reranker(reranker, depth=DEPTH)
                    taken = [timed(searcher, query) for query in asked(count + 1)]
                    median, most = np.percentile(taken[1:], [50, 95])
                    print(
                        f"{median:7.0f} / {most:7.0f} ms, first {taken[0]:7.0f}  {name}, {' '.join(way.values())}",
                        flush=True,
                    )
                    searcher.unset_reranker()


def timed(searcher: LuceneSearcher, query: str) -> float:
    start = time.perf_counter()
    searcher.search(query, k=K)
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
