"""Portraits that users bring: the person alone over white, as in the pictures that CLIP and the models learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import cv2.data
import numpy as np
from PIL import Image, ImageOps
from scipy import ndimage

from rodin.data.background import BACKGROUNDS, apart_from_border, apart_from_colour, border_colour, colour_of, learn
from rodin.data.decoding import UNREADABLE, of_eight_bits, opened, unreadable

Picture = Path | str | Image.Image | np.ndarray
"""a user's image: a file's path, or what PIL or numpy hold (uint8 [H, W, 3 or 4])"""

LEAST_SIDE = 16
"""pixels; no face can be made out in fewer"""
BLANK = 16
"""a picture whose channels all differ by less, of 255, is blank: skin and hair differ by more, noise by less"""
WORKING = 512
"""longest side at which a person is told from the background, pixels: enough for most models, and a second of work"""
FACE_PIXELS = 256
"""side at which faces are looked for: OpenCV's detector learned faces of 24 pixels, an eighth of it is more"""
WHITE = OPAQUE = 255  # the largest value of 8 bits
HALF = 127
"""alpha above which a pixel is more the person's than the background's"""
REACH, LEAST_REACH = 0.01, 2
"""how far from its outline a person's pixels mix with the background: a share of the longest side, and in pixels; a
lens, a mask found at a lower resolution and JPEG's colours at half of it blur that far"""
LEAST_SHARE, MOST_SHARE = 0.05, 0.97
"""shares of a picture that a person fills: 20 to 46 % in 2,592 pictures of our people from all sides, more close up"""
OFF_CENTRE = 0.25
"""of the side: how far a person's middle may lie from the picture's; in those pictures it is under 0.1"""
SAME = 24
"""colours of person and background nearer than this, of 255, do not tell how they mix"""


def read_portrait(source: Picture, size: int, background: str | None = None) -> np.ndarray:
    """Read a user's image: upright, the person over white, cropped to the central square, resized.

    An image's own alpha tells the person from the background; else the colours along its edges or the given one do.

    Args:
        source: an image file with or without alpha, or an image.
        size: side of the result, pixels.
        background: of an image without alpha: "border" (the default), "white", "#rrggbb", or "none": kept whole.

    Returns:
        [size, size, 4] uint8, opaque.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image that can be read, one in which nobody can be (too small, transparent or blank), or a
            background of another name.
    """
    portrait = read_cut_out(source, size, background)
    portrait[..., 3] = OPAQUE
    return portrait


def read_cut_out(source: Picture, size: int, background: str | None = None) -> np.ndarray:
    """The same picture as `read_portrait`, colours over white, with alpha that says where the person is."""
    if background not in (None, "border", "none"):
        colour_of(background)
    image, name = picture_of(source)
    if min(image.size) < LEAST_SIDE:
        width, height = image.size
        raise ValueError(f"{name}: a picture of {width} x {height} pixels, wanted {LEAST_SIDE} or more a side")
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    if not alpha.any():
        raise ValueError(f"{name}: transparent all over, so nobody is to be seen; give a picture of a person")
    picture = over_white(np.asarray(image.convert("RGB"), np.float32), alpha)
    if blank(picture):
        raise ValueError(f"{name}: of one colour all over, so nobody is to be seen; give a picture of a person")
    if alpha.min() == OPAQUE and background != "none":
        longest = max(WORKING, 2 * size)
        image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        picture, share = without_background(np.asarray(image.convert("RGB")), background or "border")
        if blank(picture):
            raise ValueError(f"{name}: all of it is taken for background; say what is (--background {BACKGROUNDS})")
        alpha = np.rint(OPAQUE * share)
    both = np.dstack([np.rint(picture).clip(0, 255), alpha]).astype(np.uint8)
    parts = [Image.fromarray(both[..., :3]), Image.fromarray(np.ascontiguousarray(both[..., 3]))]
    fitted = [np.asarray(ImageOps.fit(part, (size, size), Image.Resampling.LANCZOS)) for part in parts]
    return np.dstack(fitted).astype(np.uint8)


def picture_of(source: Picture) -> tuple[Image.Image, str]:
    """A user's image as RGB or RGBA, and its name for messages.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an image, or an array of another shape or type.
    """
    if isinstance(source, str | Path):
        return opened(Path(source)), str(source)
    if isinstance(source, Image.Image):
        try:
            upright = ImageOps.exif_transpose(source)
            upright.format = source.format
            return of_eight_bits(upright), "image"
        except (*UNREADABLE, AssertionError) as problem:  # the last of a closed one
            raise unreadable("image", problem) from None
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[-1] not in (3, 4):
        raise ValueError(f"image: got {source.dtype} {list(source.shape)}, wanted uint8 [H, W, 3] or [H, W, 4]")
    return Image.fromarray(source), "image"


