"""What a notebook shows, and a terminal: a reranked search beside its first stage, and what a score rests on."""
