"""Add reranking to a BM25 search that one already has."""

import tempfile

import pyserini_rerank  # registers with Pyserini's searchers
from pyserini.search.lucene import LuceneSearcher
from small_library import lucene_index

with tempfile.TemporaryDirectory() as folder:
    searcher = LuceneSearcher(lucene_index(folder))  # or LuceneSearcher.from_prebuilt_index("msmarco-v1-passage")
    question = "How do I make a temporary folder that removes itself afterwards?"

    print("BM25:", [hit.docid for hit in searcher.search(question, k=3)])

    searcher.set_reranker("bundled", depth=20)  # or "cross-encoder/ms-marco-MiniLM-L-6-v2"
    hits = searcher.search(question, k=3)
    print("reranked:", [(hit.docid, round(hit.score, 2)) for hit in hits])
    print("where the best one was:", pyserini_rerank.trace(hits)[0].first_rank)

    results = searcher.batch_search([question, "pick random items"], ["1", "2"], k=3, threads=2)
    print("a batch:", {qid: [hit.docid for hit in hits] for qid, hits in results.items()})
