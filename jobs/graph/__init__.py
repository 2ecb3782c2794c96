"""The graph of stages: what each stage reads, what it asks of a cluster, what it costs, what of it is left to do."""
