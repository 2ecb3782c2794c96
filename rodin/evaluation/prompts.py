"""Text prompts that name one colour, and the measure that tells from an avatar's pictures whether it has that colour.

The measure knows no network: it is the median colour of a part of the silhouette, named after the nearest colour of
real people measured in the same way. How often it is right on real people is its ceiling. Hair is looked for from
behind, where there is no face, under a hat's rim; the shirt from the front, where long hair leaves it free.
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
PLACES = {"hair": ("back", 0.20, 0.50, 0.6), "shirt": ("front", 0.85, 1.0, 0.5)}
OPAQUE = 200
BODY = 0.25  # of the widest row: narrower rows are strands and strings, and do not say where somebody ends
FEWEST = 8


@dataclass(frozen=True)
class Prompt:
    """A text; where it asks for one colour, of what (`hair` or `shirt`) and which."""

    text: str
    attribute: str | None = None
    colour: str | None = None


def prompts_of(config: Config, views: Shards) -> list[Prompt]:
    """The prompts of a run, a function of its data alone.

    Only colours that a training person has are asked for. People without such attributes (imported ones) have no
    colours to ask for: then their own captions are the prompts, and no colour is measured.
    """
    people = [subject for subject in config.train_subjects() if subject in views]
    count = config.sample.prompts
    names = {attribute: present(views, people, attribute) for attribute in PALETTES}
    if any(names.values()):
        return draw(names, count)
    captions = [str(views.meta(subject).get("caption") or "a person") for subject in people[:count]]
    return [Prompt(captions[number % len(captions)]) for number in range(count)]


def present(views: Shards, people: Sequence[str], attribute: str) -> list[str]:
    """The palette's names that some of these people have, in the palette's order."""
    found = {colour_of(views, subject, attribute) for subject in people}
    return [name for name in PALETTES[attribute] if name in found]


def colour_of(views: Shards, subject: str, attribute: str) -> str | None:
    """The name of a person's hair or shirt colour; None where that is not known."""
    return (views.meta(subject).get("attributes") or {}).get(f"{attribute}_colour")


def draw(names: Mapping[str, Sequence[str]], count: int) -> list[Prompt]:
    """Prompts that go in turn through attributes and their colours, with another template each round.

    Args:
        names: attribute -> colours that may be asked for, at least one in all.
        count: how many prompts.
    """
    columns = [[(attribute, colour) for colour in colours] for attribute, colours in names.items()]
    pairs = [pair for pair in chain.from_iterable(zip_longest(*columns)) if pair is not None]
    prompts = []
    for number in range(count):
        attribute, colour = pairs[number % len(pairs)]
        template = TEMPLATES[attribute][(number // len(pairs)) % len(TEMPLATES[attribute])]
        words = colour if attribute == "hair" else f"{'an' if colour[0] in 'aeiou' else 'a'} {colour}"
        prompts.append(Prompt(template.format(words), attribute, colour))
    return prompts


def looks(front: np.ndarray, back: np.ndarray) -> dict[str, np.ndarray]:
    """The colours of somebody's hair and shirt.

    Args:
        front: [H, W, 4] uint8, the frontal picture, straight alpha.
        back: [H, W, 4] uint8, the picture from exactly behind.

    Returns:
        attribute -> [3] CIE Lab, the median over the attribute's pixels; NaN where there are none.
    """
    return {
        name: lab_median(region({"front": front, "back": back}[seen], *where))
        for name, (seen, *where) in PLACES.items()
    }


def region(rgba: np.ndarray, top: float, bottom: float, width: float) -> np.ndarray:
    """Colours of the opaque pixels in the middle of a part of the silhouette.

    Args:
        rgba: [H, W, 4] uint8.
        top: where the part starts, 0 the silhouette's top and 1 its bottom.
        bottom: where it ends.
        width: share of the part's width that counts as its middle.

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
    """Median of colours [M, 3] uint8 sRGB, as [3] CIE Lab; NaN where there are too few."""
    return np.median(rgb2lab(colours / 255.0), axis=0) if len(colours) >= FEWEST else np.full(3, np.nan)


@dataclass(frozen=True)
class Palette:
    """Names of colours and where they lie as measured on real people: names [K], centres [K, 3] CIE Lab."""

    names: list[str]
    centres: np.ndarray

    @classmethod
    def of(cls, names: Sequence[str], colours: np.ndarray) -> Palette:
        """The mean of each name's measured colours [M, 3]."""
        kinds = sorted(set(names))
        labels = np.array(names)
        return cls(kinds, np.stack([colours[labels == kind].mean(axis=0) for kind in kinds]))

    def name(self, colour: np.ndarray) -> str:
        """The name whose centre is nearest to a colour [3]; "none" for a colour that could not be measured."""
        if not np.isfinite(colour).all():
            return "none"
        return self.names[int(np.linalg.norm(self.centres - colour, axis=1).argmin())]


def leave_one_out(names: Sequence[str], colours: np.ndarray) -> tuple[float | None, int]:
    """How often the measure names a real person's colour rightly, that person's own measurement left out.

    Args:
        names: M true names.
        colours: [M, 3] CIE Lab as measured.

    Returns:
        share that is right (None where nobody can be tried), how many were tried: those whose colour another has too.
    """
    whole, labels = Palette.of(names, colours), np.array(names)
    right = tried = 0
    for name, colour in zip(names, colours, strict=True):
        same = int((labels == name).sum())
        if same < 2:
            continue
        centres, place = whole.centres.copy(), whole.names.index(name)
        centres[place] = (centres[place] * same - colour) / (same - 1)
        right += Palette(whole.names, centres).name(colour) == name
        tried += 1
    return (right / tried if tried else None), tried
