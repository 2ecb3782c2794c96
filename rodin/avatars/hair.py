"""Hair: strands from the scalp, combed by style, pushed out of head, neck and clothes and away from the face."""

import numpy as np

from rodin.avatars import scalp as scalps
from rodin.avatars.body import Body
from rodin.avatars.geometry import Finish, Mesh, Obstacle, Part, Strands, ellipsoid, normals
from rodin.avatars.person import Person, generator
from rodin.avatars.scalp import Roots, Scalp, Skull
from rodin.avatars.styles import STYLES, Style, unit

KNOTS = 10
"""control points of a strand"""
LOWEST = -0.40
"""height at which hair ends, world units"""
EDGE = 0.95
"""half side of the cube that hair stays inside, world units"""
DOWN = np.array((0.0, -1.0, 0.0))
HAIR = Finish(roughness=0.55, specular=0.15)
CAP = Finish(roughness=0.7, specular=0.1)


def parts(person: Person, body: Body, skull: Skull, obstacle: Obstacle) -> list[Part]:
    """A cap in the hair's colour on the scalp, the strands above it, and a tail or bun."""
    rng = generator(person.seed, "hair")
    style = STYLES[person.hair_style]
    scalp = scalps.cut(body, style.lower)
    colour = np.array(person.hair_rgb) / 255
    roots = scalps.roots(rng, scalp, style.count)
    if style.gathered:
        points, more = _gathered(rng, style, roots, body, skull, obstacle)
    else:
        points, more = _grow(rng, style, roots, body, obstacle), []
    found: list[Part] = [_cap(scalp, colour * 0.8), _strands(rng, points, style.radius, colour)]
    return found + [_coloured(rng, part, style.radius, colour) for part in more]


def _cap(scalp: Scalp, colour: np.ndarray) -> Mesh:
    raised = scalp.vertices + 0.012 * normals(scalp.vertices, scalp.triangles)
    return Mesh.of_one_colour("scalp", raised, scalp.triangles, colour, CAP)


def _strands(rng: np.random.Generator, points: np.ndarray, radius: float, colour: np.ndarray) -> Strands:
    along = np.linspace(0, 1, points.shape[1])
    radii = np.broadcast_to(radius * (1 - 0.7 * np.clip((along - 0.6) / 0.4, 0, 1)), points.shape[:2])
    shade = np.clip(colour * rng.uniform(0.82, 1.12, (len(points), 1)), 0, 1)
    return Strands("hair", points, radii, shade, HAIR)


def _coloured(
    rng: np.random.Generator, part: np.ndarray | tuple[np.ndarray, np.ndarray], radius: float, colour: np.ndarray
) -> Part:
    if isinstance(part, np.ndarray):
        return _strands(rng, part, radius, colour)
    return Mesh.of_one_colour("bun", *part, colour * 0.8, CAP)


def _grow(rng: np.random.Generator, style: Style, roots: Roots, body: Body, obstacle: Obstacle) -> np.ndarray:
    """Strands [S, K, 3], grown one knot at a time; each knot is pushed out of the obstacle."""
    count = len(roots.points)
    lengths = style.length(roots) * rng.uniform(0.82, 1.06, count)
    step = (lengths / (KNOTS - 1))[:, None]
    layer = style.lift * rng.uniform(0.2, 1.0, count)
    aim = style.flow(roots) + rng.normal(0, 0.1, (count, 3))
    side = np.sign(aim[:, 0])
    ends = LOWEST + rng.normal(0, 0.03, (count, 1))
    points, surface = [roots.points], roots.normals
    for knot in range(1, KNOTS):
        progress = knot / (KNOTS - 1)
        upright = style.rise * (max(0.0, 1 - 2.2 * progress) if style.gravity else 1.0)
        combed = aim - (aim * surface).sum(axis=1, keepdims=True) * surface
        fall = style.gravity * min(1.0, 1.6 * progress)
        heading = unit((1 - fall) * unit(combed) + fall * DOWN + upright * 2 * surface)
        moved, surface = obstacle.push(points[-1] + step * heading, layer * min(1.0, 2.5 * progress))
        moved = np.clip(_off_face(body, moved, side, lengths), -EDGE, EDGE)
        points.append(np.where(points[-1][:, 1:2] < ends, points[-1], moved))
    return np.clip(_curled(rng, np.stack(points, axis=1), style.curl, lengths), -EDGE, EDGE)


