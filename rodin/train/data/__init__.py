"""Data of a training step: order of the items, prefetching, random draws, normalisation."""
