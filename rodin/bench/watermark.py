"""What the invisible watermark costs a picture, and what it survives, on avatars of a run at three sizes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from rodin.compositing import bytes_over_white
from rodin.config import Config
from rodin.generate.cascade import Avatars
from rodin.hooks import Progress
from rodin.marks.watermark import detect, mark
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

SIDES = (64, 128, 256, 512)  # pixels
QUALITY = 80  # of JPEG: usual on the web


def bench_watermark(config: Config, folder: RunFolder, count: int, progress: Progress) -> list[dict[str, Any]]:
    """Mark frontal pictures of a run's samples and look for the mark after each change.

    Args:
        config: the run's config.
        folder: the run, with its stage `sample` done.
        count: samples at most.
        progress: called with pictures done, all pictures and the present size.

    Returns:
        rows {name, value, unit, baseline, baseline_value}: by size the PSNR of marked pictures, over white, the worst
        one; and the share of pictures in which the mark is found after a change, beside the share of the unmarked
        pictures, changed likewise, in which it is seen by mistake.
    """
    samples = Shards(folder.stage("sample"), "samples")
    names = [one for one in samples.subjects if samples.meta(one)["kind"] != "trajectory"][:count]
    avatars, rows = Avatars(config, folder), []
    for place, side in enumerate(SIDES):
        noise, found = [], {name: [0, 0] for name in CHANGES}
        for done, name in enumerate(names):
            planes = torch.from_numpy(samples.read(name, "planes")).float()
            rgba = avatars.turn(planes, 1, side)[0]
            marked, plain = bytes_over_white(mark(rgba)), bytes_over_white(rgba)
            noise.append(np.square(marked.astype(float) - plain).mean())
            for change, changed in CHANGES.items():
                found[change][0] += detect(changed(marked)).marked
                found[change][1] += detect(changed(plain)).marked
            progress(place * len(names) + done + 1, len(SIDES) * len(names), f"{side} pixels")
        psnr = 10 * np.log10(255**2 / max(noise))
        rows.append({"name": f"{side}², PSNR of the worst picture", "value": float(psnr), "unit": "dB"})
        for change, (hits, mistakes) in found.items():
            row = {"name": f"{side}², {change}", "value": hits / len(names), "unit": f"of {len(names)} found"}
            rows.append(row | {"baseline": "unmarked", "baseline_value": mistakes / len(names)})
    return rows


def as_jpeg(picture: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] as JPEG keeps it."""
    data = io.BytesIO()
    Image.fromarray(picture).save(data, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(data))


def half_size(picture: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] at half its size."""
    size = picture.shape[1] // 2, picture.shape[0] // 2
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def cropped(picture: np.ndarray) -> np.ndarray:
    """The middle three quarters of a picture's width and height, a little off the centre."""
    height, width = picture.shape[:2]
    top, left = height // 7, width // 9
    return picture[top : top + 3 * height // 4, left : left + 3 * width // 4]


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda picture: picture,
    f"JPEG of quality {QUALITY}": as_jpeg,
    "half size": half_size,
    "crop to three quarters": cropped,
    "half size, then JPEG": lambda picture: as_jpeg(half_size(picture)),
    "crop, then JPEG": lambda picture: as_jpeg(cropped(picture)),
}
