"""Benchmarks: the speed of a checkpoint, and the quality and cost of several rerankers."""
