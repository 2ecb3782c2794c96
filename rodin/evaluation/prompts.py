"""Text prompts that name a colour or an attribute, and a measure of whether an avatar has that colour.

`presence` measures attributes. The measure of colours uses no network: it takes the median colour of a part of the
silhouette and names it after the nearest colour of real subjects, measured in the same way. Its accuracy on real
subjects is the highest hit rate to expect. Hair is measured from behind, where there is no face, below the rim of a
hat; the shirt from the front, where long hair leaves it uncovered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np
from skimage.color import rgb2lab

from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.config import Config
from rodin.store.shards.reader import Shards

PALETTES = {"hair": HAIR_COLOURS, "shirt": SHIRT_COLOURS}
TEMPLATES = {
    "hair": ("a person with {} hair", "a woman with {} hair", "a man with {} hair"),
    "shirt": ("a person in {} shirt", "a woman in {} shirt", "a man in {} shirt"),
}
# attribute -> view, top and bottom of the part (0: the silhouette's top, 1: its bottom), share of its width: behind,
# hair lies between hat and collar; in front, the shirt lies under the hair, and its middle is free of arms
REGIONS = {"hair": ("back", 0.20, 0.50, 0.6), "shirt": ("front", 0.85, 1.0, 0.5)}
OPAQUE = 200  # alpha in 0..255 above which a pixel counts: haze around an avatar is fainter
PEOPLE = ("woman", "man")
BEARDED = ("man", "person")  # nobody else in the captions has a beard
EXTRAS: tuple[Mapping[str, str], ...] = (  # attribute -> its value, as captions name it
    {"glasses": "round"},
    {"beard": "full beard"},
    {"hat": "cap"},
    {"glasses": "square"},
    {"beard": "goatee"},
    {"hat": "beanie"},
    {"glasses": "round", "hat": "cap"},
)
WITH_EXTRAS = ("a {}", "a portrait of a {} with {} hair", "a {} with {} hair")  # of a person, and of a colour of hair
BODY = 0.25  # share of the widest row; narrower rows at the ends are strands of hair and strings, not the body
FEWEST = 8  # pixels; the median of fewer depends on single pixels


@dataclass(frozen=True)
class Prompt:
    """A text prompt.

    Args:
        text: its words.
        attribute, colour: `hair` or `shirt` and its colour, if it names one.
        present: attribute (glasses, hat, beard) -> whether the prompt asks for it, if an avatar is looked at for it.
        pair: number of the prompt and of its control, which is the same prompt without the attributes.
    """

    text: str
    attribute: str | None = None
    colour: str | None = None
    present: Mapping[str, bool] | None = None
    pair: int | None = None


def prompts_of(config: Config, views: Shards) -> list[Prompt]:
    """The prompts of a run; they follow from its config and data alone.

    Prompts name only colours that a training subject has. Imported subjects have no such attributes: then the captions
    of the subjects are the prompts, and no colour is measured.
    """
    subjects = [subject for subject in config.train_subjects() if subject in views]
    count, pairs = config.sample.prompts, config.sample.attribute_prompts
    names = {attribute: colours_present(views, subjects, attribute) for attribute in PALETTES}
    if any(names.values()):
        extras = extras_present(views, subjects) if pairs else EXTRAS
        return colour_prompts(names, count) + attribute_prompts(extras, names["hair"] or list(HAIR_COLOURS), pairs)
    count += 2 * pairs
    captions = [str(views.meta(subject).get("caption") or "a person") for subject in subjects[:count]]
    return [Prompt(captions[number % len(captions)]) for number in range(count)]


def colours_present(views: Shards, subjects: Sequence[str], attribute: str) -> list[str]:
    """Names of the palette that at least one of the subjects has, in the palette's order."""
    found = {colour_of(views, subject, attribute) for subject in subjects}
    return [name for name in PALETTES[attribute] if name in found]


def extras_present(views: Shards, subjects: Sequence[str]) -> list[Mapping[str, str]]:
    """Those of EXTRAS whose every part some subject has; all of them if there is none."""
    found = set()
    for subject in subjects:
        attributes = views.meta(subject).get("attributes") or {}
        found |= {(name, attributes.get(name)) for extra in EXTRAS for name in extra}
    return [extra for extra in EXTRAS if found.issuperset(extra.items())] or list(EXTRAS)


def colour_of(views: Shards, subject: str, attribute: str) -> str | None:
    """Name of a subject's hair or shirt colour; None if unknown."""
    return (views.meta(subject).get("attributes") or {}).get(f"{attribute}_colour")


