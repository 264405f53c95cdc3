"""How long one pair takes with so many threads, alone and beside other processes that are busy.

    python tests/benchmark_latency.py [PAIRS] [BUSY PROCESSES]

prints the median, the ninth of ten and the longest of so many calls that score one pair.
"""

import subprocess
import sys
import time
from typing import Any

import numpy as np
import pyserini_rerank

PASSAGE = "The flea lives for two or three months, and longer where there is blood to feed on. " * 4
BUSY = "while True: pass"
OPTIONS: dict[str, dict[str, Any]] = {
    "torch, default": {},
    "torch, threads=1": {"threads": 1},
    "torch, threads=2": {"threads": 2},
    "onnx": {"backend": "onnx"},
    "openvino": {"backend": "openvino"},
}


def main(pairs: int = 50, busy: int = 2) -> None:
    rerankers = {name: pyserini_rerank.load("bundled", **options) for name, options in OPTIONS.items()}
    for others in (0, busy):
        processes = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(others)]
        try:
            for name, reranker in rerankers.items():
                milliseconds = np.array([_timed(reranker, number) for number in range(pairs)])[5:]
                median, ninth = np.percentile(milliseconds, [50, 90])
                print(f"{others} busy, {name}: {median:.0f} / {ninth:.0f} / {milliseconds.max():.0f} ms", flush=True)
        finally:
            for process in processes:
                process.kill()


def _timed(reranker: pyserini_rerank.Reranker, number: int) -> float:
    start = time.perf_counter()
    reranker.score(f"how long does flea {number} live?", [PASSAGE])
    return 1000 * (time.perf_counter() - start)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
