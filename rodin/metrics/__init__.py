"""Metrics of images [N, 3, H, W], float in [0, 1], and of sets of feature rows [N, D]."""