def colour_prompts(names: Mapping[str, Sequence[str]], count: int) -> list[Prompt]:
    """Prompts that cycle through attributes and colours, with another template in each round.

    Args:
        names: attribute -> colours to name, at least one in all.
        count: number of prompts.
    """
    columns = [[(attribute, colour) for colour in colours] for attribute, colours in names.items()]
    pairs = [pair for pair in chain.from_iterable(zip_longest(*columns)) if pair is not None]
    prompts = []
    for number in range(count):
        attribute, colour = pairs[number % len(pairs)]
        template = TEMPLATES[attribute][(number // len(pairs)) % len(TEMPLATES[attribute])]
        phrase = colour if attribute == "hair" else f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
        prompts.append(Prompt(template.format(phrase), attribute, colour))
    return prompts


def attribute_prompts(extras: Sequence[Mapping[str, str]], hair: Sequence[str], count: int) -> list[Prompt]:
    """Prompts that ask for glasses, a hat or a beard in the words of captions, each followed by its control.

    Args:
        extras: attribute -> value, what to ask for in turn.
        hair: colours of hair to name in part of the prompts.
        count: number of prompts; there are as many controls.
    """
    prompts = []
    for number in range(count):
        turn, extra = number // len(extras), extras[number % len(extras)]
        people = BEARDED if "beard" in extra else PEOPLE
        person = people[(turn if "beard" in extra else turn + number % len(extras)) % len(people)]
        plain = WITH_EXTRAS[turn % len(WITH_EXTRAS)].format(person, hair[(number % len(extras) + turn) % len(hair)])
        words = " and ".join(f"{value} glasses" if name == "glasses" else f"a {value}" for name, value in extra.items())
        joint = " and " if " with " in plain else " with "
        prompts.append(Prompt(f"{plain}{joint}{words}", present=dict.fromkeys(extra, True), pair=number))
        prompts.append(Prompt(plain, present=dict.fromkeys(extra, False), pair=number))
    return prompts


def measured_colours(front: np.ndarray, back: np.ndarray) -> dict[str, np.ndarray]:
    """Measure the colours of hair and shirt.

    Args:
        front: [H, W, 4] uint8, the frontal view, straight alpha.
        back: [H, W, 4] uint8, the view from exactly behind.

    Returns:
        attribute -> [3] CIE Lab, the median over the attribute's pixels; NaN if there are too few.
    """
    views = {"front": front, "back": back}
    return {name: lab_median(silhouette_part(views[view], *part)) for name, (view, *part) in REGIONS.items()}


def silhouette_part(rgba: np.ndarray, top: float, bottom: float, width: float) -> np.ndarray:
    """Colours of the opaque pixels in the horizontal middle of a part of the silhouette.

    Args:
        rgba: [H, W, 4] uint8.
        top: upper end of the part; 0: the silhouette's top, 1: its bottom.
        bottom: lower end of the part.
        width: share of the part's width that is used, around its middle.

    Returns:
        [M, 3] uint8.
    """
    opaque = rgba[..., 3] > OPAQUE
    widths = opaque.sum(axis=1)
    if not widths.any():
        return np.zeros((0, 3), np.uint8)
    rows = np.flatnonzero(widths >= BODY * widths.max())
    height = rows[-1] + 1 - rows[0]
    part = slice(rows[0] + round(top * height), rows[0] + round(bottom * height))
    columns = np.flatnonzero(opaque[part].any(axis=0))
    if not len(columns):
        return np.zeros((0, 3), np.uint8)
    inset = round((1 - width) / 2 * (columns[-1] + 1 - columns[0]))
    middle = slice(columns[0] + inset, columns[-1] + 1 - inset)
    return rgba[part, middle][opaque[part, middle]][:, :3]


def lab_median(colours: np.ndarray) -> np.ndarray:
    """Median of colours [M, 3] uint8 sRGB, as [3] CIE Lab; NaN if there are too few."""
    return np.median(rgb2lab(colours / 255.0), axis=0) if len(colours) >= FEWEST else np.full(3, np.nan)


@dataclass(frozen=True)
class Palette:
    """Named colours as measured on real subjects: names [K] and their mean colours, centres [K, 3] CIE Lab."""

    names: list[str]
    centres: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], colours: np.ndarray) -> Palette:
        """Palette of the mean of each name's colours: M names and colours [M, 3]."""
        distinct = sorted(set(names))
        labels = np.array(names)
        return cls(distinct, np.stack([colours[labels == name].mean(axis=0) for name in distinct]))

    def nearest(self, colour: np.ndarray) -> str:
        """Name of the centre nearest to a colour [3]; "none" for a colour that could not be measured (NaN)."""
        if not np.isfinite(colour).all():
            return "none"
        return self.names[int(np.linalg.norm(self.centres - colour, axis=1).argmin())]


def leave_one_out(names: Sequence[str], colours: np.ndarray) -> tuple[float | None, int]:
    """Accuracy of the measure on real subjects, each left out of the palette that names its own colour.

    Args:
        names: M true names.
        colours: [M, 3] CIE Lab as measured.

    Returns:
        share of correct names (None if no subject can be tried), number of subjects tried: those whose colour another
        subject has too.
    """
    palette, labels = Palette.of(names, colours), np.array(names)
    correct = tried = 0
    for name, colour in zip(names, colours, strict=True):
        count = int((labels == name).sum())
        if count < 2:
            continue
        centres, place = palette.centres.copy(), palette.names.index(name)
        centres[place] = (centres[place] * count - colour) / (count - 1)
        correct += Palette(palette.names, centres).nearest(colour) == name
        tried += 1
    return (correct / tried if tried else None), tried
