"""Experiments over several systems, and the matrix of `reproduce` with its report."""
