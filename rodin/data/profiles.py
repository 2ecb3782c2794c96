"""Colours in sRGB: phones save Display P3 and cameras Adobe RGB, whose numbers mean other colours than sRGB's."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}
"""colour space of a profile -> Pillow's mode of the numbers that it tells the colours of"""
TAKEN = {"RGB": ("RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1", "YCbCr"), "L": ("L", "LA", "1"), "CMYK": ("CMYK",)}
"""such a mode -> modes of pictures whose numbers it may be"""
ALIKE = 2
"""steps of 255 by which a profile may move colours and still be sRGB: its makers round its numbers differently"""
STEPS = 6
"""colours a channel at which that is looked for"""


def in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    """An image with its colours in sRGB.

    Args:
        picture: of any mode of 8 bits.
        profile: the ICC profile that came with it; None: its numbers are sRGB's.

    Returns:
        RGB or RGBA without a profile, alpha as it was; the image itself where the profile is sRGB's, cannot be read, or
        is for other numbers than the image has.
    """
    to_srgb = _to_srgb(profile) if profile else None
    if to_srgb is None or picture.mode not in TAKEN[to_srgb.input_mode]:
        return picture
    whole = picture.convert("RGBA") if picture.has_transparency_data else picture
    found = ImageCms.applyTransform(whole.convert(to_srgb.input_mode), to_srgb)
    if found is None:
        return picture
    found.info.pop("icc_profile", None)
    if whole.mode == "RGBA":
        found.putalpha(whole.getchannel("A"))
    return found


@lru_cache(maxsize=8)
def _to_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform of a profile's numbers to sRGB; None where it would change nothing or the profile is damaged."""
    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = SPACES[profile[16:20].decode().strip()]  # of its header
        transform = ImageCms.buildTransform(
            given,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (OSError, KeyError, ValueError, ImageCms.PyCMSError):
        return None
    ticks = np.linspace(0, 255, STEPS).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(ticks, ticks, ticks), axis=-1).reshape(1, -1, 3)
    if mode == "L":
        colours = np.repeat(ticks[None, :, None], 3, axis=2)
    moved = ImageCms.applyTransform(Image.fromarray(colours).convert(mode), transform)
    same = mode != "CMYK" and np.abs(np.asarray(moved).astype(int) - colours).max() <= ALIKE
    return None if same else transform
