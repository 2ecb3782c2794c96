"""One module for each stage: its predecessors, its resources and its amount of work."""
