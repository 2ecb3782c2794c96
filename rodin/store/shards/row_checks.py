"""What a row must be before it counts: of the field's type and shape, and finite."""

import numpy as np

from rodin.store.errors import StoreError
from rodin.store.shards.rowfile import checksum, finite


def as_field(where: str, array: np.ndarray, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """An array in a field's type, C-contiguous; not copied where it is that already.

    Args:
        where: file, subject and field, for the message.
        array: what came.
        shape, dtype: what is wanted.

    Raises:
        StoreError: another shape, or a type that would lose more than digits.
    """
    wanted, given = np.dtype(dtype), np.asarray(array)
    if given.shape != shape:
        raise StoreError(f"{where}: got shape {list(given.shape)}, wanted {list(shape)}")
    if not np.can_cast(given.dtype, wanted, "same_kind"):
        raise StoreError(f"{where}: got type {given.dtype}, wanted {wanted}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(given, dtype=wanted)


def finite_checksum(where: str, array: np.ndarray, split: bool) -> list[int]:
    """The checksums of a row.

    Raises:
        StoreError: it holds NaN or infinity.
    """
    if not finite(array):
        raise StoreError(f"{where}: holds NaN or infinity (or overflows {array.dtype}); the subject is not written")
    return checksum(array, split)