def without_background(picture: np.ndarray, background: str) -> tuple[np.ndarray, np.ndarray]:
    """An image [H, W, 3] uint8 with white in place of its background, and the person's share of each pixel.

    Args:
        picture: the image.
        background: "border", "white" or "#rrggbb".

    Returns:
        [H, W, 3] float32 in 0 to 255, [H, W] in [0, 1].
    """
    colour = border_colour(picture) if background == "border" else colour_of(background)
    try:
        alpha = apart_from_border(picture, *learn([picture])) if colour is None else apart_from_colour(picture, colour)
    except ValueError:  # nothing differs from the edges
        return np.full(picture.shape, WHITE, np.float32), np.zeros(picture.shape[:2])
    return with_white(picture.astype(np.float32), alpha > HALF)


def with_white(rgb: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An image [H, W, 3] in 0 to 255 with white in place of what lies outside the person, [H, W] bool.

    Pixels along the outline mix both sides: rgb = a F + (1 - a) B, with F and B the colours of the nearest pixels that
    surely are of the person and of the background. B is taken out of them: a F + (1 - a) white.

    Returns:
        the image, and a [H, W].
    """
    if person.all() or not person.any():
        return np.where(person[..., None], rgb, np.float32(WHITE)), person.astype(np.float32)
    reach = max(LEAST_REACH, round(REACH * max(person.shape)))
    F, B = (nearest_colour(rgb, side, reach) for side in (person, ~person))
    apart = F - B
    square = (apart * apart).sum(axis=-1)
    a = (((rgb - B) * apart).sum(axis=-1) / np.maximum(square, 1)).clip(0, 1)
    a = np.where(square < SAME**2, person, a)
    near = np.asarray(ndimage.distance_transform_edt(person)) <= reach
    near &= np.asarray(ndimage.distance_transform_edt(~person)) <= reach
    a = np.where(near, a, person)[..., None]
    return np.where(a > 0, rgb + (1 - a) * (WHITE - B), np.float32(WHITE)), a[..., 0]


def nearest_colour(rgb: np.ndarray, side: np.ndarray, reach: int) -> np.ndarray:
    """At each pixel the mean colour around the nearest one in `side`, [H, W] bool, that is `reach` from its outline."""
    inner = np.asarray(ndimage.distance_transform_edt(side)) > reach
    inner = inner if inner.any() else side
    weight = ndimage.gaussian_filter(inner.astype(np.float32), reach)
    mean = np.stack([ndimage.gaussian_filter(rgb[..., k] * inner, reach) for k in range(3)], axis=-1)
    rows, columns = np.asarray(ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True))
    return (mean / np.maximum(weight, 1e-6)[..., None])[rows, columns]


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """An image [H, W, 3] in 0 to 255 with alpha [H, W] uint8 over white."""
    return WHITE + (rgb - WHITE) * (alpha[..., None] / np.float32(255))


def shows_face(picture: np.ndarray) -> bool:
    """Whether OpenCV finds a frontal face in an image [H, W, 3 or 4] uint8 of at least FACE_PIXELS a side.

    It finds one in 23 of 24 frontal avatars, in half of those from any side, and in some pictures without a face.
    """
    found = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml").detectMultiScale(
        cv2.cvtColor(picture[..., :3], cv2.COLOR_RGB2GRAY), 1.05, 3, minSize=(len(picture) // 8,) * 2
    )
    return len(found) > 0


def blank(picture: np.ndarray) -> bool:
    """Whether an image [H, W, 3] in 0 to 255 is of nearly one colour."""
    colours = picture.reshape(-1, 3)
    return bool((colours.max(axis=0) - colours.min(axis=0)).max() < BLANK)


def why_no_person(alpha: np.ndarray) -> str:
    """Why nobody can be where a picture's alpha says, in a few words; empty where somebody may be.

    It knows the share and the place of what stands out from the background, and no face: a vase of a person's size in
    the middle passes, and so does a dog.

    Args:
        alpha: [H, W] uint8.
    """
    person = alpha > HALF
    share = float(person.mean())
    if share < LEAST_SHARE:
        return (
            f"what stands out from the background fills {share:.1%} of the picture, a person {LEAST_SHARE:.0%} or more"
        )
    if share > MOST_SHARE:
        return f"no background can be told: {share:.0%} of the picture is taken for the person"
    y, x = (float(place.mean()) / side for place, side in zip(np.nonzero(person), person.shape, strict=True))
    if max(abs(x - 0.5), abs(y - 0.5)) > OFF_CENTRE:
        return f"what stands out lies {x:.0%} from the left and {y:.0%} from the top, a person in the middle"
    return ""
