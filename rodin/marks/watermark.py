"""An invisible watermark in pictures: a keyed pattern in their middle frequencies, and its detector.

The pattern is a square tile of TILE pixels that repeats over the picture; the phases of its waves follow from the key.
The detector adds up all tiles of the picture, keeps of each wave its phase alone, and counts how well these phases fit
the key's, at every shift of the tile and a few sizes of the picture. So it finds the mark in crops and in pictures that
were made smaller or stored as JPEG, with nothing but the key. Where the picture's own waves are louder than the
pattern's, small steps uphill raise the waves that can be had for the least change.

Its false alarms have a bound that holds for every picture: a key drawn at random gives each of F waves a phase that is
independent and uniform, so the sum of their cosines passes z · sqrt(F / 2) with a probability of at most exp(−z² / 2)
(Chernoff, as the Bessel function I0(t) is at most exp(t² / 4)); times the number of shifts and sizes that are tried.

Ours, in place of a library: invisible-watermark brings an opencv and an onnxruntime of its own, blind-watermark has no
error rate; both lose the mark in a crop.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from rodin.marks.keys import PUBLIC_KEY

TILE = 64  # pixels: the smallest picture of the presets holds one whole tile
COARSE, FINE = (4.0, 13.0), (10.0, 30.0)  # waves on a tile: periods of 16 to 5 pixels, which JPEG keeps; 6 to 2 pixels
SMALL = 128  # pixels: under it the coarse waves are the face itself, and the mark takes the fine ones
STRENGTH = 2.6  # grey levels of 255 at first, root mean square where the person is: 45 dB of a whole picture
MOST_NOISE = 2.3  # grey levels, root mean square of a whole picture: 40.3 dB with the rounding to whole levels
ROUNDS, STEP, LOUDEST = 60, 0.4, 9.0  # steps uphill, their size in grey levels, most that one pixel changes
ENOUGH, QUIET = 0.75, 0.5  # mean cosine at which a mark is strong; noise to come, in median heights of a wave
LEAST_WEIGHT, MOST_WEIGHT, TEXTURE = 0.6, 2.0, 10.0  # of the mark: in flat parts, in textured ones; grey levels
SMOOTH, AROUND = 4.0, 6.0  # pixels: what is taken off as the picture itself, and where its contrast is measured
FLOOR, CLIP = (
    4.0,
    2.0,
)  # grey levels added to the contrast; most contrasts that a pixel counts, so that edges do not rule
CERTAIN = 1e-6  # false alarms under which the answer is yes: one in a million pictures
TRIES = 2 * TILE * TILE  # bands and shifts that are tried at each size
SIDES = (64, 128, 256, 512, 1024)  # pixels: sides that avatars usually have, tried for square pictures
MOST_ENLARGED = 4  # times: a mark that was made smaller still is gone
LEAST_SIDE, MOST_PIXELS = 16, 1 << 22  # of a picture that is looked at: less holds no wave, more is made smaller
LUMINANCE = np.array([0.299, 0.587, 0.114])  # of red, green and blue, as JPEG has it (ITU-R BT.601)


@dataclass(frozen=True)
class Detection:
    """Answer of the detector.

    Args:
        marked: whether the mark is there, with fewer than CERTAIN false alarms.
        false_alarm: bound of the probability that a picture without the mark gives as high a score.
        score: z, in standard deviations of a picture without the mark.
        scale: factor by which the picture was enlarged before the mark was found.
    """

    marked: bool
    false_alarm: float
    score: float
    scale: float


def mark(rgba: np.ndarray, key: bytes = PUBLIC_KEY) -> np.ndarray:
    """Mark a picture where it is opaque; its alpha and what is transparent stay as they are.

    Args:
        rgba: [H, W, 4] uint8, straight alpha.
        key: any bytes; only who has them can check.

    Returns:
        [H, W, 4] uint8.
    """
    opaque = rgba[..., 3] > 0
    if not opaque.any():
        return rgba.copy()
    covered, colours = rgba[..., 3] / 255, rgba[..., :3].astype(np.float64)
    grey = _grey(rgba)
    waves = _phases(key, FINE if min(grey.shape) < SMALL else COARSE)[0]
    contrast = np.sqrt(np.maximum(gaussian_filter(grey**2, 3) - gaussian_filter(grey, 3) ** 2, 0))
    weight = np.clip(LEAST_WEIGHT + contrast / TEXTURE, LEAST_WEIGHT, MOST_WEIGHT)
    weight *= opaque / math.sqrt(max(float((weight**2 * covered).sum() / max(covered.sum(), 1e-9)), 1e-9))
    change = STRENGTH * weight * _tiled(waves, *grey.shape)
    for _ in range(ROUNDS):
        change *= min(1.0, MOST_NOISE / max(float(np.sqrt(np.mean((change * covered) ** 2))), 1e-9))
        sums, loudness = _folded(grey + change * covered)
        height = np.abs(sums)
        if float((np.real(sums * np.conj(waves)) / np.maximum(height, 1e-9)).sum()) > ENOUGH * np.abs(waves).sum():
            break
        spare = height + QUIET * np.median(height[waves != 0])
        rise = waves / spare - np.real(sums * np.conj(waves)) * sums / np.maximum(height, 1e-9) / spare**2
        step = _tiled(np.where(waves != 0, rise, 0), *grey.shape) * opaque / loudness
        step *= STEP / max(float(np.sqrt(np.mean(step**2, where=opaque))), 1e-9)
        change = np.clip(change + step, -LOUDEST * weight, LOUDEST * weight)
    changed = np.clip(np.rint(colours + (change * opaque)[..., None]), 0, 255).astype(np.uint8)
    return np.concatenate([changed, rgba[..., 3:]], axis=-1)


def detect(picture: np.ndarray, key: bytes = PUBLIC_KEY) -> Detection:
    """Look for the mark in a picture, over white where it is transparent.

    Args:
        picture: [H, W, 3] or [H, W, 4] uint8.
        key: that of `mark`.

    Raises:
        ValueError: a picture of less than LEAST_SIDE pixels a side.
    """
    grey = _grey(picture)
    if min(grey.shape) < LEAST_SIDE:
        raise ValueError(f"picture of {grey.shape[1]} x {grey.shape[0]} pixels, wanted {LEAST_SIDE} a side or more")
    sizes = _sizes(*grey.shape)
    scores = {size: _score(_resized(grey, size), key) for size in sizes}
    best = max(scores, key=lambda size: scores[size])
    alarm = min(1.0, TRIES * len(sizes) * math.exp(-(max(scores[best], 0.0) ** 2) / 2))
    return Detection(alarm < CERTAIN, alarm, scores[best], best[0] / grey.shape[0])


def _grey(picture: np.ndarray) -> np.ndarray:
    """Luminance [H, W] in 0..255 of a picture over white."""
    grey = picture[..., :3] @ LUMINANCE
    if picture.shape[-1] == 4:
        opaque = picture[..., 3] / 255
        grey = grey * opaque + 255 * (1 - opaque)
    return grey


@lru_cache(maxsize=8)
def _phases(key: bytes, between: tuple[float, float]) -> tuple[np.ndarray, int]:
    """The pattern's waves as numpy's rfft2 orders them, [TILE, TILE / 2 + 1] complex, 0 outside the band; and F."""
    down, across = np.fft.fftfreq(TILE, 1 / TILE)[:, None], np.fft.rfftfreq(TILE, 1 / TILE)[None]
    radius = np.hypot(down, across)
    band = (radius >= between[0]) & (radius <= between[1])
    seed = int.from_bytes(hashlib.sha256(b"rodin watermark 1\0" + key).digest(), "big")
    turns = np.random.Generator(np.random.PCG64(seed)).random(band.shape)
    waves = np.where(band, np.exp(2j * np.pi * turns), 0)
    first = waves[:, 0]  # a real picture has this column's waves twice, with opposite phases
    first[TILE // 2 + 1 :] = np.conj(first[1 : TILE // 2][::-1])
    return waves, int(band[:, 1:].sum() + band[1 : TILE // 2, 0].sum())


def _tiled(waves: np.ndarray, height: int, width: int) -> np.ndarray:
    """The tile of some waves, with a root mean square of 1, repeated over [height, width]."""
    tile = np.fft.irfft2(waves, s=(TILE, TILE))
    return np.tile(tile / np.sqrt(np.mean(tile**2)), (-(-height // TILE), -(-width // TILE)))[:height, :width]


def _folded(grey: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Waves of all tiles of a picture [H, W] together, ordered as `_phases`; and what each pixel was divided by."""
    rest = grey - gaussian_filter(grey, SMOOTH)
    loudness = np.sqrt(gaussian_filter(rest**2, AROUND)) + FLOOR
    rest = np.clip(rest / loudness, -CLIP, CLIP)
    padded = np.pad(rest, [(0, -side % TILE) for side in rest.shape])
    rows, columns = (side // TILE for side in padded.shape)
    return np.fft.rfft2(padded.reshape(rows, TILE, columns, TILE).sum(axis=(0, 2))), loudness


def _score(grey: np.ndarray, key: bytes) -> float:
    """z of the best shift of the tile over a picture [H, W], in the better of both bands."""
    found = _folded(grey)[0]
    height, best = np.abs(found), -math.inf
    phases = np.divide(found, height, out=np.zeros_like(found), where=height > 1e-6 * max(height.max(), 1e-12))
    for between in (COARSE, FINE):
        waves, count = _phases(key, between)
        sums = np.fft.irfft2(phases * np.conj(waves), s=(TILE, TILE)) * TILE * TILE / 2  # of cosines, at every shift
        best = max(best, float(sums.max()) / math.sqrt(count / 2))
    return best


def _sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes (height, width) at which a picture is looked at: its own, twice and half, and of a square one all SIDES."""
    wanted = [(height, width), (2 * height, 2 * width), (height // 2, width // 2)]
    if height == width:
        wanted += [(side, side) for side in SIDES]
    fitting = [
        size
        for size in wanted
        if min(size) >= LEAST_SIDE and size[0] * size[1] <= MOST_PIXELS and size[0] <= MOST_ENLARGED * height
    ]
    shrink = MOST_PIXELS**0.5 / max(height, width)  # of a picture that is too large even as it is
    return list(dict.fromkeys(fitting)) or [
        (max(LEAST_SIDE, int(height * shrink)), max(LEAST_SIDE, int(width * shrink)))
    ]


def _resized(grey: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if size == grey.shape:
        return grey
    image = Image.fromarray(grey.astype(np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float64)
