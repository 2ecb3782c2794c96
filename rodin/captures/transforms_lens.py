"""The lens of a frame of `transforms.json`: its own numbers, and the shared ones for what it does not say itself.

Numbers that only mean something together come from one place: a frame that says one focal length or angle takes no
shared one, with one for both axes its pixels are square, as in instant-ngp; likewise the model and `is_fisheye`.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from rodin.captures.lens import Lens
from rodin.captures.sanity import check_lens, check_size

FOCAL = {axis: (f"{axis}_fov", f"fl_{axis}", f"camera_angle_{axis}") for axis in "xy"}
"""degrees, pixels, radians; the first that is there counts, as in instant-ngp"""
MODEL = ("camera_model", "is_fisheye")
PIXELS = ("fl_x", "fl_y", "cx", "cy")
RADIAL, TANGENTIAL, PRISM = ("k1", "k2", "k3", "k4", "k5", "k6"), ("p1", "p2"), ("s1", "s2", "s3", "s4")
COEFFICIENTS = (*RADIAL, *TANGENTIAL, *PRISM)
LISTED = ("k1", "k2", "k3", "k4", "p1", "p2")
"""the order of nerfstudio's `distortion_params`"""
UNKNOWN = re.compile(
    r"(k|p|s|sx|sy|b|ftheta_p)\d+|skew|omega|xi|tau_?[xy]|dist(ortion)?(_?(coeff|param|coefficient)s?)?"
)
"""keys of the coefficients of other lenses and programs, in lower case"""
PERSPECTIVE = ("OPENCV", "FULL_OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "PERSPECTIVE")
FISHEYE = ("OPENCV_FISHEYE", "FISHEYE", "SIMPLE_FISHEYE", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE")
OTHER_LENSES = ("latlong", "equirectangular", "orthographic")
SAME_FOCAL = 0.05
"""relative difference of two statements of one focal length that count as one"""


def read_lens(shared: Mapping[str, Any], own: Mapping[str, Any], size: tuple[int, int], where: str) -> Lens:
    """A frame's lens.

    Args:
        shared: the file's content beside the frames.
        own: the frame's entry; its values come first.
        size: of the picture, width and height in pixels.
        where: begins the message.

    Raises:
        ValueError: numbers that contradict each other, are none, or mean a lens that is not known.
    """
    settings, (width, height) = own_first(shared, own, where), size
    stated = {name: number(settings, name, where) if name in settings else None for name in ("w", "h")}
    check_size(stated, size, where)
    given = [focal(settings, axis, pixels, where) for axis, pixels in zip("xy", size, strict=True)]
    fx, fy = (one or other for one, other in (given, given[::-1]))
    if fx is None or fy is None:
        raise ValueError(f"{where}: no 'camera_angle_x' and no 'fl_x', so no focal length")
    cx = number(settings, "cx", where) if "cx" in settings else width / 2
    cy = number(settings, "cy", where) if "cy" in settings else height / 2
    fisheye, rational = kind_of(settings, where)
    values = coefficients(shared, where) | coefficients(own, where)
    for name in (*RADIAL[4:], *TANGENTIAL, *PRISM) if fisheye else () if rational else ("k4",):
        if values.get(name):
            kind = "fisheye" if fisheye else "perspective"
            more = "" if fisheye else ", or name k5 and k6 too if it divides, as OpenCV's k4 does"
            raise ValueError(
                f"{where}: a {kind} lens with {name} = {values[name]}, wanted 0; undistort the pictures{more}"
            )
    radial, tangential, prism = (
        tuple(values.get(name, 0.0) for name in names) for names in (RADIAL, TANGENTIAL, PRISM)
    )
    lens = Lens(width, height, fx, fy, cx, cy, radial, tangential, fisheye, prism)
    return check_lens(lens, where, stated=None not in stated.values())


def own_first(shared: Mapping[str, Any], own: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The settings of a frame: its own, and shared ones that go with them."""
    kept, focals = dict(shared), [name for names in FOCAL.values() for name in names]
    for group in (focals, MODEL):
        if any(name in own for name in group):
            kept = {name: value for name, value in kept.items() if name not in group}
    axes = [axis for axis, names in FOCAL.items() if any(name in own for name in names)]
    pair = [number(shared, f"fl_{axis}", where) for axis in "xy" if f"fl_{axis}" in shared]
    if len(axes) == 1 and len(pair) == 2 and abs(pair[0] - pair[1]) > SAME_FOCAL * max(pair):
        name, other = next(name for name in FOCAL[axes[0]] if name in own), "y" if axes == ["x"] else "x"
        raise ValueError(
            f"{where}: its own '{name}', but the shared 'fl_x' {pair[0]:g} and 'fl_y' {pair[1]:g} say that pixels are "
            f"not square; give the frame 'fl_{other}' too"
        )
    for side in ("w", "h"):
        if side in own and side in shared and number(own, side, where) != number(shared, side, where):
            foreign = [name for name in PIXELS if name in kept and name not in own]
            if foreign:
                raise ValueError(
                    f"{where}: its own '{side}' is {own[side]}, and '{foreign[0]}' is the shared one for "
                    f"{shared[side]}; give the frame '{foreign[0]}' too"
                )
    return kept | dict(own)


def kind_of(settings: Mapping[str, Any], where: str) -> tuple[bool, bool]:
    """Whether a lens is a fisheye, and whether its k4 to k6 are those of OpenCV's rational model.

    Other programs have a k4 that multiplies r^8; they name no k5 and k6.
    """
    model = str(settings.get("camera_model", "OPENCV")).strip().upper()
    flat = next((name for name in OTHER_LENSES if truth(settings, name, where)), None)
    fisheye = model in FISHEYE or truth(settings, "is_fisheye", where)
    if flat or (not fisheye and model not in PERSPECTIVE):
        raise ValueError(
            f"{where}: camera_model {flat or settings['camera_model']!r}, wanted one of "
            f"{', '.join(PERSPECTIVE + FISHEYE)}; undistort the pictures first"
        )
    return fisheye, model == "FULL_OPENCV" or "k5" in settings or "k6" in settings


def coefficients(level: Mapping[str, Any], where: str) -> dict[str, float]:
    """The distortion that a frame or the file states, by name; what no lens here has must be 0."""
    values = {name: number(level, name, where) for name in COEFFICIENTS if name in level}
    listed = level.get("distortion_params")
    if isinstance(listed, list) and len(listed) == len(LISTED):
        named: dict[str, Any] = dict(zip(LISTED, listed, strict=True))
        for name in LISTED:
            value = number(named, name, f"{where}, 'distortion_params'")
            if values.setdefault(name, value) != value:
                raise ValueError(f"{where}: '{name}' is {values[name]}, and {value} in 'distortion_params'; drop one")
    for key, value in level.items():
        known = key in COEFFICIENTS or (key == "distortion_params" and values.keys() >= set(LISTED))
        if not known and UNKNOWN.fullmatch(key.lower()) and any_of(value):
            wanted = f"{', '.join(COEFFICIENTS)}, or the six numbers {', '.join(LISTED)} as distortion_params"
            raise ValueError(f"{where}: '{key}' is {str(value)[:60]}, wanted {wanted}; undistort the pictures")
    return values


def any_of(value: Any) -> bool:
    """Whether a value is a number that is not 0, perhaps as text, or a list with such a number."""
    if isinstance(value, list | tuple):
        return any(map(any_of, value))
    try:
        return not isinstance(value, bool) and float(value) != 0
    except OverflowError:  # a whole number beyond every float
        return True
    except (TypeError, ValueError):
        return False


def focal(settings: Mapping[str, Any], axis: str, pixels: int, where: str) -> float | None:
    """Focal length along an axis in pixels, if there is one; the statements of it must agree."""
    found: dict[str, float] = {}
    for name in FOCAL[axis]:
        if name not in settings:
            continue
        value = number(settings, name, where)
        degrees, length = name.endswith("_fov"), name.startswith("fl_")
        if length and value <= 0:
            raise ValueError(f"{where}: '{name}' is {value}, wanted pixels over 0")
        if not length and not 0 < (math.radians(value) if degrees else value) < math.pi:
            wanted = "degrees between 0 and 180" if degrees else "radians between 0 and pi"
            raise ValueError(f"{where}: '{name}' is {value}, wanted {wanted}")
        angle = math.radians(value) if degrees else value
        found[name] = value if length else 0.5 * pixels / math.tan(0.5 * angle)
    if found and max(found.values()) > (1 + SAME_FOCAL) * min(found.values()):
        said = " and ".join(f"'{name}' means {value:.4g}" for name, value in found.items())
        raise ValueError(f"{where}: {said} for {pixels} pixels; correct one (is it of another resolution?) or drop it")
    return next(iter(found.values()), None)


def number(settings: Mapping[str, Any], name: str, where: str) -> float:
    """A finite number among the settings; it may be written as text."""
    value = settings[name]
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{where}: '{name}' is {value!r}, wanted a number")
    return found


def truth(settings: Mapping[str, Any], name: str, where: str) -> bool:
    """A yes or no among the settings, no where it is missing; it may be written as 0, 1 or text."""
    value = settings.get(name, False)
    known = {"true": True, "1": True, "false": False, "0": False, "none": False}
    if str(value).lower() not in known:
        raise ValueError(f"{where}: '{name}' is {value!r}, wanted true or false")
    return known[str(value).lower()]
