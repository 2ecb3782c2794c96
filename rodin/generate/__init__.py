"""Sampling from a run's models: latents, the cascade, meshes, requests for avatars, and export to a folder."""
