"""What a lens does to a point, as OpenCV's manual writes it, one term after the other."""

import numpy as np


def bent(x, y, bends: dict[str, float], fisheye: bool) -> tuple[np.ndarray, np.ndarray]:
    """Where the lens shows (X / Z, Y / Z); bends: k1..k6, p1, p2, s1..s4 by name, 0 where they are missing."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    k1, k2, k3, k4, k5, k6 = (bends.get(f"k{number}", 0.0) for number in range(1, 7))
    p1, p2, s1, s2, s3, s4 = (bends.get(name, 0.0) for name in ("p1", "p2", "s1", "s2", "s3", "s4"))
    r = np.sqrt(x * x + y * y)
    if fisheye:
        a = np.arctan(r)
        grown = np.where(r > 0, (a + k1 * a**3 + k2 * a**5 + k3 * a**7 + k4 * a**9) / np.where(r > 0, r, 1.0), 1.0)
        return x * grown, y * grown
    radial = (1 + k1 * r**2 + k2 * r**4 + k3 * r**6) / (1 + k4 * r**2 + k5 * r**4 + k6 * r**6)
    return (
        x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2) + s1 * r**2 + s2 * r**4,
        y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y + s3 * r**2 + s4 * r**4,
    )


def straight(u: np.ndarray, v: np.ndarray, bends: dict[str, float], fisheye: bool) -> tuple[np.ndarray, np.ndarray]:
    """The point that the lens shows at (u, v): Newton's method with slopes by small differences."""
    x, y, step = np.array(u), np.array(v), 1e-6
    for _ in range(6 if fisheye or any(bends.values()) else 0):
        a, b = bent(x, y, bends, fisheye)
        ax, bx = ((more - here) / step for more, here in zip(bent(x + step, y, bends, fisheye), (a, b), strict=True))
        ay, by = ((more - here) / step for more, here in zip(bent(x, y + step, bends, fisheye), (a, b), strict=True))
        slope = ax * by - ay * bx
        x, y = x - (by * (a - u) - ay * (b - v)) / slope, y - (ax * (b - v) - bx * (a - u)) / slope
    return x, y
