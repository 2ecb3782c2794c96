"""How alike pictures and sets of features are; pictures are [N, 3, H, W] float in [0, 1]."""
