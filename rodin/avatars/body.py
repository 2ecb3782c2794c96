"""The bust of a person: MakeHuman's base mesh in the person's shape, posed, scaled and rounded at the bottom.

Arms are lowered, the body is cut below the chest, and everything lies strictly inside the cube [-1, 1]^3.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from rodin.avatars import assets
from rodin.avatars.geometry import triangulate
from rodin.avatars.person import Person

CHIN, CROWN, BROW = 5225, 879, 134
"""vertex numbers of the base mesh"""
HEAD_HEIGHT = 0.95
"""chin to crown, world units"""
CROWN_Y = 0.77
"""height of the crown, world units: hair and hats still fit under 1"""
FLOOR_Y = -0.71
"""lowest point of the bust, world units"""
CUT_Y = -0.60
"""below this height the bust is rounded, world units"""
ROUNDED = 0.42
"""depth below the cut that is rounded, world units"""
ORIGINS = ("african", "asian", "caucasian")
ARM_TURN = np.radians(27.0)
"""angle by which the arms are lowered from the base mesh's pose"""
SQUEEZE = 0.26
"""share by which shoulders are made narrower"""
WIDE, SLACK = 0.62, 0.2
"""half width from which the bust is narrowed smoothly, and how much wider it can get, world units"""
EYE_SCALE = 0.7
"""weight of the eye-scale target: eyes larger than life, so that they are visible in small images"""


@dataclass(frozen=True)
class Body:
    """One person's shape.

    Args:
        rest: [N, 3] the base mesh in decimetres; regions are defined on it.
        vertices: [N, 3] the person's, world units.
        skin: triangles of the body's skin above the cut.
        suit: triangles of the suit around the body; clothes are cut from it.
        scale: world units a decimetre.
        middle: [3] the middle of the head, world units.
    """

    rest: np.ndarray
    vertices: np.ndarray
    skin: np.ndarray
    suit: np.ndarray
    scale: float
    middle: np.ndarray

    @property
    def brow_height(self) -> float:
        return float(self.vertices[BROW, 1])

    @property
    def chin_height(self) -> float:
        return float(self.vertices[CHIN, 1])

    def group(self, name: str) -> np.ndarray:
        """Triangles of one of the base mesh's groups."""
        return triangulate(assets.template().groups[name])


def build(person: Person) -> Body:
    """The person's bust."""
    base = assets.template()
    placed, scale = _place(_squeeze(_lower_arms(_shaped(person))))
    vertices = _round_off(placed)
    keep = placed[:, 1] > CUT_Y - ROUNDED
    skin, suit = (triangulate(base.groups[name]) for name in ("body", "helper-tights"))
    skin, suit = skin[keep[skin].all(axis=1)], suit[keep[suit].all(axis=1)]
    head = vertices[np.unique(skin[(base.vertices[skin][:, :, 1] > 6.9).all(axis=1)])]
    middle = np.array((0.0, head[:, 1].min() + 0.17, head[:, 2].min() + 0.42))
    return Body(base.vertices, vertices, skin, suit, scale, middle)


def _shaped(person: Person) -> np.ndarray:
    vertices = assets.template().vertices.copy()
    for name, weight in _weights(person).items():
        if abs(weight) > 1e-4:
            numbers, offsets = assets.target(name)
            vertices[numbers] += weight * offsets
    return vertices


def _weights(person: Person) -> dict[str, float]:
    """Weight of every shape change of a person."""
    gender = "female" if person.gender == "woman" else "male"
    age = _between(person.age, ("child", "young", "old"))
    muscle = _between(person.muscle, ("minmuscle", "averagemuscle", "maxmuscle"))
    weight = _between(person.weight, ("minweight", "averageweight", "maxweight"))
    weights: dict[str, float] = {}
    for (years, a), (strength, m), (mass, w) in product(age.items(), muscle.items(), weight.items()):
        weights[f"macrodetails/universal-{gender}-{years}-{strength}-{mass}"] = a * m * w
    for (years, a), (origin, part) in product(age.items(), zip(ORIGINS, person.origins, strict=True)):
        weights[f"macrodetails/{origin}-{gender}-{years}"] = a * part
    for name, much in person.features.items():
        weights |= _signed(name, much)
    for side in "lr":
        weights[f"eyes/{side}-eye-scale-incr"] = EYE_SCALE
    for action, much in person.actions.items():
        weights |= {f"face/{name}": much for name in _sides(action)}
    return weights


