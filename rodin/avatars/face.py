"""The face's details: skin with lips and blush, eyes, lashes, brows, teeth and beards."""

import numpy as np

from rodin.avatars import assets
from rodin.avatars.body import Body
from rodin.avatars.geometry import (
    Finish,
    Mesh,
    Part,
    Strands,
    at,
    clip,
    compact,
    extend,
    normals,
    scatter,
    triangulate,
)
from rodin.avatars.person import Person, generator

SKIN = Finish(roughness=0.5, specular=0.25)
WET = Finish(roughness=0.08, specular=0.5)
MATT = Finish(roughness=0.7, specular=0.1)
BROW, BEARD = np.array((0.7, 0.6, 0.52)), np.array((0.92, 0.84, 0.76))
"""colour of brows and beards as a factor on the hair's, by channel"""
PUPIL, IRIS = np.radians(15.0), np.radians(33.0)
"""angles from the gaze, seen from the middle of the eyeball"""


def parts(person: Person, body: Body) -> list[Part]:
    """All parts of the face."""
    found: list[Part] = [skin(person, body), *eyes(person, body), lashes(body), teeth(body), brows(person, body)]
    return found + beard(person, body)


def skin(person: Person, body: Body) -> Mesh:
    """The skin with the colour of its regions."""
    colours = _skin_colours(person, body)
    corners = body.rest[body.skin]
    away = np.linalg.norm(corners[..., [0, 2]] - (0.0, 0.3), axis=-1)
    bare = ((corners[..., 1] > 4.5) & ((away < 1.05) | (corners[..., 1] > 6.1))).all(axis=1)
    vertices, triangles, used = compact(body.vertices, body.skin[bare])
    return Mesh("skin", vertices, triangles, colours[used], SKIN)


def eyes(person: Person, body: Body) -> list[Mesh]:
    """Two eyeballs with white, iris and pupil, looking straight ahead."""
    balls = []
    for side in "lr":
        ball = body.vertices[np.unique(assets.template().groups[f"helper-{side}-eye"])]
        centre = (ball.max(axis=0) + ball.min(axis=0)) / 2
        balls.append(_eye(person, centre, 0.5 * float(np.ptp(ball[:, 1]))))
    return balls


def _eye(person: Person, centre: np.ndarray, radius: float) -> Mesh:
    white, rim, iris = np.array((244, 242, 240)) / 255, np.array(person.eyes) / 255 * 0.4, np.array(person.eyes) / 255
    edges = [
        (0, 0),
        (PUPIL * 0.97, 0),
        (PUPIL, 1),
        (IRIS * 0.85, 1),
        (IRIS * 0.9, 2),
        (IRIS * 0.99, 2),
        (IRIS * 1.06, 3),
    ]
    edges += [(angle, 3) for angle in np.linspace(IRIS * 1.3, np.pi, 9)]
    tones = (np.array((12, 10, 12)) / 255, iris, rim, white)
    sides, polar = 20, np.array([angle for angle, _ in edges])
    around = 2 * np.pi * np.arange(sides) / sides
    unit = np.stack(
        [
            np.sin(polar)[:, None] * np.cos(around),
            np.sin(polar)[:, None] * np.sin(around),
            np.broadcast_to(np.cos(polar)[:, None], (len(polar), sides)),
        ],
        axis=-1,
    )
    rows, column = np.arange(len(edges) - 1)[:, None] * sides, np.arange(sides)
    beside = (column + 1) % sides
    quads = np.stack([rows + column, rows + sides + column, rows + sides + beside, rows + beside], axis=-1)
    colours = np.repeat(np.array([tones[tone] for _, tone in edges]), sides, axis=0)
    return Mesh("eye", (centre + radius * unit).reshape(-1, 3), triangulate(quads.reshape(-1, 4)), colours, WET)


def lashes(body: Body) -> Mesh:
    """The dark rims of the lids."""
    names = [name for name in assets.template().groups if "eyelashes" in name]
    vertices, triangles, _ = compact(body.vertices, np.concatenate([body.group(name) for name in names]))
    dark = np.array((22, 16, 14)) / 255
    return Mesh.of_one_colour("lashes", vertices, triangles, dark, MATT)


def teeth(body: Body) -> Mesh:
    """Upper and lower teeth, seen when the mouth is open."""
    vertices, triangles, _ = compact(
        body.vertices, np.concatenate([body.group("helper-upper-teeth"), body.group("helper-lower-teeth")])
    )
    white = np.array((236, 232, 222)) / 255
    return Mesh.of_one_colour("teeth", vertices, triangles, white, WET)


