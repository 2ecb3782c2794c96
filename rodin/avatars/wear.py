"""Glasses and hats."""

import numpy as np

from rodin.avatars import assets
from rodin.avatars.body import Body
from rodin.avatars.geometry import Finish, Mesh, Part, azimuth, ellipsoid, triangulate, tube
from rodin.avatars.person import Person, generator
from rodin.avatars.scalp import NO_EAR, Skull, ears
from rodin.avatars.styles import unit

FRAMES = ((24, 22, 24), (24, 22, 24), (70, 40, 26), (150, 30, 40), (120, 122, 128))
"""sRGB of spectacle frames; black is the most common"""
THICK = (0.014, 0.024)
"""least and greatest half of a rim's thickness, world units: bold frames of 7 to 11 mm, about a pixel of 64²"""
BRIM = 0.15
"""height of a hat's edge above the brow, world units"""
HAT = 0.035
"""distance of a hat from the skull, world units"""


def glasses(person: Person, body: Body) -> list[Part]:
    """Two rims, a bridge and two arms to the ears; empty without glasses."""
    if person.glasses is None:
        return []
    rng = generator(person.seed, "glasses")
    colour = np.array(FRAMES[int(rng.integers(len(FRAMES)))]) / 255
    centres = [_eye(body, side) for side in "rl"]
    ahead = max(centre[2] for centre in centres) + 0.115
    apart = abs(centres[1][0] - centres[0][0])
    radius, thick = min(0.15, 0.42 * apart), float(rng.uniform(*THICK))
    angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    power = 1.0 if person.glasses == "round" else 0.42
    cosine, sine = np.cos(angle), np.sin(angle)
    across = radius * np.sign(cosine) * np.abs(cosine) ** power
    up = radius * (1.0 if person.glasses == "round" else 0.78) * np.sign(sine) * np.abs(sine) ** power
    shapes: list[tuple[np.ndarray, np.ndarray]] = []
    y = float(np.mean([centre[1] for centre in centres])) - 0.01
    for centre in centres:
        x = centre[0] + across
        bent = ahead - 0.5 * (np.abs(x) - apart / 2) ** 2
        rim = np.stack([x, y + up, np.maximum(bent, _skin_ahead(body, x, y + up) + 0.02)], axis=1)
        shapes.append(tube(rim, thick, sides=6, closed=True))
    inner = apart / 2 - radius
    bow = np.linspace(-1, 1, 5)
    shapes.append(
        tube(np.stack([inner * bow, y + 0.03 * (1 - bow**2) + 0.01, np.full(5, ahead)], axis=1), 0.85 * thick, sides=6)
    )
    for sign, side in ((-1, "r"), (1, "l")):
        ear = _ear_top(body, side)
        start = np.array((sign * (apart / 2 + radius), y + 0.03, ahead - 0.5 * radius**2))
        bend = np.array((ear[0] + 0.015 * sign, start[1], start[2] - 0.1))
        shapes.append(tube(np.stack([start, bend, ear]), 0.8 * thick, sides=6))
    return [Mesh.of_one_colour("glasses", *shape, colour, Finish(roughness=0.25, specular=0.5)) for shape in shapes]


def hat(person: Person, body: Body, skull: Skull) -> list[Part]:
    """A beanie or a cap; empty without a hat."""
    if person.hat is None:
        return []
    colour = np.array(person.hat_rgb) / 255
    finish = Finish(roughness=0.9, specular=0.1)
    dome, edge = _dome(body, skull, HAT, (0.0, 1.0))
    if person.hat == "beanie":
        cuff, _ = _dome(body, skull, HAT + 0.022, (-0.06, 0.14))
        top = skull.centre + np.array((0.0, float(skull.radius(np.array([[0.0, 1.0, 0.0]]))[0]) + HAT + 0.04, 0.0))
        return [
            Mesh.of_one_colour("beanie", *dome, colour, finish),
            Mesh.of_one_colour("cuff", *cuff, colour * 0.8, finish),
            Mesh.of_one_colour("pompom", *ellipsoid(top, np.full(3, 0.085)), np.clip(colour * 1.1, 0, 1), finish),
        ]
    return [
        Mesh.of_one_colour("cap", *dome, colour, finish),
        Mesh.of_one_colour("visor", *_visor(edge), colour * 0.8, finish),
    ]


