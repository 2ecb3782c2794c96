"""Stores of a run: HDF5 shards, manifests and result rows. Never imports torch.

FORMAT.md in this folder describes the files for other tools.
"""
