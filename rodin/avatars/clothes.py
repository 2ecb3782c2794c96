"""Tops: a shirt cut from the suit around the body, with a neckline, collar or hood."""

import numpy as np

from rodin.avatars.body import CUT_Y, Body
from rodin.avatars.geometry import Finish, Mesh, Part, azimuth, clip, compact, extend, triangulate, tube
from rodin.avatars.person import Person
from rodin.avatars.styles import unit

NECK = np.array((0.0, 5.6, 0.3))
"""a point on the neck's axis, decimetres of the base mesh"""
NECKLINES = {
    "t-shirt": ((0, 0.62), (30, 0.68), (60, 0.70), (90, 0.72), (120, 0.80), (150, 0.74), (180, 0.66)),
    "v-neck shirt": ((0, 0.82), (12, 0.74), (30, 0.70), (60, 0.69), (90, 0.72), (120, 0.80), (150, 0.74), (180, 0.66)),
    "collared shirt": ((0, 0.70), (12, 0.62), (40, 0.58), (90, 0.64), (120, 0.72), (150, 0.68), (180, 0.62)),
    "hoodie": ((0, 0.64), (30, 0.70), (60, 0.72), (90, 0.74), (120, 0.82), (150, 0.76), (180, 0.68)),
}
"""degrees around the neck from the front -> distance of the cloth's edge from the neck's axis, decimetres"""
TURTLENECK = ((0, 5.84), (90, 5.96), (180, 6.05))
"""degrees around the neck -> height of its upper edge, decimetres of the base mesh"""
LOOP = 64
"""points of a neckline's closed path"""


def parts(person: Person, body: Body) -> list[Part]:
    """The shirt and its rib, collar or hood."""
    covered = _covered(person, body.rest)
    triangles, pairs, share = clip(covered, body.suit)
    vertices = extend(body.vertices, pairs, share)
    edge = vertices[len(body.vertices) :]
    around = _around(extend(body.rest, pairs, share)[len(body.rest) :])
    loop = _loop(around, edge)
    vertices, triangles, _ = compact(vertices, triangles)
    second = np.array(person.second_rgb) / 255
    colour = np.array(person.shirt_rgb) / 255
    pattern = Finish(roughness=0.85, specular=0.1, pattern=person.pattern, second=tuple(second.tolist()))
    found: list[Part] = [Mesh.of_one_colour("shirt", vertices, triangles, colour, pattern)]
    return found + _finish(person, body, loop, colour)


def _covered(person: Person, rest: np.ndarray) -> np.ndarray:
    """Positive where the shirt covers the suit, on the base mesh [N]."""
    degrees = np.abs(_around(rest))
    if person.top == "turtleneck":
        return np.interp(degrees, *np.array(TURTLENECK).T) - rest[:, 1]
    away = np.linalg.norm((rest - NECK)[:, [0, 2]], axis=1)
    return away - np.interp(degrees, *np.array(NECKLINES[person.top]).T)


def _finish(person: Person, body: Body, loop: np.ndarray, colour: np.ndarray) -> list[Part]:
    """Rib, collar or hood around the neckline."""
    plain = Finish(roughness=0.85, specular=0.1)
    darker = colour * 0.82
    if person.top == "collared shirt":
        return [
            Mesh.of_one_colour("collar", *_collar(loop), np.clip(colour * 1.06, 0, 1), plain),
            *_buttons(body, loop, colour),
        ]
    if person.top == "hoodie":
        return [
            Mesh.of_one_colour("hood", *_hood(loop), colour, plain),
            *_strings(body, loop),
            Mesh.of_one_colour("rib", *_rib(loop, 0.02), darker, plain),
        ]
    if person.top == "turtleneck":
        return [Mesh.of_one_colour("rib", *_rib(loop - (0, 0.02, 0), 0.034), colour, plain)]
    return [Mesh.of_one_colour("rib", *_rib(loop, 0.019), darker, plain)]


def _around(rest: np.ndarray) -> np.ndarray:
    """Degrees around the neck, 0 in front, positive to the right of the frontal picture."""
    return np.degrees(azimuth(rest[:, 0] - NECK[0], rest[:, 2] - NECK[2]))


