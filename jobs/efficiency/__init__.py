"""What a run asked of a cluster and what it used, and what to ask for next time."""
