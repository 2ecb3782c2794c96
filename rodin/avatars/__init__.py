"""Synthetic people: drawn from (seed, subject id), shaped in numpy, rendered by Blender in a process of its own."""
