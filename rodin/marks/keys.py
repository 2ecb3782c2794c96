"""Keys of the watermark."""

from __future__ import annotations

from pathlib import Path

PUBLIC_KEY = b"rodin-suite"  # without a key of their own, all users mark with this one, and can check


def key_of(path: Path | None) -> bytes:
    """The key of the watermark: the bytes of a file, or the public one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is empty.
    """
    if path is None:
        return PUBLIC_KEY
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted one whose bytes are the watermark's key")
    if not (key := path.read_bytes()):
        raise ValueError(f"{path}: an empty file, wanted one whose bytes are the watermark's key")
    return key
