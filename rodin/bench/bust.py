"""A bust of balls, rendered exactly: a subject to fit without any run."""

from __future__ import annotations

import numpy as np

from rodin.field import cameras


def bust(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Views of a bust of balls (shoulders, head, hair, nose) with striped colours, by exact ray intersections.

    Args:
        seed: of colours, sizes and cameras.
        count: V, number of views.
        size: side of the images, pixels.

    Returns:
        rgba [V, H, W, 4] uint8 with straight alpha, camera_to_world [V, 4, 4], intrinsics [V, 4].
    """
    generator = np.random.default_rng(seed)
    centres = np.array([(0, -0.75, 0), (0, 0.15, 0), (0, 0.3, -0.12), (0, 0.1, 0.4)])
    radii = np.array([0.45, 0.42, 0.42, 0.08]) * generator.uniform(0.9, 1.05, 4)
    paints = generator.uniform(0.1, 0.9, (4, 3))
    poses = cameras.sphere(count, reference_views=4, radius=4.0, elevation=(-20.0, 40.0), seed=seed)
    lens, fine = cameras.pinhole(size, 30.0), cameras.pinhole(2 * size, 30.0)
    views = []
    for pose in poses:
        origins, directions = cameras.rays(pose, fine, 2 * size, 2 * size)
        offset = origins[:, None] - centres
        half = (offset * directions[:, None]).sum(-1)
        root = half**2 - (offset**2).sum(-1) + radii**2
        t = np.where(root > 0, -half - np.sqrt(np.maximum(root, 0)), np.inf)
        ball, hit = t.argmin(-1), np.isfinite(t.min(-1))
        place = origins + np.where(hit, t.min(-1), 0.0)[:, None] * directions
        colour = paints[ball] * (0.8 + 0.2 * np.sign(np.sin(25 * place[:, 1:2])))
        cut = (size, 2, size, 2)
        alpha = hit.reshape(*cut, 1).astype(float).mean((1, 3))
        mean = (colour * hit[:, None]).reshape(*cut, 3).mean((1, 3)) / np.maximum(alpha, 1e-9)
        views.append(np.concatenate([mean, alpha], axis=-1))
    rgba = np.rint(np.stack(views).clip(0, 1) * 255).astype(np.uint8)
    return rgba, poses, np.broadcast_to(lens, (count, 4)).copy()
