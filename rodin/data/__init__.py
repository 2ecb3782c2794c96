"""What stages read of a run: rows of the stores, pictures, normalisers, and the shared decoder."""
