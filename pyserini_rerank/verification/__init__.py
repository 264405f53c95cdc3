"""Whether an engine gives a checkpoint's scores, and what it does wrong if not."""
