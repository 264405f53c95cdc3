"""Texts to tokens, pairs and prompts, and batches of them."""
