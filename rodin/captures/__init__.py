"""Captured people: one reader a format gives the same `Capture`; everything after that is shared."""
