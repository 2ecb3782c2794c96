"""Measurements: held-out views of fits, reconstructions from one image, and the colours that prompts name."""
