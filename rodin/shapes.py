"""Check of array shapes and of numbers at the library's entry points.

Letters, everywhere outside a network: N samples, P = 3 planes (xy, xz, yz), C channels, R plane resolution,
H and W image size, V views, D latent width, S subjects.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Protocol


class HasShape(Protocol):
    """An object with a shape, such as a numpy array, a torch tensor or an HDF5 dataset."""

    @property
    def shape(self) -> Sequence[int]: ...


def check_shape(name: str, array: HasShape, expected: str, **sizes: int) -> dict[str, int]:
    """Check an array's shape against a pattern, and return the sizes of the pattern's letters.

    Args:
        name: name of the array in the message.
        array: the array.
        expected: pattern such as ``"N 3 C R R"``: a number must match, a letter takes the first size it meets and must
            match later, a leading ``...`` stands for any number of dimensions.
        sizes: sizes of letters that are already known.

    Returns:
        letter -> size, with `sizes` included.

    Raises:
        ValueError: the shape does not match; names the array, its shape and the pattern.

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


def check_whole(name: str, value: int, low: int, high: int, of: str = "") -> None:
    """Refuse what is no whole number, or one that is out of range.

    Args:
        name: of the number, in the message.
        value: the number.
        low, high: the least and the greatest that are allowed.
        of: words of the message behind the range, such as its unit.

    Raises:
        ValueError: names the number, and what is wanted.
    """
    if not isinstance(value, Integral) or not low <= value <= high:
        whole = "" if isinstance(value, Integral) else "a whole number, "
        raise ValueError(f"{name}: got {value!r}, wanted {whole}{low} to {high}{of}")
