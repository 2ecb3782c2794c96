"""Image files of any kind as 8-bit pictures; every command that reads a user's image reads it here."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path

from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from rodin.data.profiles import in_srgb
from rodin.marks.pictures import FORMATS, check_png, greys_of_eight_bits

KINDS = "a PNG, JPEG, WebP or plain TIFF file"
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, Image.DecompressionBombError)
"""what Pillow raises for files that are damaged or too large"""


def opened(path: Path, upright: bool = True) -> Image.Image:
    """The image in a file in sRGB, scaled by its type: 16 bits / 257, floats x 255, whatever values it holds.

    Args:
        path: of the file.
        upright: turn the image as its EXIF orientation says; else keep its pixels as they are stored.

    Returns:
        mode RGBA where `has_alpha`, else RGB.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, a damaged or far too large one, several in one file, or values whose range is unknown.
    """
    return _of_eight_bits(path, decoded(path, upright))


def stored(path: Path) -> tuple[Image.Image, int]:
    """The image in a file as `opened` reads its pixels as they are stored, and its EXIF orientation, 1 where none.

    Raises:
        FileNotFoundError, ValueError: as of `opened`.
    """
    picture = decoded(path, upright=False)
    return _of_eight_bits(path, picture), picture.getexif().get(ExifTags.Base.Orientation, 1)


def of_eight_bits(picture: Image.Image) -> Image.Image:
    """An image of any mode as RGB, or RGBA where it has an alpha or a transparent colour; scaled as `opened` says.

    Its colours are those of its ICC profile, which is dropped.

    Raises:
        ValueError: values whose range is unknown. OSError, SyntaxError and others of `UNREADABLE`: a damaged file.
    """
    alpha, profile = picture.has_transparency_data, picture.info.get("icc_profile")
    picture = in_srgb(greys_of_eight_bits(picture), profile).convert("RGBA" if alpha else "RGB")
    picture.info.pop("icc_profile", None)
    return picture


def decoded(path: Path, upright: bool = True) -> Image.Image:
    """The image in a file in its own mode and its own colours; arguments and errors as `opened`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted {KINDS}")
    try:
        # Pillow warns of odd metadata
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=FORMATS) as picture:
            if picture.format == "PNG":
                check_png(path)
            if getattr(picture, "is_animated", False) and picture.format != "MPO":
                raise ValueError(f"{getattr(picture, 'n_frames', 2)} pictures in one file, wanted one")
            turned = picture.getexif().get(ExifTags.Base.Orientation, 1)
            if picture.format == "TIFF" and turned != 1:  # Pillow 13 scrambles those that are not compressed
                raise ValueError(f"a TIFF of EXIF orientation {turned}; save it upright")
            picture.load()
            if upright:
                ImageOps.exif_transpose(picture, in_place=True)
        return picture
    except UnidentifiedImageError:
        raise unreadable(path, "of an unknown kind") from None
    except UNREADABLE as problem:
        raise unreadable(path, problem) from None


def has_alpha(path: Path) -> bool:
    """Whether an image file has an alpha channel or a transparent colour; reads only its header."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.has_transparency_data
    except UNREADABLE as problem:
        raise unreadable(path, problem) from None


def unreadable(path: Path | str, problem: object) -> ValueError:
    """The error for a file that is no image that can be read."""
    return ValueError(f"{path}: not a picture that can be read ({problem}); wanted {KINDS}")


def _of_eight_bits(path: Path, picture: Image.Image) -> Image.Image:
    """`of_eight_bits` of the image in a file, which its errors name."""
    try:
        return of_eight_bits(picture)
    except ValueError as problem:
        raise unreadable(path, problem) from None