def _loop(around: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """The neckline as an even, smoothed closed path [LOOP, 3], starting in front."""
    order = np.argsort(around)
    degrees, points = around[order], edge[order]
    wanted = np.linspace(0, 360, LOOP, endpoint=False)
    wanted = np.where(wanted > 180, wanted - 360, wanted)
    path = np.stack([np.interp(wanted, degrees, points[:, axis], period=360) for axis in range(3)], axis=1)
    for _ in range(4):
        path = (np.roll(path, 1, axis=0) + 2 * path + np.roll(path, -1, axis=0)) / 4
    return path


def _rib(loop: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    return tube(loop, radius, closed=True)


def _outward(loop: np.ndarray) -> np.ndarray:
    """Unit directions away from the neck's axis, level."""
    offset = loop - loop.mean(axis=0)
    return unit(offset * (1.0, 0.0, 1.0))


def _collar(loop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A turned-down collar, open in front, with two points."""
    path = np.concatenate([loop[2:], loop[:0]])[: LOOP - 3]
    out = _outward(loop)[2 : LOOP - 1]
    place = np.linspace(-1, 1, len(path))
    tip = np.clip((np.abs(place) - 0.72) / 0.28, 0, 1)[:, None]
    up = np.array((0.0, 1.0, 0.0))
    stand = path + 0.005 * out + up * 0.075 * (1 - 0.6 * tip)
    fold = path + 0.035 * out + up * 0.085 * (1 - 0.6 * tip)
    fall = path + out * (0.10 + 0.05 * tip) - up * (0.035 + 0.10 * tip)
    fall[:, 1] = np.maximum(fall[:, 1], CUT_Y)
    rows = np.stack([path, stand, fold, fall], axis=1)
    count, sides = rows.shape[:2]
    corner = np.arange(count - 1)[:, None] * sides + np.arange(sides - 1)
    quads = np.stack([corner, corner + sides, corner + sides + 1, corner + 1], axis=-1).reshape(-1, 4)
    return rows.reshape(-1, 3), triangulate(quads)


def _buttons(body: Body, loop: np.ndarray, colour: np.ndarray) -> list[Part]:
    """Two buttons under the collar."""
    pale = np.full(3, 0.92) if colour.mean() < 0.75 else np.full(3, 0.25)
    found: list[Part] = []
    for number in range(2):
        y = max(float(loop[0, 1]) - 0.04 - 0.09 * number, CUT_Y)
        centre = np.array((0.0, y, float(_chest(body, 0.0, np.array([y]))[0]) + 0.004))
        ring = centre + 0.012 * np.array(
            [(np.cos(a), np.sin(a), 0.0) for a in np.linspace(0, 2 * np.pi, 8, endpoint=False)]
        )
        found.append(
            Mesh.of_one_colour("button", *tube(ring, 0.012, sides=6, closed=True), pale, Finish(roughness=0.4))
        )
    return found


def _hood(loop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A hood that lies behind the neck as a thick roll."""
    chosen = slice(7, LOOP - 6)
    path, out = loop[chosen], _outward(loop)[chosen]
    behind = np.sin(np.pi * np.linspace(0, 1, len(path)))
    radius = 0.012 + 0.10 * behind**0.7
    return tube(path + out * (0.035 + 0.05 * behind)[:, None] + np.array((0.0, 0.02, 0.0)), radius, sides=12)


def _strings(body: Body, loop: np.ndarray) -> list[Part]:
    """Two cords of the hood."""
    found: list[Part] = []
    for start in (loop[4], loop[-4]):
        y = np.maximum(start[1] - np.linspace(0.02, 0.2, 6), CUT_Y)
        path = np.stack([np.full(6, start[0]), y, _chest(body, float(start[0]), y) + 0.01], axis=1)
        found.append(Mesh.of_one_colour("cord", *tube(path, 0.010, sides=6), np.full(3, 0.93), Finish(roughness=0.8)))
    return found


def _chest(body: Body, across: float, heights: np.ndarray) -> np.ndarray:
    """z of the cloth at positions on the chest, world units."""
    cloth = body.vertices[np.unique(body.suit)]
    cloth = cloth[(np.abs(cloth[:, 0] - across) < 0.1) & (cloth[:, 2] > body.middle[2])]
    order = np.argsort(cloth[:, 1])
    return np.interp(heights, cloth[order, 1], cloth[order, 2])
