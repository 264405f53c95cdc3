"""The known checkpoints, and a checkpoint's files to a model."""
