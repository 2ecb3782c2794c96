"""Attributes of a synthetic person: a pure function of (seed, subject id). Numpy only."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

Colour = tuple[int, int, int]
"""sRGB, 0..255"""

HAIR_COLOURS: dict[str, Colour] = {
    "black": (26, 24, 26),
    "brown": (104, 62, 32),
    "blond": (235, 200, 112),
    "red": (196, 66, 22),
    "grey": (168, 170, 174),
    "blue": (44, 92, 206),
    "pink": (240, 122, 178),
}
SHIRT_COLOURS: dict[str, Colour] = {
    "red": (206, 30, 38),
    "green": (40, 148, 62),
    "blue": (36, 78, 198),
    "yellow": (246, 206, 40),
    "white": (228, 229, 232),
    "black": (30, 30, 34),
    "purple": (122, 48, 166),
    "orange": (244, 124, 26),
}
EYE_COLOURS: dict[str, Colour] = {
    "brown": (92, 54, 26),
    "blue": (70, 130, 200),
    "green": (76, 136, 84),
    "grey": (124, 138, 150),
    "hazel": (142, 100, 44),
}
SKIN_TONES: tuple[Colour, ...] = (
    (248, 216, 196),
    (238, 196, 168),
    (222, 172, 136),
    (190, 134, 96),
    (146, 94, 62),
    (98, 62, 42),
)
"""from pale to dark; a person's tone lies on the line through them"""
SECOND_COLOURS: dict[str, Colour] = {"white": (244, 244, 244), "black": (28, 28, 32), "navy": (26, 34, 78)}

RARE_HAIR = {"blue": 0.05, "pink": 0.05}
"""dyed colours and the share of people who have them"""
WOMEN_STYLES = ("bob", "long", "wavy", "ponytail", "bun", "curly", "short")
MEN_STYLES = ("short", "cropped", "side-parted", "spiky", "curly", "long")
BEARDS = {"full beard": 0.4, "goatee": 0.25, "moustache": 0.2, "stubble": 0.15}
"""kinds of beard and their shares among bearded men: most have hair on the chin, seen also at 64 pixels"""
EXPRESSIONS = ("neutral", "smiling", "laughing", "surprised", "serious")
TOPS = ("t-shirt", "v-neck shirt", "collared shirt", "turtleneck", "hoodie")
PATTERNS = ("plain", "striped", "dotted")
HATTED_STYLES = ("bob", "long", "wavy", "short", "curly")
"""styles that show enough hair under a hat"""


@dataclass(frozen=True)
class Person:
    """All drawn attributes of one person; shapes, scene and captions follow from them.

    Args:
        seed: of the strands of hair and other small random details.
        gender: "woman" or "man".
        age: 0 a child, 0.5 about 25 years, 1 an old person.
        muscle, weight: 0..1, 0.5 average.
        origins: weights of the assets' three head shapes (african, asian, caucasian), sum 1.
        features: shape changes of the face, target name -> -1..1.
        actions: facial actions, name -> 0..1.
        skin, eyes, lips: sRGB colours.
        hair_rgb, shirt_rgb, second_rgb: sRGB colours, jittered about the named ones.
        light: azimuth and elevation of the key light in degrees, its strength and its warmth -1..1.
    """

    seed: int
    gender: str
    age: float
    muscle: float
    weight: float
    origins: tuple[float, float, float]
    features: dict[str, float]
    expression: str
    actions: dict[str, float]
    skin: Colour
    lips: Colour
    eye_colour: str
    eyes: Colour
    hair_style: str
    hair_colour: str
    hair_rgb: Colour
    beard: str | None
    top: str
    shirt_colour: str
    shirt_rgb: Colour
    pattern: str
    second_colour: str
    second_rgb: Colour
    glasses: str | None
    hat: str | None
    hat_rgb: Colour
    light: tuple[float, float, float, float]

    def attributes(self) -> dict[str, Any]:
        """The person as plain JSON-able values."""
        return asdict(self)


