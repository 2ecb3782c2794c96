"""Hair of the head: strands that grow from the scalp, combed by style, kept off head, neck and clothes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rodin.avatars import assets
from rodin.avatars.body import Body
from rodin.avatars.geometry import Finish, Mesh, Obstacle, Part, Strands, at, clip, compact, extend, normals, scatter
from rodin.avatars.person import Person, generator

MIDDLE = np.array((0.0, 7.35, 0.35))
"""middle of the base mesh's head, decimetres"""
HAIRLINE = (
    (0, 8.0), (30, 7.98), (45, 7.9), (58, 7.62), (68, 7.35), (80, 7.0), (92, 7.42), (112, 7.35), (130, 6.85), (155, 6.5), (180, 6.42),
)  # fmt: skip
"""degrees from the front around the head -> lowest height of the hair, decimetres"""
KNOTS = 10
LOWEST = -0.72
"""hair ends over this height, world units"""


@dataclass(frozen=True)
class Roots:
    """Where the hairs start: points and normals [S, 3] in world units; `across`, `height`, `around` of the base mesh.

    `across` is -1..1 from ear to ear, `height` 0..1 from hairline to crown, `around` 0 front .. 1 back.
    """

    points: np.ndarray
    normals: np.ndarray
    across: np.ndarray
    height: np.ndarray
    around: np.ndarray


@dataclass(frozen=True)
class Style:
    """How hair falls.

    Args:
        count: number of strands.
        length: world units, of the roots.
        flow: direction in which it is combed at the roots [S, 3].
        lift: how far over the skin the outermost hair lies.
        rise: how much it starts along the normal, 0 flat .. 1 upright.
        gravity: how soon it turns down, 0..1.
        curl: amplitude and turns a unit length of the curls.
        radius: of a strand.
        to: a place all strands gather at, or None.
    """

    count: int
    length: Callable[[Roots], np.ndarray]
    flow: Callable[[Roots], np.ndarray]
    lift: float = 0.06
    rise: float = 0.3
    gravity: float = 0.5
    curl: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.008


def _even(length: float) -> Callable[[Roots], np.ndarray]:
    return lambda roots: np.full(len(roots.points), length)


def _top_longer(top: float, sides: float) -> Callable[[Roots], np.ndarray]:
    return lambda roots: sides + (top - sides) * np.clip((roots.height - 0.25) / 0.4, 0, 1)


def _forward(roots: Roots) -> np.ndarray:
    """From the crown to all sides, the top towards the forehead."""
    out = roots.points - np.array((0, 0.6, -0.12))
    out[:, 1] *= 0.3
    return _unit(out)


def _parted(place: float) -> Callable[[Roots], np.ndarray]:
    """Away from a parting at `place` (-1..1 across), to both sides and back."""

    def flow(roots: Roots) -> np.ndarray:
        side = np.tanh((roots.across - place) * 8)
        return _unit(np.stack([side, -0.35 * np.ones(len(side)), -0.45 + 0.25 * roots.around], axis=1))

    return flow


def _back(roots: Roots) -> np.ndarray:
    return _unit(np.stack([0.5 * roots.across, 0.15 * np.ones(len(roots.across)), -np.ones(len(roots.across))], axis=1))


def _upward(roots: Roots) -> np.ndarray:
    return _unit(roots.normals + np.array((0, 1.1, 0.25)))


STYLES: dict[str, Style] = {
    "short": Style(3000, _top_longer(0.2, 0.1), _forward, lift=0.05, rise=0.3, gravity=0.3, radius=0.009),
    "cropped": Style(4000, _top_longer(0.055, 0.035), _forward, lift=0.03, rise=0.8, gravity=0.1, radius=0.009),
    "side-parted": Style(3000, _top_longer(0.3, 0.1), _parted(0.4), lift=0.07, rise=0.45, gravity=0.35, radius=0.009),
    "spiky": Style(2200, _top_longer(0.2, 0.06), _upward, lift=0.2, rise=0.9, gravity=0.0, radius=0.012),
    "curly": Style(2600, _top_longer(0.34, 0.3), _forward, lift=0.16, rise=0.9, gravity=0.35, curl=(0.035, 9), radius=0.011),
    "bob": Style(3600, _even(0.62), _parted(0.0), lift=0.09, rise=0.3, gravity=0.75, radius=0.009),
    "long": Style(4200, _even(1.25), _parted(0.05), lift=0.08, rise=0.25, gravity=0.8, radius=0.009),
    "wavy": Style(4200, _even(1.15), _parted(0.25), lift=0.11, rise=0.3, gravity=0.75, curl=(0.03, 3.5), radius=0.01),
    "ponytail": Style(2600, _even(0.55), _back, lift=0.03, rise=0.05, gravity=0.0, radius=0.009),
    "bun": Style(2600, _even(0.5), _back, lift=0.03, rise=0.05, gravity=0.0, radius=0.009),
}


