"""Displays for a notebook and a terminal: a reranked search beside its first stage, and the words behind a score."""