PAIRED = {  # target -> spread of its weight; both sides of the face move together
    "eyes/{side}-eye-height2": 0.5,
    "eyes/{side}-eye-trans-in|out": 0.4,
    "eyes/{side}-eye-corner1-down|up": 0.6,
    "eyes/{side}-eye-corner2-down|up": 0.5,
    "cheek/{side}-cheek-bones": 0.6,
    "cheek/{side}-cheek-volume": 0.6,
    "cheek/{side}-cheek-inner": 0.4,
    "ears/{side}-ear-scale": 0.5,
    "ears/{side}-ear-wing": 0.6,
}
SINGLE = {
    "head/head-scale-horiz": 0.4,
    "head/head-scale-vert": 0.4,
    "head/head-scale-depth": 0.3,
    "head/head-fat": 0.5,
    "head/head-angle-in|out": 0.4,
    "forehead/forehead-scale-vert": 0.5,
    "forehead/forehead-temple": 0.4,
    "nose/nose-scale-horiz": 0.6,
    "nose/nose-scale-vert": 0.6,
    "nose/nose-scale-depth": 0.5,
    "nose/nose-hump": 0.5,
    "nose/nose-point-down|up": 0.5,
    "nose/nose-volume": 0.5,
    "nose/nose-curve-concave|convex": 0.5,
    "mouth/mouth-scale-horiz": 0.5,
    "mouth/mouth-scale-vert": 0.4,
    "mouth/mouth-trans-down|up": 0.4,
    "mouth/mouth-upperlip-volume": 0.6,
    "mouth/mouth-lowerlip-volume": 0.6,
    "chin/chin-width": 0.6,
    "chin/chin-height": 0.5,
    "chin/chin-prominent": 0.5,
    "chin/chin-bones": 0.5,
    "chin/chin-jaw-drop": 0.4,
    "eyebrows/eyebrows-angle-down|up": 0.5,
    "neck/neck-scale-horiz": 0.3,
}
SHAPES = ("head/head-oval", "head/head-round", "head/head-square", "head/head-triangular", "head/head-diamond")


def generator(seed: int, *words: str) -> np.random.Generator:
    """A random generator for one purpose: the same (seed, words) give the same numbers on any machine."""
    digest = hashlib.sha256("\0".join(words).encode()).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest[:16], dtype=np.uint32).tolist()])


def draw(seed: int, subject: str) -> Person:
    """Draw a person.

    Args:
        seed: the run's seed.
        subject: the person's id; any string.

    Returns:
        The same person for the same arguments, independent of earlier draws.
    """
    rng = generator(seed, "person", subject)
    gender = _pick(rng, ("woman", "man"))
    age = _age(rng)
    tone = float(rng.uniform())
    skin = _jitter(rng, _tone(tone), 0.03)
    style, hair_colour = _hair(rng, gender, age)
    hat = _pick(rng, ("beanie", "cap")) if rng.uniform() < 0.3 and style in HATTED_STYLES else None
    bearded = gender == "man" and age > 0.4 and rng.uniform() < 0.65
    beard = _pick(rng, tuple(BEARDS), tuple(BEARDS.values())) if bearded else None
    shirt_colour = _pick(rng, tuple(SHIRT_COLOURS))
    second = _pick(rng, [name for name in SECOND_COLOURS if _apart(SECOND_COLOURS[name], SHIRT_COLOURS[shirt_colour])])
    expression, actions = _expression(rng)
    hat_colour = _pick(rng, [name for name in SHIRT_COLOURS if name not in (hair_colour, shirt_colour, "white")])
    eye_colour = _eye_colour(rng, tone)
    return Person(
        seed=int(rng.integers(2**31)),
        gender=gender,
        age=age,
        muscle=float(np.clip(rng.normal(0.5, 0.15), 0.1, 0.9)),
        weight=float(np.clip(rng.normal(0.5, 0.18), 0.1, 0.95)),
        origins=_origins(rng, tone),
        features=_features(rng),
        expression=expression,
        actions=actions,
        skin=skin,
        lips=_lips(rng, skin, gender),
        eye_colour=eye_colour,
        eyes=_jitter(rng, EYE_COLOURS[eye_colour], 0.05),
        hair_style=style,
        hair_colour=hair_colour,
        hair_rgb=_jitter(rng, HAIR_COLOURS[hair_colour], 0.04),
        beard=beard,
        top=_pick(rng, TOPS, (0.3, 0.18, 0.22, 0.14, 0.16)),
        shirt_colour=shirt_colour,
        shirt_rgb=_jitter(rng, SHIRT_COLOURS[shirt_colour], 0.03),
        pattern=_pick(rng, PATTERNS, (0.6, 0.25, 0.15)),
        second_colour=second,
        second_rgb=SECOND_COLOURS[second],
        glasses=_pick(rng, ("round", "square")) if rng.uniform() < 0.34 else None,
        hat=hat,
        hat_rgb=_jitter(rng, SHIRT_COLOURS[hat_colour], 0.03),
        light=(
            float(rng.uniform(-50, 50)),
            float(rng.uniform(25, 55)),
            float(rng.uniform(0.85, 1.15)),
            float(rng.uniform(-1, 1)),
        ),
    )


