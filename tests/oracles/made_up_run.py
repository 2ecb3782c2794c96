"""A run folder with stores of made-up people, so that training stages can be tried without Blender or fitting.

A person is two colours: a disc of hair over a block of shirt. Planes and latents are smooth functions of the colours.
"""

import numpy as np

from rodin.config import Config
from rodin.field import cameras
from rodin.stages import index
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

COLOURS = {
    "red": (200, 30, 30),
    "green": (30, 160, 40),
    "blue": (40, 60, 200),
    "yellow": (220, 200, 40),
    "black": (20, 20, 20),
    "purple": (140, 40, 160),
}


def person(number: int) -> tuple[str, str]:
    names = list(COLOURS)
    return names[number % len(names)], names[(number * 5 + number // len(names)) % len(names)]


def captions(number: int) -> list[str]:
    hair, shirt = person(number)
    return [
        f"a person with {hair} hair and a {shirt} shirt",
        f"a person with {hair} hair",
        f"a person in a {shirt} shirt",
        f"someone with {hair} hair",
    ]


def picture(number: int, side: int, rng: np.random.Generator) -> np.ndarray:
    """[side, side, 4] uint8: a disc over a block, at slightly different places in every view."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    x, y = 0.5 + rng.uniform(-0.05, 0.05), 0.35 + rng.uniform(-0.05, 0.05)
    hair, shirt = (np.array(COLOURS[name]) for name in person(number))
    rgba = np.zeros((side, side, 4), np.uint8)
    block = (rows > 0.65) & (np.abs(columns - x) < 0.35)
    disc = (rows - y) ** 2 + (columns - x) ** 2 < 0.06
    for where, colour in ((block, shirt), (disc, hair)):
        rgba[where, :3] = np.clip(colour * rng.uniform(0.85, 1.15), 0, 255)
        rgba[where, 3] = 255
    return rgba


def planes_of(number: int, channels: int, side: int, detail: float = 0.0) -> np.ndarray:
    """[3, C, side, side] float32 in [-1, 1], smooth but for `detail` that half the side cannot show.

    Different in each person and plane.
    """
    hair, shirt = (np.array(COLOURS[name]) / 255 for name in person(number))
    rows, columns = np.mgrid[0:side, 0:side] / side
    planes = np.empty((3, channels, side, side), np.float32)
    for plane in range(3):
        for channel in range(channels):
            a, b = hair[channel % 3], shirt[(channel + plane) % 3]
            planes[plane, channel] = a * np.cos(3 * rows + channel) + b * np.sin(4 * columns + plane)
    chequered = np.where(np.indices((side, side)).sum(axis=0) % 2, 1.0, -1.0)
    strength = detail * np.sin(1.0 + number + np.arange(3 * channels)).reshape(3, channels, 1, 1)
    return np.clip(0.6 * planes + strength * chequered, -1, 1).astype(np.float32)


def make_views(config: Config, run: RunFolder) -> None:
    data, people = config.data, config.all_subjects()
    size = data.resolution
    shapes = {"rgba": (data.views, size, size, 4), "camera_to_world": (data.views, 4, 4), "intrinsics": (data.views, 4)}
    poses = cameras.sphere(
        data.views,
        reference_views=data.reference_views,
        radius=data.camera_radius,
        elevation=data.elevation,
        seed=0,
    )
    lens = np.tile(cameras.pinhole(size, data.fov_degrees), (data.views, 1))
    with ShardWriter(run.stage("render"), 0, "views", people, shapes) as writer:
        for number, subject in enumerate(people):
            rng = np.random.default_rng(number)
            rgba = np.stack([picture(number, size, rng) for _ in range(data.views)])
            meta = {"caption": captions(number)[0], "captions": captions(number)}
            writer.add(subject, meta=meta, rgba=rgba, camera_to_world=poses, intrinsics=lens)
        writer.publish()


def make_planes(config: Config, run: RunFolder, detail: float = 0.0) -> None:
    plane, people = config.triplane, config.train_subjects()
    high, low = plane.resolution, plane.base_resolution
    shapes = {"planes": (3, plane.channels, high, high), "base": (3, plane.channels, low, low)}
    with ShardWriter(run.stage("fit"), 0, "planes", people, shapes) as writer:
        for number, subject in enumerate(people):
            whole = planes_of(number, plane.channels, high, detail)
            factor = high // low
            base = whole.reshape(3, plane.channels, low, factor, low, factor).mean(axis=(3, 5))
            writer.add(subject, meta={"psnr": 20.0}, planes=whole.astype(np.float16), base=base.astype(np.float16))
        writer.publish()
    sums: index.Sums = {}
    index.publish(run, [index.report(Shards(run.stage("fit"), "planes"), 0, sums)], sums)


def make_latents(config: Config, run: RunFolder, tokens: int = 8, token_width: int = 12) -> None:
    data, width, people = config.data, config.clip.width, config.all_subjects()
    count = data.captions
    shapes = {"image": (data.views, width), "text": (count, width)}
    shapes |= {"tokens": (count, tokens, token_width), "token_mask": (count, tokens)}
    mix = np.random.default_rng(0).normal(size=(6, width))
    with ShardWriter(run.stage("embed"), 0, "latents", people, shapes) as writer:
        for number, subject in enumerate(people):
            rng = np.random.default_rng(number)
            centre = np.concatenate([np.array(COLOURS[name]) / 128 - 1 for name in person(number)]) @ mix
            image = centre + 0.1 * rng.normal(size=(data.views, width))
            text = centre + 0.3 * rng.normal(size=(count, width))
            image, text = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (image, text))
            words = rng.normal(size=(count, tokens, token_width)).astype(np.float16)
            mask = np.arange(tokens) < 1 + rng.integers(1, tokens, size=(count, 1))
            arrays = {"image": image.astype(np.float32), "text": text.astype(np.float32)}
            writer.add(subject, **arrays, tokens=words, token_mask=mask)
        writer.publish()
