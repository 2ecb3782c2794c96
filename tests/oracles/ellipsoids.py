"""Subjects made of coloured ellipsoids, rendered by exact ray intersections: ground truth for the fitter."""

from typing import NamedTuple

import numpy as np

from rodin.field import cameras


class Part(NamedTuple):
    """One ellipsoid: centre [3], half axes [3], colour [3]."""

    centre: np.ndarray
    axes: np.ndarray
    colour: np.ndarray


def person(seed: int) -> list[Part]:
    """Head, hair, two eyes and shoulders; sizes and colours drawn from the seed."""
    generator = np.random.default_rng(seed)
    size, hair = generator.uniform(0.9, 1.1, 3), generator.uniform(0.9, 1.25)
    skin, hair_colour, eye, shirt = (
        generator.uniform([0.5, 0.35, 0.25], [0.95, 0.75, 0.65]),
        *generator.uniform(0, 0.9, (3, 3)),
    )
    rows = [
        ((0.0, 0.15, 0.0), (0.36, 0.46, 0.40) * size, skin),
        ((0.0, 0.33, -0.10), np.array((0.41, 0.40, 0.40)) * hair, hair_colour),
        ((-0.14, 0.20, 0.38), (0.07, 0.05, 0.06), eye),
        ((0.14, 0.20, 0.38), (0.07, 0.05, 0.06), eye),
        ((0.0, -0.65, -0.05), (0.70, 0.28, 0.30), shirt),
    ]
    return [Part(np.array(centre), np.array(axes), np.array(colour)) for centre, axes, colour in rows]


def inside(parts: list[Part], points: np.ndarray) -> np.ndarray:
    """Whether points [M, 3] lie in the subject, [M] bool."""
    return np.any([(((points - part.centre) / part.axes) ** 2).sum(-1) < 1 for part in parts], axis=0)


def nearest_hit(parts: list[Part], origins: np.ndarray, directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Colour [M, 3] and whether anything is hit [M], of rays [M, 3], the nearest ellipsoid in front."""
    best = np.full(len(origins), np.inf)
    colour = np.zeros((len(origins), 3))
    for part in parts:
        o, d = (origins - part.centre) / part.axes, directions / part.axes
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        root = b * b - a * c
        t = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        closer = (t > 0) & (t < best)
        best = np.where(closer, t, best)
        normal = (o + np.where(np.isfinite(t), t, 0.0)[:, None] * d) / part.axes
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        colour = np.where(closer[:, None], part.colour * (0.75 + 0.25 * normal[:, 1:2]), colour)
    return colour, np.isfinite(best)


def views(count: int, size: int, *, seed: int = 0, supersample: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgba [V, H, W, 4] uint8, camera_to_world [V, 4, 4], intrinsics [V, 4] of subject `seed` from all sides."""
    poses = cameras.sphere(count, reference_views=min(4, count - 1), radius=4.0, elevation=(-20.0, 40.0), seed=seed)
    lens, fine = cameras.pinhole(size, 30.0), cameras.pinhole(size * supersample, 30.0)
    pictures, parts = [], person(seed)
    for pose in poses:
        colour, hit = nearest_hit(parts, *cameras.rays(pose, fine, size * supersample, size * supersample))
        cut = (size, supersample, size, supersample)
        alpha = hit.reshape(*cut, 1).astype(float).mean((1, 3))
        mean = (colour * hit[:, None]).reshape(*cut, 3).mean((1, 3)) / np.maximum(alpha, 1e-9)
        pictures.append(np.concatenate([mean, alpha], axis=-1))
    rgba = np.rint(np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
    return rgba, poses, np.broadcast_to(lens, (count, 4)).copy()
