"""Training on several ranks: communication, flat and sharded parameters, loss scaling."""
