"""Runs, topics and judgements: read, reranked, evaluated, and written so that they can be interrupted."""
