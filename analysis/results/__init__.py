"""Reading what a run left: result rows, provenance, rendered pictures; and the paper's own numbers."""
