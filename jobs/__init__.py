"""What runs on a cluster: the command line, the graph of stages, launching. Nothing here imports torch."""
