"""Readers of a run's result rows, provenance and rendered pictures; statistics; the paper's own numbers."""
