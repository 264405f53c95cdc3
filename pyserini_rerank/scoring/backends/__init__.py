"""What computes scores, one file a backend."""
