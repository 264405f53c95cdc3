"""The known checkpoints, and the reading of a checkpoint's files."""