def _off_face(body: Body, points: np.ndarray, side: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Points of long hair moved aside where they would hang in front of the face."""
    x, y, z = points.T
    brow, chin = body.brow_height, body.chin_height
    wide = 0.25 - 0.07 * np.clip((brow - y) / (brow - chin), 0, 1)
    before = (lengths > 0.35) & (z > 0.12) & (y < brow + 0.12) & (y > chin - 0.1) & (np.abs(x) < wide)
    drawn = np.where(before, side * wide, x)
    return np.stack([drawn, y, np.where(before, np.minimum(z, 0.34), z)], axis=1)


def _curled(rng: np.random.Generator, points: np.ndarray, curl: tuple[float, float], length: np.ndarray) -> np.ndarray:
    amplitude, turns = curl
    if not amplitude:
        return points
    along = np.linspace(0, 1, points.shape[1])
    ahead = unit(np.gradient(points, axis=1))
    side = unit(np.cross(ahead, rng.normal(size=(len(points), 1, 3))))
    other = np.cross(ahead, side)
    phase = rng.uniform(0, 2 * np.pi, (len(points), 1)) + 2 * np.pi * turns * length[:, None] * along
    grown = amplitude * np.minimum(1, 3 * along)[None, :, None]
    return points + grown * (np.cos(phase)[..., None] * side + np.sin(phase)[..., None] * other)


def _gathered(
    rng: np.random.Generator, style: Style, roots: Roots, body: Body, skull: Skull, obstacle: Obstacle
) -> tuple[np.ndarray, list]:
    """Strands combed to one place behind the head, and the tail or bun there."""
    bun = style.gathered == "bun"
    direction = unit(np.array((0.0, 1.0 if bun else 0.3, -0.8)))
    knot = skull.centre + direction * (float(skull.radius(direction[None])[0]) + 0.02)
    along = np.linspace(0, 1, KNOTS)[None, :, None]
    straight = roots.points[:, None] * (1 - along) + (knot + rng.normal(0, 0.02, (len(roots.points), 1, 3))) * along
    offsets = straight - skull.centre
    reach = np.linalg.norm(offsets, axis=-1, keepdims=True)
    unit_offsets = offsets / np.maximum(reach, 1e-9)
    bare = skull.radius(unit_offsets.reshape(-1, 3)).reshape(*reach.shape)
    over = (
        style.lift * rng.uniform(0.3, 1, (len(roots.points), 1, 1)) * np.sin(np.pi * np.clip(along, 0.03, 0.97)) ** 0.5
    )
    low = unit_offsets[..., 1:2] < -0.35
    height = np.where(low, np.maximum(reach, np.linalg.norm(roots.points - skull.centre, axis=1)[:, None, None]), bare)
    points = skull.centre + unit_offsets * (height + over)
    points[:, 0] = roots.points
    if bun:
        return points, _bun(rng, knot + 0.06 * direction)
    return points, [_tail(rng, knot, obstacle)]


def _tail(rng: np.random.Generator, knot: np.ndarray, obstacle: Obstacle) -> np.ndarray:
    """A ponytail: a bundle that leaves the knot backwards and falls."""
    count, knots = 700, 12
    disc = unit(rng.normal(size=(count, 3))) * 0.1 * rng.uniform(0, 1, (count, 1)) ** 0.5
    length = 0.85 * rng.uniform(0.8, 1.0, (count, 1))
    points = [knot + 0.3 * disc]
    for number in range(1, knots):
        progress = number / (knots - 1)
        fall = min(1.0, 0.1 + 2.2 * progress)
        spread = disc * (2.2 if progress < 0.35 else -0.4 * progress)
        heading = unit(np.array((0, 0.25, -1.0)) * (1 - fall) + DOWN * fall + spread)
        moved, _ = obstacle.push(points[-1] + length / (knots - 1) * heading, 0.02)
        points.append(np.where(points[-1][:, 1:2] < LOWEST, points[-1], np.clip(moved, -EDGE, EDGE)))
    return np.stack(points, axis=1)


def _bun(rng: np.random.Generator, centre: np.ndarray) -> list:
    """A ball of wound hair: a core and arcs around it."""
    radius, count, knots = 0.135, 420, 12
    axis = unit(rng.normal(size=(count, 3)) * (0.5, 0.5, 1.0) + np.array((0.0, 0.3, 0.0)))
    side = unit(np.cross(axis, rng.normal(size=(count, 3))))
    other = np.cross(axis, side)
    turn = np.linspace(0, 1.5 * np.pi, knots)[None, :, None]
    arcs = np.cos(turn) * side[:, None] + np.sin(turn) * other[:, None]
    shell = radius * rng.uniform(0.93, 1.05, (count, 1, 1))
    return [centre + shell * arcs, ellipsoid(centre, np.full(3, 0.92 * radius))]
