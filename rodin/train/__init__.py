"""The one training loop: ranks, data order, random draws, moving average, checkpoints that survive being killed."""
