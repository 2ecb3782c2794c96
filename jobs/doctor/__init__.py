"""Checks of a machine or a cluster before a run spends a night on it."""
