"""Training: from a first stage, topics and qrels to data, and from data to a checkpoint that `load` takes."""
