"""Rerankers that are made of others; `pyserini_rerank.load` makes them from what a user writes, too."""
