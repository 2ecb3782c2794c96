"""Files of generated pictures, and of pictures in motion; each says that it is generated (R60)."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from rodin.compositing import bytes_over_white
from rodin.marks.tags import Origin, gif_comment, picture_origin, png_chunks

FORMATS = ("gif", "mp4", "png")
FRAME_MILLISECONDS = 90  # a full turn of 24 frames in 2.2 s
TURN_SECONDS = 3.0  # of a path of more frames than a turntable has: about what a slow turn takes
FASTEST = 30  # ms a frame; browsers slow down GIFs that are faster than 20
LABEL_SIZE, LABEL_HEIGHT = 14, 24  # px: type of a label, and its line
LABEL_SHARE = 14  # of a picture's side that a letter is high at most, so that two labels do not meet
INSTALL = "pip install -c constraints.txt 'rodin-suite[video]', or take --format gif"


def check_format(kind: str) -> None:
    """Refuse, before any work, a format whose library is not installed.

    Raises:
        ValueError: mp4 without imageio-ffmpeg.
    """
    if kind == "mp4":
        try:
            importlib.import_module("imageio_ffmpeg")
        except ImportError:
            raise ValueError(f"format mp4: wanted the package imageio-ffmpeg, not installed; {INSTALL}") from None


def save_png(path: Path, rgba: np.ndarray, metadata: Mapping[str, Any], origin: Origin | None = None) -> None:
    """Write an image [H, W, 4] uint8 with text chunks that say where it comes from, made by what and from what.

    Args:
        path: the file.
        rgba: the image.
        metadata: of the avatar.
        origin: of the image; None: that of the avatar's pictures.
    """
    chunks = png_chunks(origin or picture_origin(metadata), metadata=metadata)
    Image.fromarray(rgba, "RGBA").save(path, "PNG", pnginfo=chunks)


def save_animation(
    folder: Path, name: str, frames: np.ndarray, kind: str, metadata: Mapping[str, Any]
) -> Sequence[Path]:
    """Write images [V, H, W, 4] uint8 as NAME.gif or NAME.mp4 over white, or each as NAME-000.png.

    Returns:
        paths of what was written.
    """
    if kind == "png":
        paths = [folder / f"{name}-{number:03d}.png" for number in range(len(frames))]
        for path, frame in zip(paths, frames, strict=True):
            save_png(path, frame, metadata)
        return paths
    path = folder / f"{name}.{kind}"
    (save_gif if kind == "gif" else save_mp4)(path, frames, metadata)
    return [path]


def frame_milliseconds(count: int) -> int:
    """How long a frame of so many is shown."""
    return max(FASTEST, min(FRAME_MILLISECONDS, round(1000 * TURN_SECONDS / count)))


def save_gif(path: Path, frames: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Write images [V, H, W, 4] uint8 over white as an endless animation, marked as generated."""
    images = [Image.fromarray(frame) for frame in bytes_over_white(frames)]
    images[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=frame_milliseconds(len(frames)),
        loop=0,
        comment=gif_comment(picture_origin(metadata), metadata),
    )


def save_mp4(path: Path, frames: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Write images [V, H, W, 4] uint8 over white as a film (H.264), marked as generated; sides become even.

    Raises:
        OSError: the film lacks frames, as on a full disk.
    """
    ffmpeg = importlib.import_module("imageio_ffmpeg")
    images = bytes_over_white(frames)
    height, width = (side - side % 2 for side in images.shape[1:3])
    said = f"comment={gif_comment(picture_origin(metadata)).decode('ascii')}"
    writer = ffmpeg.write_frames(
        str(path), (width, height), fps=1000 / frame_milliseconds(len(frames)), quality=8, macro_block_size=2,
        output_params=["-metadata", said],
    )  # fmt: skip
    writer.send(None)
    with contextlib.suppress(OSError):  # ffmpeg has ended: its frames tell
        for image in images:
            writer.send(np.ascontiguousarray(image[:height, :width]))
    writer.close()
    written = 0
    with contextlib.suppress(RuntimeError):  # a file that is cut short has no index, and cannot be read
        written = ffmpeg.count_frames_and_secs(str(path))[0]
    if written != len(images):  # no error of ffmpeg is told
        raise OSError(f"ffmpeg wrote {written} of {len(images)} frames, as on a full disk")


def labelled(pictures: Sequence[np.ndarray], labels: Sequence[str], side: int) -> np.ndarray:
    """Pictures [H, W, 3 or 4] uint8 side by side over white, each enlarged to `side` pixels with a label below.

    Returns:
        [side + 24, side times their number, 4] uint8, opaque.
    """
    row = Image.new("RGB", (side * len(pictures), side + LABEL_HEIGHT), "white")
    pen, font = ImageDraw.Draw(row), ImageFont.load_default(max(1, min(LABEL_SIZE, side // LABEL_SHARE)))
    for number, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        shown = Image.fromarray(bytes_over_white(picture) if picture.shape[-1] == 4 else picture)
        row.paste(shown.resize((side, side), Image.Resampling.BICUBIC), (number * side, 0))
        middle = (number * side + side // 2, side + LABEL_HEIGHT // 2)
        pen.text(middle, label, fill="black", font=font, anchor="mm")
    return np.asarray(row.convert("RGBA"))
