"""Checks of cameras that all formats share: poses are rotations, sizes and numbers belong to the pictures."""

import math
from typing import Any

import numpy as np

from rodin.captures.lens import Lens

ROTATION_ERROR = 0.02
"""largest relative error of an axis's length, or of a quaternion's, that is mended: the nearest rotation is then under
about a degree away; rounded numbers and tools that average or crop poses stay below"""
EXACT = 1e-6
"""such an error up to which a matrix is kept as it is: numbers of single precision are rounded by a tenth of it"""
WIDEST, NARROWEST = 170.0, 1.0
"""field of view of a perspective camera, degrees; beyond, a picture of a head is stretched or a telescope's"""
MOST_OBLONG = 2.1
"""ratio of the two focal lengths; anamorphic lenses, the most oblong there are, have 2"""
OUTSIDE = 0.5
"""how far outside its picture a principal point may lie, in picture sizes; one outside comes from cropping"""
MOST_SIDE = (1 << 31) - 1
"""pixels along a side: no format of pictures has more"""
ALIKE = 0.1
"""relative difference of two ratios that count as one, and of a place that counts as a corner: principal points lie
this near to the middle"""


def check_pose(matrix: object, where: str) -> np.ndarray:
    """A camera's matrix [4, 4] float64, its 3 x 3 part brought to the nearest rotation unless it is one up to EXACT.

    Raises:
        ValueError: not such a matrix, scaled, sheared by more than ROTATION_ERROR, or mirrored.
    """
    try:
        pose = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        pose = np.empty(0)
    if pose.shape != (4, 4):
        raise ValueError(f"{where} has shape {list(pose.shape)}, wanted 4 rows of 4 numbers")
    if not np.isfinite(pose).all():
        raise ValueError(f"{where} holds NaN or infinity")
    if not np.allclose(pose[3], [0, 0, 0, 1], atol=1e-6):
        raise ValueError(f"{where} has bottom row {pose[3].tolist()}, wanted [0, 0, 0, 1]")
    left, lengths, right = np.linalg.svd(pose[:3, :3])
    fault = f"{where} is not a rotation and a translation"
    error, scale = float(np.abs(lengths - 1).max()), float(lengths.mean())
    if np.linalg.det(pose[:3, :3]) < 0:
        raise ValueError(f"{fault}: it is mirrored; change the sign of the axis that points the wrong way")
    if error > ROTATION_ERROR and lengths[0] - lengths[2] < ROTATION_ERROR * scale:
        raise ValueError(f"{fault}: it is scaled by {scale:.4g}, wanted 1; divide its 3 x 3 part by {scale:.4g}")
    if error > ROTATION_ERROR:
        raise ValueError(
            f"{fault}: it is sheared, {100 * error:.1f} % off a rotation, and up to {100 * ROTATION_ERROR:g} % are "
            "mended; export it again"
        )
    if error > EXACT:
        pose[:3, :3] = left @ right
    return pose


def check_size(stated: dict[str, Any], size: tuple[int, int], where: str) -> None:
    """Compare the size of an image with the size that a file states; stated: names -> pixels along x, y."""
    for name, value in stated.items():
        if value is not None and not 1 <= value <= MOST_SIDE:
            raise ValueError(f"{where}: '{name}' is {value}, wanted the size of the picture in pixels")
    check_turned(stated, size, where)
    wrong = {
        name: (value, pixels)
        for (name, value), pixels in zip(stated.items(), size, strict=True)
        if value is not None and value != pixels
    }
    if not wrong:
        return
    name, (value, pixels) = next(iter(wrong.items()))
    fault = f"{where}: '{name}' is {value}, the picture has {pixels} pixels"
    ratio = ratio_of(value, pixels)
    given = [(value, pixels) for value, pixels in zip(stated.values(), size, strict=True) if value is not None]
    if ratio == 1 or any(abs(value / ratio - pixels) > 1 for value, pixels in given):
        raise ValueError(f"{fault}; correct one of them")
    raise ValueError(f"{fault}: {resolution(ratio)}")


def check_turned(stated: dict[str, Any], size: tuple[int, int], where: str) -> None:
    """Raise where a file states the size of an image after a quarter turn; arguments as of `check_size`."""
    if size[0] != size[1] and tuple(stated.values()) == size[::-1]:
        names, told, got = (" x ".join(map(str, each)) for each in (stated, size[::-1], size))
        raise ValueError(
            f"{where}: {names} is {told}, the picture has {got} pixels: one of them is turned by EXIF orientation, the "
            "other not; turn the cameras, or the pictures' own pixels"
        )


def check_lens(lens: Lens, where: str, stated: bool = True) -> Lens:
    """A lens, checked to belong to a picture of its size.

    Args:
        lens: the lens.
        where: begins the message.
        stated: whether the file states the size, so that its numbers cannot be those of another resolution.

    Raises:
        ValueError: a principal point far outside the picture, or focal lengths that cannot be.
    """
    size = f"a picture of {lens.width} x {lens.height}"
    if not 1 / MOST_OBLONG <= lens.fx / lens.fy <= MOST_OBLONG:
        raise ValueError(
            f"{where}: focal lengths {lens.fx:g} and {lens.fy:g} pixels, more than {MOST_OBLONG:g} times apart; "
            "correct one of them"
        )
    spread = max(lens.width / lens.fx, lens.height / lens.fy)
    view = math.degrees(spread if lens.fisheye else 2 * math.atan(spread / 2))
    widest = 360.0 if lens.fisheye else WIDEST
    if not NARROWEST <= view <= widest:
        raise ValueError(
            f"{where}: a focal length of {lens.fx:g} pixels makes {size} see {view:.3g} degrees, wanted "
            f"{NARROWEST:g} to {widest:g}; is it in other units, or of another resolution?"
        )
    across, down = lens.cx / lens.width, lens.cy / lens.height
    alike = abs(across - down) <= ALIKE * max(abs(across), abs(down))
    larger, smaller = min(across, down) > 1 - ALIKE, not stated and 0 < max(across, down) < (1 + ALIKE) / 4
    fault = f"{where}: the principal point ({lens.cx:g}, {lens.cy:g}) does not belong to {size}"
    if alike and (larger or smaller):
        raise ValueError(f"{fault}: {resolution(ratio_of(across + down, 1))}")
    if max(abs(across), abs(down)) < ALIKE:
        raise ValueError(f"{fault}; it is in pixels from the upper left corner, not from the middle")
    if not all(-OUTSIDE <= share <= 1 + OUTSIDE for share in (across, down)):
        raise ValueError(f"{fault}; correct cx, cy or the size")
    return lens


def ratio_of(value: float, pixels: float) -> float:
    """The ratio of two numbers; a whole number or one over it where it is nearly one."""
    ratio = value / pixels
    larger = max(ratio, 1 / ratio) if ratio > 0 else 0
    if abs(larger - round(larger)) >= ALIKE * larger / 2:
        return ratio
    return round(larger) if ratio > 1 else 1 / round(larger)


def resolution(ratio: float) -> str:
    """What to do where the numbers are `ratio` times as large as the pictures' own."""
    size = f"{ratio:.4g} times as large" if ratio > 1 else f"{1 / ratio:.4g} times smaller"
    return (
        f"the numbers are those of pictures {size} (those in images_2 are half of those in images); bring those "
        f"pictures, or multiply the size, the focal lengths and the principal point by {1 / ratio:.4g}"
    )
