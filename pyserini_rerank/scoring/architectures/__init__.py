"""The kinds of checkpoints that the torch backend reads, a file each."""
