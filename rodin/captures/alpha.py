"""The alpha of an image: its own, a mask's, or that of a background model."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rodin.captures.background import apart_from_border, apart_from_colour, learn
from rodin.captures.capture import Capture, Frame
from rodin.data.decoding import opened

BACKGROUNDS = "border, white, #rrggbb or none"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
Cut = Callable[[Frame], np.ndarray]


@dataclass(frozen=True)
class Alpha:
    """The user's choice of how the person is told from the background.

    Args:
        masks: a folder of masks named as the captures' images, white where the person is.
        background: "border": the colours along the upper edges of the images; "white" or "#rrggbb": this colour;
            "none": nothing is background, images are used whole.
    """

    masks: Path | None = None
    background: str | None = None

    def __post_init__(self) -> None:
        if self.masks is not None and not self.masks.is_dir():
            raise FileNotFoundError(f"{self.masks}: no such folder of masks")
        if self.masks is not None and self.background is not None:
            raise ValueError("masks and a background were given, wanted one of them")
        if self.background not in (None, "border", "none"):
            self.colour()

    def colour(self) -> np.ndarray:
        """The background's colour [3] uint8, where it is a single colour."""
        text = {"white": "#ffffff"}.get(self.background or "", self.background or "")
        try:
            if len(text) == 7 and text[0] == "#":
                return np.frombuffer(bytes.fromhex(text[1:]), np.uint8)
        except ValueError:
            pass
        raise ValueError(f"background '{self.background}', wanted {BACKGROUNDS}")


def cutter(capture: Capture, alpha: Alpha) -> Cut:
    """A function that reads a frame as rgba uint8 [H, W, 4], straight alpha; all masks are checked here.

    In order: the user's masks, masks that the capture names, the images' own alpha, the background model.

    Raises:
        ValueError, FileNotFoundError: a mask of another size, or no way to tell the person from the background.
    """
    if alpha.masks is not None or any(frame.mask for frame in capture.frames):
        masks = {frame.path: mask_of(capture, frame, alpha.masks) for frame in capture.frames}
        for frame in capture.frames:
            read_mask(frame, masks[frame.path])
        return lambda frame: with_alpha(frame, read_mask(frame, masks[frame.path]))
    if capture.transparent:
        return lambda frame: np.asarray(opened(frame.path, frame.upright).convert("RGBA"))
    if alpha.background is None:
        fault = f"{capture.bare[0].path}: no transparency" if capture.bare else f"{capture.source}: pictures all opaque"
        raise ValueError(
            f"{fault}, so nothing tells the person from the background; give masks (--masks DIR), "
            f"or say what the background is (--background {BACKGROUNDS})"
        )
    return partial(with_background, background_model(capture, alpha))


def background_model(capture: Capture, alpha: Alpha) -> Callable[[np.ndarray], np.ndarray]:
    """A function from an image [H, W, 3] uint8 to its alpha [H, W] uint8."""
    if alpha.background == "none":
        return lambda picture: np.full(picture.shape[:2], 255, np.uint8)
    if alpha.background == "border":
        models = learn(rgb(frame) for frame in capture.frames)
        return lambda picture: apart_from_border(picture, *models)
    return partial(apart_from_colour, colour=alpha.colour())


def with_background(model: Callable[[np.ndarray], np.ndarray], frame: Frame) -> np.ndarray:
    """A frame's image with the alpha of a background model."""
    return with_alpha(frame, model(rgb(frame)))


def with_alpha(frame: Frame, alpha: np.ndarray) -> np.ndarray:
    """A frame's colours and an alpha [H, W] uint8 as one image."""
    return np.dstack([rgb(frame), alpha])


def rgb(frame: Frame) -> np.ndarray:
    """A frame's colours [H, W, 3] uint8."""
    return np.asarray(opened(frame.path, frame.upright).convert("RGB"))


def mask_of(capture: Capture, frame: Frame, masks: Path | None) -> Path:
    """The file of a frame's mask: the user's by name, else the one named by the capture."""
    if masks is None:
        if frame.mask is None:
            raise FileNotFoundError(f"{capture.source}: no mask for '{frame.path.name}', as others have")
        return frame.mask
    inner = frame.path.relative_to(capture.folder)
    for folder in (masks / capture.name / inner.parent, masks / capture.name, masks / inner.parent, masks):
        for name in (f"{inner.name}.png", *(inner.stem + suffix for suffix in SUFFIXES)):
            if (folder / name).is_file() and (folder / name) != frame.path:
                return folder / name
    raise FileNotFoundError(f"{masks}: no mask for '{inner}', wanted {inner.stem}.png")


def read_mask(frame: Frame, path: Path) -> np.ndarray:
    """A mask [H, W] uint8, 255 where the person is."""
    picture = opened(path, frame.upright)
    if picture.size != (frame.lens.width, frame.lens.height):
        wanted = f"{frame.lens.width} x {frame.lens.height}, as {frame.path.name}"
        raise ValueError(f"{path}: a mask of {picture.size[0]} x {picture.size[1]} pixels, wanted {wanted}")
    return np.asarray(picture.getchannel("A") if picture.mode in ("RGBA", "LA") else picture.convert("L"))
