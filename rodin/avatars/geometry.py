"""Meshes and strands as plain arrays, and operations on them. World units unless stated otherwise."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree


@dataclass(frozen=True)
class Finish:
    """The material of a surface.

    Args:
        roughness: 0 mirror .. 1 matt.
        specular: 0..1, 0.5 usual.
        opacity: 0..1.
        pattern: "plain", "striped" or "dotted".
        second: the pattern's other colour, sRGB in 0..1.
    """

    roughness: float = 0.6
    specular: float = 0.3
    opacity: float = 1.0
    pattern: str = "plain"
    second: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Mesh:
    """Triangles [F, 3] over vertices [N, 3], each vertex with an sRGB colour [N, 3] in 0..1."""

    name: str
    vertices: np.ndarray
    triangles: np.ndarray
    colours: np.ndarray
    finish: Finish = field(default_factory=Finish)
    smooth: bool = True

    @classmethod
    def of_one_colour(
        cls, name: str, vertices: np.ndarray, triangles: np.ndarray, colour: np.ndarray, finish: Finish
    ) -> Mesh:
        """A mesh whose vertices all have one sRGB colour [3] in 0..1."""
        return cls(name, vertices, triangles, np.tile(colour, (len(vertices), 1)), finish)


@dataclass(frozen=True)
class Strands:
    """Hairs: points [S, K, 3], radii [S, K], and one sRGB colour per hair [S, 3] in 0..1."""

    name: str
    points: np.ndarray
    radii: np.ndarray
    colours: np.ndarray
    finish: Finish = field(default_factory=lambda: Finish(roughness=0.45, specular=0.3))


Part = Mesh | Strands


def triangulate(quads: np.ndarray) -> np.ndarray:
    """Quads [F, 4] as triangles [2 F, 3]."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def compact(vertices: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mesh without unused vertices: (vertices, triangles, the old numbers of the remaining vertices)."""
    used, triangles = np.unique(triangles, return_inverse=True)
    return vertices[used], triangles.reshape(-1, 3), used


def normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit normals of the vertices [N, 3], area-weighted; zero for unused vertices."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    sums = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(sums, triangles[:, corner], faces)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def azimuth(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The angle of (x, z) from +z towards +x, radians, reproducible to the last bit.

    numpy's arctan2 uses one of two routines depending on memory layout; they differ in the last bit.
    """
    return np.array([math.atan2(*pair) for pair in zip(x.tolist(), z.tolist(), strict=True)])


def clip(values: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The part of a mesh where a value per vertex is positive; triangles on the edge are cut.

    Args:
        values: [N], the edge is where it is 0.
        triangles: [F, 3].

    Returns:
        triangles [G, 3] over the old vertices followed by P new ones; for each new vertex, the pair of old vertices it
        lies between [P, 2] and the weight of the second [P].
    """
    positive = values > 0
    inside = positive[triangles]
    count = inside.sum(1)
    kept = [triangles[count == 3]]
    one, two = _rolled(triangles[count == 1], inside[count == 1]), _rolled(triangles[count == 2], ~inside[count == 2])
    edges = np.concatenate([one[:, [0, 1]], one[:, [0, 2]], two[:, [0, 1]], two[:, [0, 2]]])
    pairs, number = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True)
    number = number.reshape(-1) + len(values)
    a, b, c, d = np.split(number, np.cumsum([len(one), len(one), len(two)]))
    kept.append(np.stack([one[:, 0], a, b], axis=1))
    kept.append(np.stack([c, two[:, 1], two[:, 2]], axis=1))
    kept.append(np.stack([c, two[:, 2], d], axis=1))
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]
    return np.concatenate(kept), pairs, first / (first - second)


