"""The alpha of an image: its own, a mask's, or that of a background model."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from rodin.captures.capture import Capture, Frame
from rodin.captures.mask_files import mask_of
from rodin.captures.masks import read_masks
from rodin.captures.turning import picture_of
from rodin.data.background import BACKGROUNDS, apart_from_border, apart_from_colour, colour_of, learn

OPAQUE = 127
"""alpha above which a pixel belongs to the person"""
ALL_AROUND = 0.9
"""a person that covers more of an image's upper edges than this covers more of its middle, too"""


@dataclass(frozen=True)
class Cut:
    """A function that reads a frame as rgba uint8 [H, W, 4], straight alpha.

    Args:
        read: the function.
        notes: what the user must know of the way that the person was told from the background.
    """

    read: Callable[[Frame], np.ndarray]
    notes: list[str] = field(default_factory=list)

    def __call__(self, frame: Frame) -> np.ndarray:
        return self.read(frame)


@dataclass(frozen=True)
class Alpha:
    """The user's choice of how the person is told from the background.

    Args:
        masks: a folder of masks named as the captures' images, white where the person is.
        background: "border": the colours along the upper edges of the images; "white" or "#rrggbb": this colour;
            "none": nothing is background, images are used whole.
        invert: masks are black where the person is.
    """

    masks: Path | None = None
    background: str | None = None
    invert: bool = False

    def __post_init__(self) -> None:
        if self.masks is not None and not self.masks.is_dir():
            raise FileNotFoundError(f"{self.masks}: no such folder of masks")
        if self.masks is not None and self.background is not None:
            raise ValueError("masks and a background were given, wanted one of them")
        if self.background not in (None, "border", "none"):
            colour_of(self.background)


def cutter(capture: Capture, alpha: Alpha) -> Cut:
    """The function that tells the person from the background; all masks are checked here.

    In order: the user's masks, masks that the capture names, the images' own alpha, the background model. Alpha of
    images that a run exported is taken as it is, all opaque or not.

    Raises:
        ValueError, FileNotFoundError: a mask of another size, no way to tell the person from the background, or one
            that finds nobody, or nothing but the person, in every image.
    """
    if alpha.masks is not None or any(frame.mask for frame in capture.frames):
        files = {frame.path: mask_of(capture, frame, alpha.masks) for frame in capture.frames}
        masks = read_masks(capture.frames, files, alpha.invert)
        where = f"{alpha.masks or capture.source}, masks of '{capture.name}'"
        other = "without --invert-masks" if alpha.invert else "with --invert-masks"
        remedy = f"wanted white where the person is, or labels over 0; where it is the other way round, import {other}"
        check_somebody(capture, masks.opacity, where, remedy)
        return Cut(lambda frame: with_alpha(frame, masks.opacity(frame)), masks.notes)
    if alpha.invert:
        raise ValueError(f"{capture.source}: masks are to be inverted, but there are none; give --masks DIR")
    if capture.ordered and not capture.bare:
        return Cut(rgba)
    if capture.transparent:
        remedy = "give masks (--masks DIR)"
        check_somebody(capture, own_alpha, f"{capture.source}, alpha of the pictures", remedy)
        return Cut(rgba)
    if alpha.background is None:
        fault = f"{capture.bare[0].path}: no transparency" if capture.bare else f"{capture.source}: pictures all opaque"
        raise ValueError(
            f"{fault}, so nothing tells the person from the background; give masks (--masks DIR), "
            f"or say what the background is (--background {BACKGROUNDS})"
        )
    model = background_model(capture, alpha)
    if alpha.background != "none":
        where, remedy = f"{capture.source}, --background {alpha.background}", "give another background, or masks"
        check_somebody(capture, lambda frame: model(rgb(frame)), where, remedy)
    return Cut(partial(with_background, model))


def check_somebody(capture: Capture, alpha_of: Callable[[Frame], np.ndarray], where: str, remedy: str) -> None:
    """Raise unless in one image at least a part is the person and a part is not; reads images until one is found.

    Args:
        capture: the images.
        alpha_of: a frame's alpha [H, W] uint8.
        where: the masks or whatever else alpha comes from; begins the message.
        remedy: ends the message.
    """
    faults = set()
    for frame in capture.frames:
        fault = fault_of(alpha_of(frame) > OPAQUE)
        if fault is None:
            return
        faults.add(fault)
    raise ValueError(f"{where}: {' or '.join(sorted(faults))} in all {len(capture.frames)} pictures; {remedy}")


def fault_of(person: np.ndarray) -> str | None:
    """What is wrong with the place of the person, [H, W] bool, in an image; None: nothing."""
    if not person.any():
        return "nobody"
    if person.all():
        return "nothing but the person"
    height, width = person.shape
    around = np.concatenate([person[0], person[: 3 * height // 4, 0], person[: 3 * height // 4, -1]])
    middle = person[height // 3 : height - height // 3, width // 3 : width - width // 3]
    return "the person all around but not in the middle" if around.mean() > ALL_AROUND > middle.mean() else None


def background_model(capture: Capture, alpha: Alpha) -> Callable[[np.ndarray], np.ndarray]:
    """A function from an image [H, W, 3] uint8 to its alpha [H, W] uint8."""
    if alpha.background == "none":
        return lambda picture: np.full(picture.shape[:2], 255, np.uint8)
    if alpha.background == "border":
        models = learn(rgb(frame) for frame in capture.frames)
        return lambda picture: apart_from_border(picture, *models)
    return partial(apart_from_colour, colour=colour_of(alpha.background or ""))


def with_background(model: Callable[[np.ndarray], np.ndarray], frame: Frame) -> np.ndarray:
    """A frame's image with the alpha of a background model."""
    return with_alpha(frame, model(rgb(frame)))


def with_alpha(frame: Frame, alpha: np.ndarray) -> np.ndarray:
    """A frame's colours and an alpha [H, W] uint8 as one image."""
    return np.dstack([rgb(frame), alpha])


def rgb(frame: Frame) -> np.ndarray:
    """A frame's colours [H, W, 3] uint8."""
    return np.asarray(picture_of(frame).convert("RGB"))


def rgba(frame: Frame) -> np.ndarray:
    """A frame's colours and its own alpha [H, W, 4] uint8."""
    return np.asarray(picture_of(frame).convert("RGBA"))


def own_alpha(frame: Frame) -> np.ndarray:
    """A frame's own alpha [H, W] uint8."""
    return rgba(frame)[..., 3]