def parts(person: Person, body: Body, obstacle: Obstacle) -> list[Part]:
    """The hair of the head: a cap in its colour on the scalp, and the strands over it."""
    rng = generator(person.seed, "hair")
    style = STYLES[person.hair_style]
    vertices, triangles, rest = scalp(body)
    colour = np.array(person.hair_rgb) / 255
    found: list[Part] = [_cap(vertices, triangles, colour * 0.8)]
    roots = _roots(rng, vertices, triangles, rest, style.count)
    points = _grow(rng, style, roots, obstacle)
    shade = colour * rng.uniform(0.75, 1.12, (len(points), 1))
    found.append(Strands("hair", points, _taper(style.radius, points.shape[:2]), np.clip(shade, 0, 1)))
    return found


def scalp(body: Body) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scalp cut out along the hairline: vertices in world units, triangles, vertices of the base mesh."""
    rest = body.rest
    line = np.interp(_around(rest) * 180, *zip(*HAIRLINE, strict=True))
    inside = rest[:, 1] - line
    ears = np.zeros(len(rest))
    for side in "lr":
        numbers, offsets = assets.target(f"ears/{side}-ear-scale-incr")
        ears[numbers] = np.linalg.norm(offsets, axis=1)
    inside[ears > 0.008] = -0.1
    top = body.skin[(rest[body.skin][:, :, 1] > 6.2).all(axis=1)]
    triangles, pairs, share = clip(inside, top)
    vertices, rested = extend(body.vertices, pairs, share), extend(rest, pairs, share)
    vertices, triangles, used = compact(vertices, triangles)
    return vertices, triangles, rested[used]


def _around(rest: np.ndarray) -> np.ndarray:
    """0 in front of the head's middle, 1 behind it."""
    offset = rest - MIDDLE
    return np.abs(np.arctan2(offset[:, 0], offset[:, 2])) / np.pi


def _cap(vertices: np.ndarray, triangles: np.ndarray, colour: np.ndarray) -> Mesh:
    raised = vertices + 0.012 * normals(vertices, triangles)
    return Mesh("scalp", raised, triangles, np.tile(colour, (len(raised), 1)), Finish(roughness=0.7, specular=0.1))


def _roots(rng: np.random.Generator, vertices: np.ndarray, triangles: np.ndarray, rest: np.ndarray, count: int) -> Roots:
    chosen, weights = scatter(rng, vertices, triangles, count)
    place = at(rest, triangles, chosen, weights)
    around = _around(place)
    line = np.interp(around * 180, *zip(*HAIRLINE, strict=True))
    return Roots(
        points=at(vertices, triangles, chosen, weights),
        normals=at(normals(vertices, triangles), triangles, chosen, weights),
        across=place[:, 0] / 0.75,
        height=np.clip((place[:, 1] - line) / (8.48 - line), 0, 1),
        around=around,
    )


def _grow(rng: np.random.Generator, style: Style, roots: Roots, obstacle: Obstacle) -> np.ndarray:
    """Strands [S, K, 3], one knot at a time, each pushed off whatever is under it."""
    count = len(roots.points)
    step = (style.length(roots) * rng.uniform(0.8, 1.08, count) / (KNOTS - 1))[:, None]
    layer = style.lift * rng.uniform(0.15, 1.0, count)
    aim = style.flow(roots) + rng.normal(0, 0.12, (count, 3))
    points = [roots.points]
    for knot in range(1, KNOTS):
        progress = knot / (KNOTS - 1)
        upright = style.rise * max(0.0, 1 - 2.2 * progress)
        surface = obstacle.normal(points[-1])
        combed = aim - (aim * surface).sum(axis=1, keepdims=True) * surface
        down = np.array((0.0, -1.0, 0.0))
        fall = style.gravity * min(1.0, 1.6 * progress)
        heading = _unit((1 - fall) * _unit(combed) + fall * down + upright * 2 * surface)
        margin = layer * min(1.0, 2.5 * progress)
        moved = np.clip(obstacle.push(points[-1] + step * heading, margin), -0.96, 0.96)
        points.append(np.where(points[-1][:, 1:2] < LOWEST, points[-1], moved))
    return _curled(rng, np.stack(points, axis=1), style.curl, style.length(roots))


def _curled(rng: np.random.Generator, points: np.ndarray, curl: tuple[float, float], length: np.ndarray) -> np.ndarray:
    amplitude, turns = curl
    if not amplitude:
        return points
    ahead = _unit(np.gradient(points, axis=1))
    side = _unit(np.cross(ahead, rng.normal(size=(len(points), 1, 3))))
    other = np.cross(ahead, side)
    phase = rng.uniform(0, 2 * np.pi, (len(points), 1)) + 2 * np.pi * turns * length[:, None] * np.linspace(0, 1, points.shape[1])
    grown = amplitude * np.minimum(1, 3 * np.linspace(0, 1, points.shape[1]))[None, :, None]
    return points + grown * (np.cos(phase)[..., None] * side + np.sin(phase)[..., None] * other)


def _taper(radius: float, shape: tuple[int, ...]) -> np.ndarray:
    along = np.linspace(0, 1, shape[1])
    return np.broadcast_to(radius * (1 - 0.7 * np.clip((along - 0.6) / 0.4, 0, 1)), shape)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
