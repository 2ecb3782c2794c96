"""A person made of coloured ellipsoids, drawn exactly by intersecting rays with them: ground truth for the fitter."""

import numpy as np

from rodin.field import cameras

# centre, half axes, colour: head, hair, left and right eye, shoulders
PARTS = (
    ((0.0, 0.15, 0.0), (0.36, 0.46, 0.40), (0.85, 0.62, 0.50)),
    ((0.0, 0.33, -0.10), (0.41, 0.40, 0.40), (0.35, 0.16, 0.08)),
    ((-0.14, 0.22, 0.36), (0.07, 0.05, 0.05), (0.10, 0.20, 0.60)),
    ((0.14, 0.22, 0.36), (0.07, 0.05, 0.05), (0.10, 0.20, 0.60)),
    ((0.0, -0.65, -0.05), (0.70, 0.28, 0.30), (0.10, 0.45, 0.20)),
)


def nearest_hit(origins: np.ndarray, directions: np.ndarray, hair: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Colour [M, 3] and whether anything is hit [M], of rays [M, 3], the nearest ellipsoid in front."""
    best = np.full(len(origins), np.inf)
    colour = np.zeros((len(origins), 3))
    for number, (centre, axes, paint) in enumerate(PARTS):
        half = np.array(axes) * (hair if number == 1 else 1.0)
        o, d = (origins - np.array(centre)) / half, directions / half
        a, b, c = (d * d).sum(-1), (o * d).sum(-1), (o * o).sum(-1) - 1
        root = b * b - a * c
        t = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        closer = (t > 0) & (t < best)
        best = np.where(closer, t, best)
        normal = (o + np.where(np.isfinite(t), t, 0.0)[:, None] * d) / half
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        shaded = np.array(paint) * (0.75 + 0.25 * normal[:, 1:2])
        colour = np.where(closer[:, None], shaded, colour)
    return colour, np.isfinite(best)


def views(
    count: int, size: int, *, seed: int = 0, hair: float = 1.0, supersample: int = 3
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """rgba [V, H, W, 4] uint8, camera_to_world [V, 4, 4], intrinsics [V, 4] of the person from all sides."""
    poses = cameras.sphere(count, reference_views=min(4, count - 1), radius=4.0, elevation=(-20.0, 40.0), seed=seed)
    lens, fine = cameras.pinhole(size, 30.0), cameras.pinhole(size * supersample, 30.0)
    pictures = []
    for pose in poses:
        colour, hit = nearest_hit(*cameras.rays(pose, fine, size * supersample, size * supersample), hair=hair)
        cut = (size, supersample, size, supersample)
        alpha = hit.reshape(*cut, 1).astype(float).mean((1, 3))
        mean = (colour * hit[:, None]).reshape(*cut, 3).mean((1, 3)) / np.maximum(alpha, 1e-9)
        pictures.append(np.concatenate([mean, alpha], axis=-1))
    rgba = np.rint(np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
    return rgba, poses, np.broadcast_to(lens, (count, 4)).copy()
