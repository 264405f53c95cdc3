"""Rerank a dense search with Faiss, whose index has no text: it comes from a Lucene index."""

import tempfile

import pyserini_rerank
from pyserini.search.faiss import FaissSearcher
from small_library import Bge, faiss_index, lucene_index

with tempfile.TemporaryDirectory() as folder:
    encoder = Bge()
    searcher = FaissSearcher(faiss_index(f"{folder}/faiss", encoder), encoder)
    question = "How do I make a temporary folder that removes itself afterwards?"
    print("dense:", [hit.docid for hit in searcher.search(question, k=3)])

    # For a prebuilt index of Pyserini's, texts= can be left out where the catalogue names its text index.
    reranker = pyserini_rerank.load("bundled")
    searcher.set_reranker(reranker, depth=20, texts=lucene_index(f"{folder}/lucene"))
    print("reranked:", [(hit.docid, round(hit.score, 2)) for hit in searcher.search(question, k=3)])
