"""The graph of stages: predecessors, resources and expected work of each stage, and the work that is left."""