def brows(person: Person, body: Body) -> Strands:
    """Two brows made of short hairs."""
    rng = generator(person.seed, "brows")
    count, heavy = 160, 0.85 if person.gender == "man" else 0.65
    along, across = rng.uniform(size=count), rng.uniform(-1, 1, count)
    thin = heavy * 0.042 * np.interp(along, (0, 0.15, 0.5, 1), (0.7, 1, 0.9, 0.35))
    x = 0.12 + 0.4 * along
    y = 7.53 + 0.055 * np.sin(np.pi * (0.2 + 0.7 * along)) + across * thin
    sides = []
    for sign in (1.0, -1.0):
        roots, out = on_face(body, np.stack([sign * x, y], axis=1))
        tips, _ = on_face(body, np.stack([sign * (x + 0.06), y + 0.03 * (0.5 - along)], axis=1))
        sides.append(np.stack([roots, (roots + tips) / 2 + 0.008 * out, tips + 0.004 * out], axis=1))
    points = np.concatenate(sides)
    radii = np.broadcast_to([0.0065, 0.0065, 0.003], points.shape[:2])
    return Strands("brows", points, radii, _varied(rng, hair_tone(person) * BROW, len(points)))


def hair_tone(person: Person) -> np.ndarray:
    """The hair's colour, sRGB in 0..1; dyed hair keeps natural brows and beards."""
    natural = {"blue": (70, 50, 40), "pink": (110, 76, 50)}.get(person.hair_colour, person.hair_rgb)
    return np.array(natural) / 255


def beard(person: Person, body: Body) -> list[Part]:
    """Hairs on the chin, the lip or both; empty without a beard."""
    if person.beard is None:
        return []
    rng = generator(person.seed, "beard")
    rest, triangles = body.rest, body.skin
    triangles = triangles[(body.rest[triangles][:, :, 1] < 7.3).all(axis=1)]
    values = beard_region(rest, person.beard)
    triangles, pairs, share = clip(values, triangles)
    vertices = extend(body.vertices, pairs, share)
    thick = person.beard != "stubble"
    count = {"full beard": 3600, "goatee": 1100, "moustache": 500, "stubble": 2200}[person.beard]
    chosen, weights = scatter(rng, vertices, triangles, count)
    roots = at(vertices, triangles, chosen, weights)
    out = at(normals(vertices, triangles), triangles, chosen, weights)
    length = (0.05 if thick else 0.012) * rng.uniform(0.6, 1.2, (count, 1))
    aim = out + rng.normal(0, 0.25, (count, 3)) + np.array((0, -1.1, 0.1))
    aim /= np.linalg.norm(aim, axis=1, keepdims=True)
    steps = np.linspace(0, 1, 4)[None, :, None]
    bent = out[:, None] * (1 - steps) * 0.4 + aim[:, None] * (0.4 + 0.6 * steps)
    points = roots[:, None] + length[:, None] * steps * bent
    radius = np.broadcast_to(np.array([0.006, 0.006, 0.005, 0.003]) * (1 if thick else 0.38), (count, 4))
    return [Strands("beard", points, radius, _varied(rng, hair_tone(person) * BEARD, count))]


def beard_region(rest: np.ndarray, kind: str) -> np.ndarray:
    """Positive where a beard grows, on the base mesh in decimetres [N]."""
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    lips = 0.09 - lip_distance(x, y)
    above = np.minimum(np.minimum(y - 6.67, 6.83 - y), np.minimum(0.30 - x, z - 1.2))
    front = np.minimum(np.minimum(6.66 - y, y - 6.02), np.minimum(0.29 - x, z - 0.9))
    cheek = np.minimum(6.56 + 0.5 * np.clip((x - 0.25) / 0.4, 0, 1) - y, np.minimum(y - 5.98, z - 0.35))
    region = {
        "moustache": above,
        "goatee": np.maximum(above, front),
        "full beard": np.maximum(above, cheek),
        "stubble": np.maximum(above, cheek),
    }[kind]
    return np.minimum(region, -lips)


def lip_distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance of a point of the face from the lips' oval, decimetres; negative on the lips."""
    return (np.sqrt((x / 0.23) ** 2 + ((y - 6.61) / 0.1) ** 2) - 1) * 0.1


