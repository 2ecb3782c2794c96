"""Figures of a run, drawn from its result rows and pictures."""
