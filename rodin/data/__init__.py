"""Inputs that stages read from a run: rows of the stores, images, normalisers, and the shared decoder."""