def on_face(body: Body, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points of the base mesh's frontal picture lie on the person.

    Args:
        body: the person's shape.
        places: [M, 2] x, y in decimetres of the base mesh.

    Returns:
        points [M, 3] and normals [M, 3], world units.
    """
    flat = body.rest[body.skin]
    front = (flat[:, :, 2].min(axis=1) > 0.6) & (flat[:, :, 1].min(axis=1) > 5.9)
    triangles, flat = body.skin[front], flat[front]
    near = (flat[..., :2].max(axis=1) >= places.min(axis=0)) & (flat[..., :2].min(axis=1) <= places.max(axis=0))
    (near,) = np.nonzero(near.all(axis=1))  # the others cover none of the places
    chosen, weights, covered = _frontmost(flat[near], places)
    if covered.all():
        chosen = near[chosen]
    else:
        chosen, weights, _ = _frontmost(flat, places)
    direction = normals(body.vertices, body.skin)
    return at(body.vertices, triangles, chosen, weights), at(direction, triangles, chosen, weights)


def _frontmost(flat: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For points of the frontal picture the foremost triangle that covers each, else the one it is least outside of.

    Args:
        flat: corners of triangles [F, 3, 3], decimetres.
        places: [M, 2] x, y in decimetres.

    Returns:
        numbers of triangles [M], barycentric weights [M, 3], and whether the triangle covers the point [M].
    """
    edge1, edge2 = (flat[:, 1] - flat[:, 0])[:, :2], (flat[:, 2] - flat[:, 0])[:, :2]
    area = edge1[:, 0] * edge2[:, 1] - edge1[:, 1] * edge2[:, 0]
    (keep,) = np.nonzero(area > 1e-9)
    flat, edge1, edge2, area = flat[keep], edge1[keep], edge2[keep], area[keep]
    offset = places[:, None] - flat[None, :, 0, :2]
    u = (offset[..., 0] * edge2[:, 1] - offset[..., 1] * edge2[:, 0]) / area
    v = (edge1[:, 0] * offset[..., 1] - edge1[:, 1] * offset[..., 0]) / area
    depth = flat[:, 0, 2] + u * (flat[:, 1, 2] - flat[:, 0, 2]) + v * (flat[:, 2, 2] - flat[:, 0, 2])
    outside = np.maximum(np.maximum(-u, -v), u + v - 1)
    covering = outside < 1e-6
    if not len(flat):
        return np.zeros(len(places), int), np.zeros((len(places), 3)), np.zeros(len(places), bool)
    best = np.where(covering, depth, -100 - outside).argmax(axis=1)
    row = np.arange(len(places))
    weights = np.stack([1 - u[row, best] - v[row, best], u[row, best], v[row, best]], axis=1)
    return keep[best], weights, covering[row, best]


def _skin_colours(person: Person, body: Body) -> np.ndarray:
    """sRGB in 0..1 of every vertex of the base mesh."""
    rest, tone = body.rest, np.array(person.skin) / 255
    x, y, z = np.abs(rest[:, 0]), rest[:, 1], rest[:, 2]
    colours = np.tile(tone, (len(rest), 1))
    face = np.clip((z - 0.9) / 0.3, 0, 1)
    blush = 0.5 * face * np.exp(-(((x - 0.42) / 0.2) ** 2) - ((y - 6.95) / 0.2) ** 2)
    blush += 0.35 * face * np.exp(-((x / 0.13) ** 2) - ((y - 6.92) / 0.12) ** 2)
    colours = _mix(colours, tone * np.array((1.02, 0.78, 0.76)), blush)
    lids = 0.35 * face * np.exp(-(((x - 0.31) / 0.2) ** 2) - ((y - 7.33) / 0.12) ** 2)
    colours = _mix(colours, tone * np.array((0.8, 0.66, 0.66)), lids)
    colours = _mix(colours, np.array(person.lips) / 255, lip_mask(len(rest)))
    inside = (z < 1.3) & (x < 0.28) & (y > 6.45) & (y < 6.85) & (z > 0.3)
    colours[inside] = np.array((110, 40, 40)) / 255
    if person.beard == "stubble":
        shade = np.clip(beard_region(rest, "stubble") / 0.05, 0, 1) * 0.38
        colours = _mix(colours, hair_tone(person), shade)
    return colours


def lip_mask(count: int) -> np.ndarray:
    """How much each vertex of the base mesh belongs to the lips [count], from what the lips' own targets move."""
    mask = np.zeros(count)
    for name in ("mouth/mouth-upperlip-volume-incr", "mouth/mouth-lowerlip-volume-incr"):
        numbers, offsets = assets.target(name)
        size = np.linalg.norm(offsets, axis=1)
        mask[numbers] = np.maximum(mask[numbers], size / size.max())
    return np.clip((mask - 0.15) / 0.3, 0, 1)


def _mix(colours: np.ndarray, other: np.ndarray, share: np.ndarray) -> np.ndarray:
    return colours + share[:, None] * (other - colours)


def _varied(rng: np.random.Generator, colour: np.ndarray, count: int) -> np.ndarray:
    """A colour for each hair, a little lighter or darker than the given one."""
    return np.clip(colour * rng.uniform(0.8, 1.15, (count, 1)), 0, 1)
