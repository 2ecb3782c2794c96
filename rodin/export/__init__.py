"""A run's people for other projects: views in two formats, and tri-planes with their decoder."""
