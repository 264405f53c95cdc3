"""What it costs to have a batch's hits with their texts in Python, three ways.

Run as ``python tests/benchmark_reading.py [queries] [rounds]``. Real documents (the standard library's
docstrings, cut to 60 words as MS MARCO's passages have them, each stored four times over so that 1,000
hits a query are there), real Lucene; the ways alternate, and the figures are medians over the rounds
after one that warms Java up.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import pyserini_rerank  # noqa: F401  (starts Java)
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.cli.demo import _questions
from pyserini_rerank.cli.docstrings import index, read
from pyserini_rerank.retrieval.first_stage import FirstStage

K = 1000
THREADS = 2


def main(queries: int = 90, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        passages = {docid: " ".join(text.split()[:60]) for docid, text in read()}
        index({f"{docid}.{copy}": text for copy in range(4) for docid, text in passages.items()}, folder)
        searcher = LuceneSearcher(folder)
        asked = ([question["question"] for question in _questions()] * 2)[:queries]
        qids = [str(i) for i in range(len(asked))]

        def one_by_one() -> int:
            return sum(len([hit.lucene_document.get("raw") for hit in searcher.search(text, k=K)]) for text in asked)

        def batch() -> int:
            found = searcher.batch_search(asked, qids, k=K, threads=THREADS)
            return sum(len([hit.lucene_document.get("raw") for hit in hits]) for hits in found.values())

        def bulk() -> int:
            stage = FirstStage(searcher)
            call = stage.prepare("batch_search", K, (asked, qids), {"k": K, "threads": THREADS})
            shards = [range(start, min(start + 20, len(asked))) for start in range(0, len(asked), 20)]
            found = [some for shard in shards for some in stage.batch_search(call, shard, K)]
            return sum(len([document["raw"] for document in some.documents]) for some in found)

        ways: dict[str, Callable[[], int]] = {
            "search, get('raw')": one_by_one,
            f"batch_search ({THREADS} threads), get('raw')": batch,
            f"in bulk ({THREADS} threads)": bulk,
        }
        micros: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                hits = way()
                micros[name].append(1e6 * (time.perf_counter() - start) / hits)
        bulk_cost = micros[f"in bulk ({THREADS} threads)"][1:]
        print(f"{len(asked)} queries, {hits:,} hits a round, {rounds} rounds")
        for name, costs in micros.items():
            ratio = statistics.median(ours / theirs for ours, theirs in zip(bulk_cost, costs[1:], strict=True))
            print(f"{statistics.median(costs[1:]):6.1f} us a hit  {name:42}  in bulk costs {ratio:.0%} of it")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
