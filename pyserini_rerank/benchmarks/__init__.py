"""How fast a checkpoint is, and what it costs beside others."""
