"""One file a stage: its place in the graph, its resources and its amount of work."""
