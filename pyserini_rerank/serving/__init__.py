"""Serving: batches across calls, a rerank server, and Pyserini's own servers with reranking."""
