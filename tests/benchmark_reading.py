"""What it costs to have a batch's hits with their texts in Python, three ways.

Run as ``python tests/benchmark_reading.py [queries] [rounds]``. Real documents (see `rounds.indexed`), real Lucene.
"""

import sys
import tempfile

import pyserini_rerank  # noqa: F401  (starts Java)
from pyserini.search.lucene import LuceneSearcher
from pyserini_rerank.retrieval.searcher_adapter import SearcherAdapter
from rounds import asked, indexed, take_turns

K = 1000
THREADS = 2


def main(count: int = 90, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        indexed(folder)
        searcher = LuceneSearcher(folder)
        queries = asked(count)
        qids = [str(i) for i in range(len(queries))]

        def one_by_one() -> int:
            return sum(len([hit.lucene_document.get("raw") for hit in searcher.search(text, k=K)]) for text in queries)

        def batch() -> int:
            found = searcher.batch_search(queries, qids, k=K, threads=THREADS)
            return sum(len([hit.lucene_document.get("raw") for hit in hits]) for hits in found.values())

        def bulk() -> int:
            stage = SearcherAdapter(searcher)
            call = stage.prepare("batch_search", K, (queries, qids), {"k": K, "threads": THREADS})
            shards = [range(start, min(start + 20, len(queries))) for start in range(0, len(queries), 20)]
            found = [some for shard in shards for some in stage.batch_search(call, shard, K)]
            return sum(len([document["raw"] for document in some.documents]) for some in found)

        ways = {
            "search, get('raw')": one_by_one,
            f"batch_search ({THREADS} threads), get('raw')": batch,
            f"in bulk ({THREADS} threads)": bulk,
        }
        take_turns(ways, bulk(), rounds, base=f"in bulk ({THREADS} threads)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
