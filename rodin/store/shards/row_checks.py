"""Checks of a row before it is written: type, shape, and no NaN or infinity."""

import numpy as np

from rodin.store.errors import StoreError
from rodin.store.shards.rowfile import checksum, finite


def as_field(where: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Convert an array to a field's type, C-contiguous; not copied if it is that already.

    Args:
        where: file, subject and field, for the message.
        array: the array to store.
        shape, dtype: one subject's shape and the type of the field.

    Raises:
        StoreError: another shape, or a type of another kind (complex for float, float for integer).
    """
    wanted, given = np.dtype(dtype), np.asarray(array)
    if given.shape != shape:
        raise StoreError(f"{where}: got shape {list(given.shape)}, wanted {list(shape)}")
    if not np.can_cast(given.dtype, wanted, "same_kind"):
        raise StoreError(f"{where}: got type {given.dtype}, wanted {wanted}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(given, dtype=wanted)


def finite_checksum(where: str, array: np.ndarray, split: bool) -> list[int]:
    """Checksums of a row, one or one an entry of its first axis.

    Raises:
        StoreError: it holds NaN or infinity.
    """
    if not finite(array):
        raise StoreError(f"{where}: holds NaN or infinity (or overflows {array.dtype}); the subject is not written")
    return checksum(array, split)
