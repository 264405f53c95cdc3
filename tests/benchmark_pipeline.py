"""What everything but the model costs: a 1,000-deep batch search with a backend that gives zeros.

Run as ``python tests/benchmark_pipeline.py [queries] [rounds]``. Real documents (see `rounds.indexed`), real Lucene,
the bundled model's tokenizer.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyserini_rerank
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.retrieval.documents import IndexedDocuments
from pyserini_rerank.scoring.token_writer import write
from rounds import asked, indexed, take_turns

DEPTH = 1000
THREADS = 2


def main(count: int = 90, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        place, tokens = str(Path(folder, "index")), str(Path(folder, "tokens"))
        documents = indexed(place)
        queries = asked(count)
        qids = [str(i) for i in range(len(queries))]
        reranker = pyserini_rerank.load("bundled", device="cpu")
        encoder = reranker.backend.encoder
        reranker.backend.run = lambda batch: np.zeros(len(batch.positions), dtype=np.float32)
        write(Path(tokens), IndexedDocuments(place), encoder.tokenizer, "bundled")
        found = LuceneSearcher(place).batch_search(queries, qids, k=DEPTH, threads=THREADS)
        texts = [documents[hit.docid] for hits in found.values() for hit in hits]
        del found

        def tokenizer_alone() -> None:
            for start in range(0, len(texts), 5000):
                encoder.tokenizer.encode_batch_fast(texts[start : start + 5000], add_special_tokens=False)

        def searching(k: int, **options: str) -> Callable[[], None]:
            searcher = LuceneSearcher(place)
            searcher.set_reranker(reranker, depth=DEPTH, **options)
            return lambda: searcher.batch_search(queries, qids, k=k, threads=THREADS) and None

        ways = {
            "the tokenizer alone, from texts in memory": tokenizer_alone,
            "batch_search from stored texts, k=10": searching(10),
            "batch_search from stored texts, k=1000": searching(1000),
            "batch_search from the token index, k=10": searching(10, tokens=tokens),
            "batch_search from the token index, k=1000": searching(1000, tokens=tokens),
        }
        take_turns(ways, len(texts), rounds, base="the tokenizer alone, from texts in memory")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
