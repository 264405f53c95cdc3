"""What everything but the model costs: a 1,000-deep batch search with a backend that gives zeros.

Run as ``python tests/benchmark_pipeline.py [queries] [rounds]``. Real documents (the standard library's docstrings,
cut to 60 words as MS MARCO's passages have them, each stored four times with a word that differs, so that 1,000 hits
a query are there), real Lucene, the bundled model's tokenizer. The ways alternate; figures are medians over the rounds
after one that warms Java up, ratios those within a round.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.cli.demo import _questions
from pyserini_rerank.cli.docstrings import index, read
from pyserini_rerank.retrieval.documents import IndexedDocuments
from pyserini_rerank.scoring.token_writer import write

DEPTH = 1000
THREADS = 2


def main(queries: int = 90, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place, tokens = str(Path(folder, "index")), str(Path(folder, "tokens"))
        passages = {docid: " ".join(text.split()[:60]) for docid, text in read()}
        documents = {f"{docid}.{copy}": f"{text} {copy}" for copy in range(4) for docid, text in passages.items()}
        index(documents, place)
        asked = ([question["question"] for question in _questions()] * 2)[:queries]
        qids = [str(i) for i in range(len(asked))]
        reranker = pyserini_rerank.load("bundled", device="cpu")
        encoder = reranker.backend.encoder
        reranker.backend.run = lambda batch: np.zeros(len(batch.positions), dtype=np.float32)
        write(Path(tokens), IndexedDocuments(place), encoder.tokenizer, "bundled")
        found = LuceneSearcher(place).batch_search(asked, qids, k=DEPTH, threads=THREADS)
        texts = [documents[hit.docid] for hits in found.values() for hit in hits]
        del found

        def tokenizer_alone() -> None:
            for start in range(0, len(texts), 5000):
                encoder.tokenizer.encode_batch_fast(texts[start : start + 5000], add_special_tokens=False)

        def searching(k: int, **options: str) -> Callable[[], None]:
            searcher = LuceneSearcher(place)
            searcher.set_reranker(reranker, depth=DEPTH, **options)
            return lambda: searcher.batch_search(asked, qids, k=k, threads=THREADS) and None

        ways = {
            "the tokenizer alone, from texts in memory": tokenizer_alone,
            "batch_search from stored texts, k=10": searching(10),
            "batch_search from stored texts, k=1000": searching(1000),
            "batch_search from the token index, k=10": searching(10, tokens=tokens),
            "batch_search from the token index, k=1000": searching(1000, tokens=tokens),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                way()
                seconds[name].append(time.perf_counter() - start)
        alone = seconds["the tokenizer alone, from texts in memory"][1:]
        print(f"{len(asked)} queries, {len(texts):,} hits a round, {rounds} rounds")
        for name, own in seconds.items():
            ratio = statistics.median(first / other for first, other in zip(alone, own[1:], strict=True))
            print(f"{len(texts) / statistics.median(own[1:]):8,.0f} hits/s  {name:42}  {ratio:.0%} of the tokenizer")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