def extend(array: np.ndarray, pairs: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Values per vertex [N, ...], followed by the interpolated values of the vertices added by `clip`."""
    share = share.reshape(-1, *[1] * (array.ndim - 1))
    return np.concatenate([array, array[pairs[:, 0]] * (1 - share) + array[pairs[:, 1]] * share])


def _rolled(triangles: np.ndarray, special: np.ndarray) -> np.ndarray:
    """Triangles rotated so that their one special corner comes first; the winding is unchanged."""
    first = special.argmax(axis=1) if len(special) else np.zeros(0, dtype=np.int64)
    return np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)


def scatter(
    rng: np.random.Generator, vertices: np.ndarray, triangles: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Uniform random points on a surface: triangle numbers [count] and barycentric weights [count, 3]."""
    corners = vertices[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = rng.choice(len(triangles), size=count, p=area / area.sum())
    u, v = rng.uniform(size=(2, count))
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    return chosen, np.stack([1 - u - v, u, v], axis=1)


def at(values: np.ndarray, triangles: np.ndarray, chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Values per vertex [N, D] interpolated at points from `scatter`: [count, D]."""
    return np.einsum("pkd,pk->pd", values[triangles[chosen]], weights)


class Obstacle:
    """A closed surface that keeps hair and clothes outside; the normal of the nearest point decides the side."""

    def __init__(self, vertices: np.ndarray, triangles: np.ndarray) -> None:
        middles = vertices[triangles].mean(axis=1)
        corners = vertices[triangles]
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        faces /= np.maximum(np.linalg.norm(faces, axis=1, keepdims=True), 1e-12)
        used = np.unique(triangles)
        self._points = np.concatenate([vertices[used], middles])
        self._normals = np.concatenate([normals(vertices, triangles)[used], faces])
        self._tree = KDTree(self._points)

    def push(self, points: np.ndarray, margin: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
        """Points [M, 3] moved along the nearest normal to a distance of at least `margin`, and those normals [M, 3]."""
        _, nearest = self._tree.query(points)
        normal = self._normals[nearest]
        height = np.einsum("pd,pd->p", points - self._points[nearest], normal)
        return points + np.maximum(margin - height, 0)[:, None] * normal, normal


def tube(
    path: np.ndarray, radius: np.ndarray | float, *, sides: int = 8, closed: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A round tube along a path.

    Args:
        path: [P, 3].
        radius: one for all, or [P].
        sides: corners of the round.
        closed: whether the path is a loop.

    Returns:
        vertices [P * sides, 3], triangles.
    """
    count = len(path)
    ahead = np.roll(path, -1, axis=0) - np.roll(path, 1, axis=0)
    if not closed:
        ahead[0], ahead[-1] = path[1] - path[0], path[-1] - path[-2]
    ahead /= np.maximum(np.linalg.norm(ahead, axis=1, keepdims=True), 1e-12)
    side = np.cross(ahead, (0.31, 0.93, 0.19))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
    up = np.cross(side, ahead)
    angle = 2 * np.pi * np.arange(sides) / sides
    ring = np.cos(angle)[:, None] * side[:, None] + np.sin(angle)[:, None] * up[:, None]
    vertices = path[:, None] + np.broadcast_to(np.asarray(radius), (count,))[:, None, None] * ring
    rows = np.arange(count if closed else count - 1)
    return vertices.reshape(-1, 3), triangulate(_grid(rows, (rows + 1) % count, sides))


def ellipsoid(
    centre: np.ndarray, radii: np.ndarray, *, rings: int = 16, sides: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """A closed ellipsoid: vertices and triangles."""
    polar, around = np.linspace(0, np.pi, rings + 1), 2 * np.pi * np.arange(sides) / sides
    unit = np.stack(
        [
            np.sin(polar)[:, None] * np.sin(around),
            np.broadcast_to(np.cos(polar)[:, None], (rings + 1, sides)),
            np.sin(polar)[:, None] * np.cos(around),
        ],
        axis=-1,
    )
    rows = np.arange(rings)
    return (centre + unit * radii).reshape(-1, 3), triangulate(_grid(rows + 1, rows, sides))


def _grid(rows: np.ndarray, following: np.ndarray, sides: int) -> np.ndarray:
    """Quads between two rows of `sides` vertices each, for every pair of rows."""
    column = np.arange(sides)
    beside = (column + 1) % sides
    corners = [rows[:, None] * sides + column, rows[:, None] * sides + beside]
    corners += [following[:, None] * sides + beside, following[:, None] * sides + column]
    return np.stack(corners, axis=-1).reshape(-1, 4)
