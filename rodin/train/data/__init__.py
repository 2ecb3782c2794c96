"""What a training step is fed: the order of the items, prefetching, random draws, normalisation."""
