"""Shapes as sentences: one check used at the doors of the library.

Letters, everywhere outside a network: N samples, P = 3 planes (xy, xz, yz), C channels, R plane resolution,
H and W image size, V views, D latent width, S subjects.
"""

from collections.abc import Sequence
from typing import Protocol


class HasShape(Protocol):
    """Anything with a shape: a numpy array, a torch tensor, an HDF5 dataset."""

    @property
    def shape(self) -> Sequence[int]: ...


def check_shape(name: str, array: HasShape, expected: str, **sizes: int) -> dict[str, int]:
    """Hold an array against a shape written as words, and return what the letters stand for.

    Args:
        name: what the array is called in the message.
        array: the array.
        expected: words such as ``"N 3 C R R"``; a number must match, a letter binds at its first use,
            a leading ``...`` stands for any dimensions.
        sizes: letters already known.

    Returns:
        letter -> size, with `sizes` included.

    Raises:
        ValueError: names the array, the shape it has and the shape wanted.

    Example:
        >>> import numpy as np
        >>> check_shape("planes", np.zeros((2, 3, 8, 64, 64)), "N 3 C R R")
        {'N': 2, 'C': 8, 'R': 64}
    """
    words = expected.split()
    shape = tuple(array.shape)
    bound = dict(sizes)
    tail = words[1:] if words and words[0] == "..." else words
    fits = len(shape) >= len(tail) if tail is not words else len(shape) == len(words)
    if fits:
        for word, size in zip(tail, shape[len(shape) - len(tail) :], strict=True):
            wanted = int(word) if word.isdigit() else bound.setdefault(word, size)
            fits = fits and wanted == size
    if not fits:
        known = ", ".join(f"{letter}={size}" for letter, size in sizes.items())
        raise ValueError(f"{name}: got shape {list(shape)}, wanted [{expected}]{f' with {known}' if known else ''}")
    return bound
