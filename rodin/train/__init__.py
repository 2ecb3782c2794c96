"""The training loop: ranks, data order, random draws, moving average, and checkpoints that survive a kill."""
