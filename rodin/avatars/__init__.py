"""Synthetic people: drawn from (seed, subject id), shaped in numpy, rendered by Blender in a separate process.

Numbers without a name in this package are shapes: lengths, angles and colours chosen by eye on rendered pictures.
"""
