"""What everything but the model costs: a 1,000-deep batch search with a backend that gives zeros.

Run as ``python tests/benchmark_pipeline.py [queries] [rounds]``. Real documents (see `rounds.indexed`), real Lucene,
the bundled model's tokenizer.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from rounds import asked, indexed, take_turns

BASE = "the tokenizer alone, pairs in memory"
DEPTH = 1000
THREADS = 2


def main(count: int = 90, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder, "index"))
        documents = indexed(place)
        queries = asked(count)
        qids = [str(i) for i in range(len(queries))]
        reranker = pyserini_rerank.load("bundled", device="cpu")
        encoder = reranker.backend.encoder
        reranker.backend.run = lambda batch: np.zeros(len(batch.positions), dtype=np.float32)
        found = LuceneSearcher(place).batch_search(queries, qids, k=DEPTH, threads=THREADS)
        pairs = [(query, documents[hit.docid]) for query, qid in zip(queries, qids, strict=True) for hit in found[qid]]
        del found

        def tokenizing(inputs: Sequence[Any], **options: bool) -> Callable[[], None]:
            def alone() -> None:
                for start in range(0, len(inputs), 5000):
                    encoder.tokenizer.encode_batch_fast(inputs[start : start + 5000], **options)

            return alone

        def searching(k: int) -> Callable[[], None]:
            searcher = LuceneSearcher(place)
            searcher.set_reranker(reranker, depth=DEPTH)
            return lambda: searcher.batch_search(queries, qids, k=k, threads=THREADS) and None

        ways = {
            BASE: tokenizing(pairs),
            "... each text alone": tokenizing([text for _, text in pairs], add_special_tokens=False),
            "batch_search from stored texts, k=10": searching(10),
            "batch_search from stored texts, k=1000": searching(1000),
        }
        take_turns(ways, len(pairs), rounds, BASE)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
