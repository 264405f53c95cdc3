"""Runs, topics, collections, evaluation, and experiments that can be interrupted."""
