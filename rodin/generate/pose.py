"""The camera of a portrait: told from pictures of the run's people with known cameras, then searched for near that."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rodin.data.posed import Posed, reduced

Pose = tuple[float, float, float]  # yaw and pitch in degrees, distance in shares of the run's camera distance
Error = Callable[[Pose], float]  # how unlike the picture the models' planes look from a pose, over 0

FRONTAL: Pose = (0.0, 0.0, 1.0)  # where the search begins of a pose of which nothing is known
SEARCHED = ((-40.0, 40.0, 10.0), (-20.0, 30.0, 10.0), (0.8, 1.3, 0.1))  # least, most and step of each part of a pose
FINEST = (2.5, 2.5, 0.025)  # steps at which the search of a pose ends; a degree cannot be told from one at 64²
SURE = (6.0, 9.0, 0.05)  # std above which planes are asked: the error of `wide` in 19 pictures of the demo
UNTOLD = (20.0, 20.0, 0.2)  # std of what pictures cannot tell since their own poses hardly differ in it
FEWEST = 20  # people from whose pictures a pose can be told
RIDGE = 0.01  # variance of what no picture tells, in variances of the poses
NEAR_STEPS = (1.0, 0.5, 0.25)  # of the search near a told pose, in standard deviations of what was told
TINY = 1e-12  # against a division by nothing
WEIGHT = 20.0  # see `near`: twice the error counts as 3.7 standard deviations of what was told; not tuned


class Told(NamedTuple):
    """A pose as other pictures tell it: mean, and standard deviation of each part."""

    mean: Pose
    std: Pose


def told(known: Posed, rgba: np.ndarray, opacity: bool = True) -> Told | None:
    """The pose of a picture by Gaussian process regression from pictures with known poses.

    k(a, b) = exp(-|a - b|² / median |a - b|²). The standard deviation is the error at people left out of the regression
    times how much less is known of this picture than of theirs: a picture unlike all others is told nothing.

    Args:
        known: the pictures.
        rgba: [S, S, 4] in [0, 1], colours over white.
        opacity: whether alpha says where the person is; else colours alone are compared.

    Returns:
        the pose, or None where pictures of fewer than 20 people are there.

    Ours: the whole estimate; the paper does not say how it finds the camera of a portrait.
    """
    if len(np.unique(known.people)) < FEWEST:
        return None
    channels = 4 if opacity else 3
    features = known.pictures[..., :channels].reshape(len(known.pictures), -1).astype(np.float64)
    asked = reduced(rgba.astype(np.float32), known.pictures.shape[1])[..., :channels].reshape(1, -1)
    squares = _squares(features, features)
    width = max(float(np.median(squares)), TINY)
    inverse = np.linalg.inv(np.exp(-squares / width) + RIDGE * np.eye(len(features)))
    mean, std = known.poses.mean(axis=0), np.maximum(known.poses.std(axis=0), TINY)
    weights = inverse @ ((known.poses - mean) / std)
    errors, doubt = _left_out(inverse, weights, known.people)
    near = np.exp(-_squares(asked.astype(np.float64), features)[0] / width)
    own = max(1 + RIDGE - float(near @ inverse @ near), RIDGE)
    spread = np.minimum(np.sqrt((errors**2).mean(axis=0) * own / doubt.mean()), 1) * std
    return Told(_pose(mean + near @ weights * std), _pose(np.where(std < SURE, UNTOLD, spread)))


def _left_out(inverse: np.ndarray, weights: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Errors [N, 3] and variances [N] at each picture of a regression without the person in it, in closed form."""
    errors, doubt = np.empty_like(weights), np.empty(len(weights))
    for person in np.unique(people):
        rows = np.flatnonzero(people == person)
        covariance = np.linalg.inv(inverse[np.ix_(rows, rows)])
        errors[rows], doubt[rows] = covariance @ weights[rows], np.diag(covariance)
    return errors, doubt


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances [N, M] of rows [N, K] and [M, K]."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1) - 2 * a @ b.T
    return np.maximum(squares, 0)


def near(error: Error, told: Told, given: Sequence[float | None]) -> Pose:
    """The most likely pose by what was told and by the picture itself: a search of three passes around what was told.

    Only parts that were told poorly are searched for: planes that the models predict tell a pose worse than that.

    WEIGHT / 2 log error(pose) + 1/2 |(pose - mean) / std|², the first as of WEIGHT independent pixels of unknown noise

    Args:
        error: of a pose.
        told: mean and standard deviation.
        given: the parts that are known; None: free.
    """
    pose = _pose([mean if value is None else value for mean, value in zip(told.mean, given, strict=True)])
    free = [part for part in range(3) if given[part] is None and told.std[part] > SURE[part]]

    def unlikely(one: Pose) -> float:
        apart = [(one[part] - told.mean[part]) / told.std[part] for part in free]
        return WEIGHT / 2 * math.log(max(error(one), TINY)) + sum(square * square for square in apart) / 2

    tried = {pose: unlikely(pose)} if free else {pose: 0.0}
    for share in NEAR_STEPS:
        for part in free:
            for way in (-1, 1):
                one = _pose([*pose[:part], pose[part] + way * share * told.std[part], *pose[part + 1 :]])
                if one not in tried:
                    tried[one] = unlikely(one)
            pose = min(tried, key=lambda one: tried[one])
    return pose


def wide(error: Error, given: Sequence[float | None]) -> Pose:
    """The pose of the least error by a search along yaw, pitch and distance, where nothing was told.

    A first pass tries each part of the pose on a coarse grid, the frontal one first; later ones halve the steps.
    """
    pose = _pose([FRONTAL[part] if value is None else value for part, value in enumerate(given)])
    free = [part for part, value in enumerate(given) if value is None]
    tried = {pose: error(pose)}
    steps = [step for _, _, step in SEARCHED]
    for first in [True] + [False] * round(math.log2(SEARCHED[0][2] / FINEST[0])):
        steps = steps if first else [step / 2 for step in steps]
        for part in free:
            low, high, _ = SEARCHED[part]
            values = np.arange(low, high + 1e-6, steps[part]) if first else pose[part] + np.array([-1, 1]) * steps[part]
            for value in values.tolist():
                one = _pose([*pose[:part], value, *pose[part + 1 :]])
                if one not in tried:
                    tried[one] = error(one)
            pose = min(tried, key=lambda one: tried[one])
    return pose


def _pose(parts: Sequence[float] | np.ndarray) -> Pose:
    yaw, pitch, distance = (float(part) for part in parts)
    return yaw, pitch, distance