def under_hat(points: np.ndarray, body: Body, skull: Skull) -> np.ndarray:
    """Strands [S, K, 3] pressed to the head where a hat covers them."""
    offset = points - skull.centre
    reach = np.linalg.norm(offset, axis=-1, keepdims=True)
    direction = offset / np.maximum(reach, 1e-9)
    most = skull.radius(direction.reshape(-1, 3)).reshape(reach.shape) + 0.1 * HAT
    covered = points[..., 1:2] > _edge_height(body, direction)[..., None] - 0.03
    return np.where(covered, skull.centre + direction * np.minimum(reach, most), points)


def _edge_height(body: Body, direction: np.ndarray) -> np.ndarray:
    """Height of a hat's edge: low behind, over the brows in front."""
    ahead = direction[..., 2] / np.maximum(np.linalg.norm(direction[..., [0, 2]], axis=-1), 1e-9)
    return body.brow_height + BRIM + 0.07 * ahead


def _dome(
    body: Body, skull: Skull, off: float, span: tuple[float, float]
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """The skull enlarged by `off`, over a span from the edge (0) to the top (1): a mesh, and its lower path."""
    sides, rings = 36, 10
    around = 2 * np.pi * np.arange(sides) / sides
    level = np.stack([np.sin(around), np.zeros(sides), np.cos(around)], axis=1)
    low = azimuth(_edge_height(body, level) - skull.centre[1], np.full(sides, 0.4))
    rows = []
    for share in np.linspace(*span, rings):
        polar = low + (np.pi / 2 - low) * share
        direction = level * np.cos(polar)[:, None] + np.array((0.0, 1.0, 0.0)) * np.sin(polar)[:, None]
        rows.append(skull.centre + direction * (skull.radius(direction) + off)[:, None])
    vertices = np.concatenate(rows)
    row, column = np.arange(rings - 1)[:, None] * sides, np.arange(sides)
    beside = (column + 1) % sides
    quads = np.stack([row + column, row + beside, row + sides + beside, row + sides + column], axis=-1)
    return (vertices, triangulate(quads.reshape(-1, 4))), rows[0]


def _visor(edge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cap's peak, over the forehead."""
    count = len(edge)
    chosen = np.concatenate([edge[-5 % count :], edge[:6]])
    place = np.linspace(-1, 1, len(chosen))[:, None]
    long = 0.3 * np.clip(1 - place**2, 0, 1) ** 0.6
    out = unit(chosen * (0.35, 0.0, 1.0) - (0.0, 0.0, chosen[:, 2].mean() * 0.2))
    rows = [
        chosen + out * long * share - np.array((0.0, 0.09, 0.0)) * long / 0.3 * share**2 for share in (0, 0.4, 0.8, 1)
    ]
    vertices = np.stack(rows, axis=1)
    top, bottom = vertices.reshape(-1, 3), (vertices - (0.0, 0.018, 0.0)).reshape(-1, 3)
    wide, deep = vertices.shape[:2]
    corner = np.arange(wide - 1)[:, None] * deep + np.arange(deep - 1)
    quads = np.stack([corner, corner + 1, corner + deep + 1, corner + deep], axis=-1).reshape(-1, 4)
    return np.concatenate([top, bottom]), triangulate(np.concatenate([quads, quads[:, ::-1] + len(top)]))


def _eye(body: Body, side: str) -> np.ndarray:
    ball = body.vertices[np.unique(assets.template().groups[f"helper-{side}-eye"])]
    return (ball.max(axis=0) + ball.min(axis=0)) / 2


def _skin_ahead(body: Body, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Largest z [M] of the skin around points of the frontal image."""
    skin = body.vertices[np.unique(body.skin)]
    skin = skin[skin[:, 2] > body.middle[2]]
    near = np.hypot(skin[:, 0] - x[:, None], skin[:, 1] - y[:, None]) < 0.035
    return np.where(near, skin[:, 2], -1.0).max(axis=1)


def _ear_top(body: Body, side: str) -> np.ndarray:
    """Where the arm of the glasses rests: high on the ear, close to the head."""
    sign = 1 if side == "l" else -1
    ear = np.flatnonzero((ears(body) > NO_EAR) & (body.rest[:, 0] * sign > 0) & (body.rest[:, 1] > 7.35))
    points = body.vertices[ear]
    return np.array((sign * np.abs(points[:, 0]).mean(), points[:, 1].mean(), points[:, 2].mean()))