def _between(value: float, names: tuple[str, str, str]) -> dict[str, float]:
    places = np.eye(3)
    return {name: float(np.interp(value, (0, 0.5, 1), row)) for name, row in zip(names, places, strict=True)}


def _signed(name: str, much: float) -> dict[str, float]:
    """One-sided targets of a signed feature: "down|up" names both ends, else the ends are decr and incr."""
    if name.startswith("head/head-") and name.rsplit("-", 1)[1] in ("oval", "round", "square", "triangular", "diamond"):
        return {name: much}
    low, high = f"{name}-decr", f"{name}-incr"
    if "|" in name:
        first, _, second = name.partition("|")
        low, high = first, f"{first.rsplit('-', 1)[0]}-{second}"
    whole = high if much > 0 else low
    names = [whole.format(side=side) for side in "lr"] if "{side}" in whole else [whole]
    return {each: abs(much) for each in names}


def _sides(action: str) -> list[str]:
    whole = ("jawOpen", "browInnerUp", "mouthFunnel")
    return [action] if action in whole else [f"{action}Left", f"{action}Right"]


def _lower_arms(vertices: np.ndarray) -> np.ndarray:
    """Both arms rotated down about the shoulder; each vertex by its weight for the arm's bones."""
    vertices = vertices.copy()
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        follows = _arm(side)
        joint = vertices[_joint(f"joint-{'l' if sign > 0 else 'r'}-shoulder")].mean(axis=0)
        cosine, sine = np.cos(ARM_TURN), np.sin(ARM_TURN) * sign
        x, y = (vertices - joint)[:, :2].T
        vertices[:, 0] += follows * (cosine * x + sine * y - x)
        vertices[:, 1] += follows * (cosine * y - sine * x - y)
    return vertices


def _arm(side: str) -> np.ndarray:
    """Weight [N] of each vertex for the bones of an arm, ".L" or ".R"."""
    bones = ("upperarm", "lowerarm", "wrist", "metacarpal", "finger")
    weights = assets.bone_weights()
    return np.sum([weights[bone] for bone in weights if bone.startswith(bones) and bone.endswith(side)], axis=0)


def _joint(name: str) -> np.ndarray:
    return np.unique(assets.template().groups[name])


def _squeeze(vertices: np.ndarray) -> np.ndarray:
    """Shoulders and chest made narrower, so that the head fills the image."""
    vertices = vertices.copy()
    neck = vertices[_joint("joint-neck"), 1].mean()
    below = np.clip((neck - vertices[:, 1]) / 0.9, 0, 1)
    smooth = below * below * (3 - 2 * below)
    vertices[:, 0] *= 1 - SQUEEZE * smooth
    return vertices


def _place(vertices: np.ndarray) -> tuple[np.ndarray, float]:
    """Vertices in world units, and the number of world units per decimetre."""
    height = vertices[CROWN, 1] - vertices[CHIN, 1]
    scale = HEAD_HEIGHT / height
    middle = np.array([0.0, vertices[CROWN, 1], 0.45])
    placed = (vertices - middle) * scale + (0, CROWN_Y, 0)
    wide = np.abs(placed[:, 0])
    soft = WIDE + SLACK * np.tanh(np.maximum(wide - WIDE, 0) / SLACK)
    placed[:, 0] = np.sign(placed[:, 0]) * np.where(wide > WIDE, soft, wide)
    return placed, scale


def _round_off(vertices: np.ndarray) -> np.ndarray:
    """Torso and arms closed by rounded ends below the cut."""
    left, right = _arm(".L") > 0.5, _arm(".R") > 0.5
    low = vertices[:, 1] < CUT_Y
    depth = np.clip((CUT_Y - vertices[:, 1]) / ROUNDED, 0, 1)
    near = np.abs(vertices[:, 1] - CUT_Y) < 0.15
    rounded = vertices.copy()
    for region in (~left & ~right, left, right):
        ring = vertices[region & near]
        middle = (ring.min(axis=0) + ring.max(axis=0)) / 2
        chosen = region & low
        for axis in (0, 2):
            rounded[chosen, axis] = middle[axis] + (vertices[chosen, axis] - middle[axis]) * np.cos(
                depth[chosen] * np.pi / 2
            )
        rounded[chosen, 1] = CUT_Y + (FLOOR_Y - CUT_Y) * np.sin(depth[chosen] * np.pi / 2)
    return rounded
