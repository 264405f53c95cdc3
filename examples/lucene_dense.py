"""Rerank a dense search in Lucene, where the query is a vector: the text to rerank with goes along."""

import json
import tempfile

import pyserini_rerank  # noqa: F401
from pyserini.search.lucene import LuceneHnswDenseSearcher
from small_library import Bge, documents, hnsw_index

with tempfile.TemporaryDirectory() as folder:
    encoder = Bge()
    # Without an encoder of its own, the searcher takes the vector as JSON. ef_search bounds what it finds.
    searcher = LuceneHnswDenseSearcher(hnsw_index(folder, encoder), ef_search=100)
    question = "How do I make a temporary folder that removes itself afterwards?"
    vector = json.dumps(encoder.encode(question).tolist())
    print("dense:", [hit.docid for hit in searcher.search(vector, k=3)])

    searcher.set_reranker("bundled", depth=20, texts=documents())
    hits = searcher.search(vector, k=3, rerank_query=question)
    print("reranked:", [(hit.docid, round(hit.score, 2)) for hit in hits])
