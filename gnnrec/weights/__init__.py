"""The weights of a training: as they are, on average, at their best; in memory, over several workers, in files."""
