"""Noise whose seed nobody knows, what it is worth in epsilon and delta, and reports that are noisy from the start."""
