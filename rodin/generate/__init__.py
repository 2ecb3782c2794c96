"""Avatars out of a run's trained models: the cascade, requests for avatars, editing, export to files."""
