"""Small pictures of a run's people whose cameras are known: what the pose of a portrait can be told from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np

from rodin.compositing import over_white
from rodin.config import Config
from rodin.data.rows import training_subjects
from rodin.field import cameras
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

SIDE = 16  # pixels; the error of a told yaw is the same at 24
WORKING = 64  # pixels at which pictures are enlarged and shrunk
WIDEST = 60.0  # degrees of yaw; a portrait from farther aside shows no face
DISTANCES = (0.8, 1.3)  # shares of the run's camera distance that pictures are enlarged and shrunk to
MOST = 400  # pictures of either kind of people: with mirrored ones a second of work, and twice as many tell no more
STRAIGHT = 0.1  # sine of the angle by which a camera may look past the middle or be tilted
CENTRED = 0.05  # sides of the image by which its optical axis may miss the centre


class Posed(NamedTuple):
    """Pictures [N, 16, 16, 4] in [0, 1], colours over white and alpha; their poses [N, 3], yaw and pitch in degrees and
    distance in shares of the run's camera distance; the number of the person in each [N]."""

    pictures: np.ndarray
    poses: np.ndarray
    people: np.ndarray


def posed_pictures(config: Config, folder: RunFolder) -> Posed:
    """Near-frontal pictures of people that a run learns from, each also mirrored, and seen from nearer or farther.

    Args:
        config: the run's config.
        folder: the run; of its training people and of those of `portraits`, whatever is there and whole is read.

    Returns:
        the pictures, none where the run keeps no views; never of held-out people.
    """
    generator, rows = np.random.default_rng(0), []
    for number, (rgba, pose) in enumerate(_people(config, folder, generator)):
        for picture, (yaw, pitch, distance) in zip(rgba, pose, strict=True):
            for side in (1, -1):
                share = math.exp(generator.uniform(*np.log(DISTANCES)))
                seen = reduced(farther(picture[:, ::side], share))
                rows.append((seen, (side * yaw, pitch, share * distance), number))
    if not rows:
        return Posed(np.empty((0, SIDE, SIDE, 4), np.float32), np.empty((0, 3)), np.empty(0, int))
    pictures, poses, people = zip(*rows, strict=True)
    return Posed(np.stack(pictures), np.array(poses), np.array(people))


def _people(
    config: Config, folder: RunFolder, generator: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pictures [V, S, S, 4] and poses [V, 3] of each person in turn."""
    for stage in ("render", "portraits"):
        try:
            views = Shards(folder.stage(stage), "views")
            subjects = [one for one in config.portrait_subjects() if one in views]
            subjects = training_subjects(config, views) if stage == "render" else subjects
        except StoreError:
            continue
        subjects = generator.permutation(subjects)[: MOST // 2].tolist()
        for subject in subjects:
            try:
                yield _near_frontal(config, views, subject, MOST // len(subjects), generator)
            except StoreError:  # damaged, or gone
                continue


def _near_frontal(
    config: Config, views: Shards, subject: str, count: int, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    matrices, lenses = views.read(subject, "camera_to_world"), views.read(subject, "intrinsics")
    side = views.shape("rgba")[1]
    found = [pose_of(config, matrix, lens / side) for matrix, lens in zip(matrices, lenses, strict=True)]
    near = [view for view, pose in enumerate(found) if pose is not None and abs(pose[0]) <= WIDEST]
    near = sorted(generator.permutation(near)[:count].astype(int).tolist())
    rgba = [_working(views.read(subject, "rgba", view)) for view in near]
    return np.array(rgba), np.array([found[view] for view in near])


def pose_of(config: Config, matrix: np.ndarray, lens: np.ndarray) -> tuple[float, float, float] | None:
    """The pose of a camera that looks at the middle, upright; None of another one.

    Args:
        config: the run's config.
        matrix: camera_to_world [4, 4].
        lens: fx, fy, cx, cy in sides of the image; a longer lens counts as a shorter distance.

    Returns:
        yaw and pitch in degrees, distance in shares of the run's camera distance.
    """
    x, y, z = position = matrix[:3, 3].astype(float)
    if math.hypot(x, z) < cameras.SHORTEST or np.abs(lens[2:] - 0.5).max() > CENTRED:
        return None
    if np.abs(cameras.look_at(position)[:3, :3] - matrix[:3, :3]).max() > STRAIGHT:
        return None
    focal = cameras.pinhole(1, config.data.fov_degrees)[0] / lens[0]
    distance = float(np.linalg.norm(position))
    angles = math.degrees(math.atan2(x, z)), math.degrees(math.asin(y / distance))
    return *angles, float(distance * focal / config.data.camera_radius)


def farther(picture: np.ndarray, share: float) -> np.ndarray:
    """A picture [S, S, 4] as if seen from `share` times the distance, white and transparent around the old edges."""
    side = len(picture)
    moved = np.array([[1 / share, 0, (side - 1) / 2 * (1 - 1 / share)]] * 2)
    moved[1] = moved[1, [1, 0, 2]]
    return cv2.warpAffine(
        np.ascontiguousarray(picture), moved, (side, side), flags=cv2.INTER_LINEAR, borderValue=(1, 1, 1, 0)
    )


def reduced(picture: np.ndarray, side: int = SIDE) -> np.ndarray:
    """A picture [S, S, 4] averaged over areas."""
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)


def _working(rgba: np.ndarray) -> np.ndarray:
    """A stored image, straight alpha, as [64, 64, 4] in [0, 1], its colours over white."""
    values = rgba.astype(np.float32) / 255
    return reduced(np.concatenate([over_white(values), values[..., 3:]], axis=-1), WORKING)
