"""The scalp, where hair grows, and the skull's radius in every direction."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import KDTree

from rodin.avatars import assets
from rodin.avatars.body import Body
from rodin.avatars.geometry import at, azimuth, clip, compact, extend, normals, scatter

MIDDLE = np.array((0.0, 7.35, 0.35))
"""middle of the base mesh's head, decimetres"""
CROWN_HEIGHT = 8.48
"""height of the crown, decimetres of the base mesh"""
HAIRLINE = {
    0: 8.06, 22: 8.04, 34: 8.0, 42: 7.86, 48: 7.68, 54: 7.42, 60: 7.15, 68: 6.95, 78: 6.85, 92: 7.0,
    104: 7.05, 116: 6.85, 132: 6.60, 155: 6.45, 180: 6.40,
}  # fmt: skip
"""degrees from the front around the head -> lowest height of the hair, decimetres of the base mesh"""
NO_EAR = 0.35
"""share of the ear's movement from which a vertex belongs to the ear"""


@dataclass(frozen=True)
class Scalp:
    """The scalp, cut along the hairline: the person's vertices, triangles, and the base mesh's vertices."""

    vertices: np.ndarray
    triangles: np.ndarray
    rest: np.ndarray


@dataclass(frozen=True)
class Roots:
    """Roots of hairs.

    Args:
        points: [S, 3], world units.
        normals: [S, 3].
        across: [S] -1..1 from ear to ear.
        height: [S] 0..1 from hairline to crown.
        around: [S] 0 front .. 1 back.
    """

    points: np.ndarray
    normals: np.ndarray
    across: np.ndarray
    height: np.ndarray
    around: np.ndarray


class Skull:
    """The head without its ears, as a radius in every direction from its middle, world units."""

    def __init__(self, body: Body) -> None:
        low = body.rest[:, 1] < 6.9
        used = np.zeros(len(body.rest), dtype=bool)
        used[np.unique(body.skin)] = True
        chosen = used & ~low & (ears(body) < NO_EAR)
        self.centre = body.middle
        offsets = body.vertices[chosen] - self.centre
        self._radii = np.linalg.norm(offsets, axis=1)
        self._tree = KDTree(offsets / self._radii[:, None])

    def radius(self, directions: np.ndarray) -> np.ndarray:
        """Radius [M] of the skull along unit directions [M, 3]."""
        _, nearest = self._tree.query(directions, k=4)
        return self._radii[nearest].mean(axis=1)


def ears(body: Body) -> np.ndarray:
    """Share [N] in 0..1 by which each vertex belongs to an ear, from the ears' own shape targets."""
    moved = np.zeros(len(body.rest))
    for side in "lr":
        numbers, offsets = assets.target(f"ears/{side}-ear-trans-up")
        size = np.linalg.norm(offsets, axis=1)
        moved[numbers] = size / size.max()
    return moved


def hairline(around: np.ndarray) -> np.ndarray:
    """Lowest height of the hair where `around` is 0 in front and 1 behind, decimetres."""
    return np.interp(around * 180, np.array(list(HAIRLINE)), np.array(list(HAIRLINE.values())))


def cut(body: Body, lower: float = 0.0) -> Scalp:
    """The scalp; `lower` moves the hairline down, decimetres."""
    rest = body.rest
    inside = rest[:, 1] - hairline(_around(rest)) + lower
    inside = np.where(ears(body) > NO_EAR, -0.05, inside)
    top = body.skin[(rest[body.skin][:, :, 1] > 6.2).all(axis=1)]
    triangles, pairs, share = clip(inside, top)
    vertices, rested = extend(body.vertices, pairs, share), extend(rest, pairs, share)
    vertices, triangles, used = compact(vertices, triangles)
    return Scalp(vertices, triangles, rested[used])


def roots(rng: np.random.Generator, scalp: Scalp, count: int) -> Roots:
    """Even random roots on the scalp."""
    chosen, weights = scatter(rng, scalp.vertices, scalp.triangles, count)
    place = at(scalp.rest, scalp.triangles, chosen, weights)
    around = _around(place)
    line = hairline(around)
    return Roots(
        points=at(scalp.vertices, scalp.triangles, chosen, weights),
        normals=at(normals(scalp.vertices, scalp.triangles), scalp.triangles, chosen, weights),
        across=place[:, 0] / 0.75,
        height=np.clip((place[:, 1] - line) / (CROWN_HEIGHT - line), 0, 1),
        around=around,
    )


def _around(rest: np.ndarray) -> np.ndarray:
    offset = rest - MIDDLE
    return np.abs(azimuth(offset[:, 0], offset[:, 2])) / np.pi
