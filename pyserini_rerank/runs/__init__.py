"""Runs, topics and judgements: reading, reranking and evaluating them, and writing output that can be resumed."""