def _pick(rng: np.random.Generator, names: Sequence[str], weights: Sequence[float] | None = None) -> str:
    return names[int(rng.choice(len(names), p=weights))]


def _age(rng: np.random.Generator) -> float:
    kind = _pick(rng, ("child", "young", "middle", "old"), (0.08, 0.5, 0.24, 0.18))
    low, high = {"child": (0.12, 0.25), "young": (0.42, 0.58), "middle": (0.6, 0.75), "old": (0.85, 1.0)}[kind]
    return float(rng.uniform(low, high))


def _hair(rng: np.random.Generator, gender: str, age: float) -> tuple[str, str]:
    """Style and colour name; common colours are equally frequent over all people, though grey is mostly for the old."""
    style = _pick(rng, WOMEN_STYLES if gender == "woman" else MEN_STYLES)
    common = [name for name in HAIR_COLOURS if name not in RARE_HAIR]
    share = (1 - sum(RARE_HAIR.values())) / len(common)
    old = 0.18
    grey = 0.6 if age > 0.8 else (share - 0.6 * old) / (1 - old)
    weights = {name: (1 - sum(RARE_HAIR.values()) - grey) / (len(common) - 1) for name in common}
    weights |= {"grey": grey, **RARE_HAIR}
    names = tuple(HAIR_COLOURS)
    return style, _pick(rng, names, [weights[name] for name in names])


def _tone(place: float) -> Colour:
    steps = np.linspace(0, 1, len(SKIN_TONES))
    channels = np.array(SKIN_TONES, dtype=np.float64).T
    return _colour([float(np.interp(place, steps, channel)) for channel in channels])


def _colour(values: Sequence[float] | np.ndarray) -> Colour:
    red, green, blue = np.clip(np.round(np.asarray(values, dtype=np.float64)), 0, 255).astype(int).tolist()
    return red, green, blue


def _jitter(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    return _colour(np.array(colour) * (1 + rng.uniform(-spread, spread)) + rng.uniform(-1, 1, 3) * 60 * spread)


def _apart(one: Colour, other: Colour) -> bool:
    return float(np.linalg.norm(np.subtract(one, other))) > 150


def _lips(rng: np.random.Generator, skin: Colour, gender: str) -> Colour:
    rose = np.array((176, 60, 66) if gender == "woman" else (160, 78, 72))
    share = rng.uniform(0.5, 0.8) if gender == "woman" else rng.uniform(0.3, 0.45)
    return _colour(np.array(skin) * (1 - share) * 0.92 + rose * share)


def _origins(rng: np.random.Generator, tone: float) -> tuple[float, float, float]:
    african, asian, caucasian = rng.dirichlet((0.15 + 2.5 * tone**2, 0.9, 0.15 + 2.5 * (1 - tone) ** 2)).tolist()
    return african, asian, caucasian


def _eye_colour(rng: np.random.Generator, tone: float) -> str:
    return "brown" if rng.uniform() < 0.25 + 0.7 * tone else _pick(rng, tuple(EYE_COLOURS))


def _features(rng: np.random.Generator) -> dict[str, float]:
    features = {}
    for table in (PAIRED, SINGLE):
        for name, spread in table.items():
            features[name] = float(np.clip(rng.normal(0, 0.7 * spread), -1, 1))
    features[_pick(rng, SHAPES)] = float(rng.uniform(0, 0.7))
    return features


def _expression(rng: np.random.Generator) -> tuple[str, dict[str, float]]:
    name = _pick(rng, EXPRESSIONS, (0.3, 0.34, 0.14, 0.1, 0.12))
    much = float(rng.uniform(0.75, 1.0))
    recipe: Mapping[str, float] = {
        "neutral": {"mouthSmile": 0.08},
        "smiling": {"mouthSmile": 0.75, "cheekSquint": 0.4, "mouthDimple": 0.3},
        "laughing": {"mouthSmile": 0.9, "jawOpen": 0.3, "mouthUpperUp": 0.35, "cheekSquint": 0.6, "eyeSquint": 0.25},
        "surprised": {"jawOpen": 0.32, "browInnerUp": 0.9, "browOuterUp": 0.9, "eyeWide": 0.7, "mouthFunnel": 0.3},
        "serious": {"browDown": 0.7, "mouthFrown": 0.5, "mouthPress": 0.4},
    }[name]
    return name, {action: weight * much for action, weight in recipe.items()}
