"""Figures made of pictures of people: the subjects, Figure 7, the prompts and the reconstructions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.colors import is_color_like, to_hex

from analysis.figures.contact_sheet import NO, YES, Line, Tile, wrapped
from analysis.results.large import Pictures
from analysis.results.renders import frontal_view, reconstructions, samples_with, training_subjects, views
from analysis.results.rows import MissingRows, Row, next_step
from analysis.tables.neighbours import neighbour_rows
from analysis.tables.prompts import prompt_rows
from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.evaluation.steps import OURS
from rodin.store.shards.reader import Shards

WIDE, WIDE_LARGE = 8, 6  # pictures in a line: small ones, large ones
# px, sides of pictures; a full line is about as wide as the report's page
SMALL, TRUTH, MEDIUM, LARGE, PROMPT = 120, 130, 150, 160, 176
TURNED = 2  # subjects that a figure also shows from all around
SUBJECTS, PROMPTS = 24, 24  # pictures a figure shows at most
NEAREST, RECONSTRUCTED = 6, 4  # lines, or pairs of lines, a figure shows at most
T = TypeVar("T")
PALETTES = {"hair": HAIR_COLOURS, "shirt": SHIRT_COLOURS}


def subjects(run: Path) -> list[Line]:
    """Training subjects: frontal views, then two subjects from all around with their captions."""
    store = views(run)
    shown = spaced(training_subjects(run), SUBJECTS)
    lines = in_rows([Tile(frontal_view(store, subject), (subject,)) for subject in shown], SMALL)
    for subject in shown[:TURNED]:
        around = spaced(range(store.shape("rgba")[0]), WIDE)
        tiles = [Tile(picture) for picture in store.read(subject, "rgba", around)]
        lines.append(Line(tiles, f"{subject}: {store.meta(subject).get('caption') or 'no caption'}", SMALL))
    return lines


def nearest(run: Path) -> list[Line]:
    """Figure 7: samples with the training subjects most like them."""
    rows, drawn, known = neighbour_rows(run), Pictures(run), views(run)
    return [beside_nearest(row, drawn, known) for row in rows[:NEAREST]]


def prompts(run: Path) -> list[Line]:
    """A sample above its prompt, with the colour the prompt asks for, the measured one, and whether they agree."""
    store = Pictures(run)
    rows = [row for row in prompt_rows(run) if row.get("pair") is None]  # the others have a figure of their own
    if not rows:
        raise none_of(run, "samples of the prompts")
    by_sample: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_sample[row["sample"]].append(row)
    height = max(len(wrapped(row["prompt"], PROMPT)) for row in rows)
    tiles = [_prompted(store, sample, of, height) for sample, of in sorted(by_sample.items()) if sample in store]
    if not tiles:
        raise none_of(run, "samples of the prompts")
    return in_rows(tiles[:PROMPTS], PROMPT, WIDE_LARGE)


def reconstruction(run: Path) -> list[Line]:
    """Held-out subjects, and below them the avatars made of their first view, seen by the same cameras."""
    store, known = reconstructions(run), views(run)
    made = [(subject, meta) for subject, meta in samples_with(store, "views") if subject in known]
    if not made:
        raise MissingRows(f"{run}: nobody was rebuilt from a picture; {next_step(run, 'evaluate')}")
    lines = []
    for subject, meta in spaced(made, RECONSTRUCTED):
        places = spaced(range(len(meta["views"])), WIDE_LARGE)
        truth = known.read(subject, "rgba", [meta["views"][place] for place in places])
        ours = store.read(subject, "rgba", places)
        psnr = next((row["psnr"] for row in meta.get("rows", []) if row.get("method") == OURS), None)
        heading = f"person {subject}" + ("" if psnr is None else f": {psnr:.1f} dB")
        lines.append(Line(_captioned(truth, "given" if meta["views"][0] == 0 else "real"), heading, TRUTH))
        lines.append(Line(_captioned(ours, "made of it"), side=TRUTH))
    return lines


def spaced(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly spread, including the first."""
    if len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]


def swatch(attribute: str, name: str) -> str:
    """Colour of a word for hair or a shirt in our data, as hex; white for a word that is no colour."""
    known = PALETTES.get(attribute, {})
    if name in known:
        return "#{:02x}{:02x}{:02x}".format(*known[name])
    return to_hex(name) if is_color_like(name) else "#ffffff"


def in_rows(tiles: Sequence[Tile], side: int, wide: int = WIDE) -> list[Line]:
    """Pictures in lines of `wide`."""
    return [Line(tiles[start : start + wide], side=side) for start in range(0, len(tiles), wide)]


def _captioned(pictures: np.ndarray, caption: str) -> list[Tile]:
    """Pictures [N, H, W, 4] of one line with a caption under the first."""
    return [Tile(picture, (caption if place == 0 else "",)) for place, picture in enumerate(pictures)]


def beside_nearest(row: Row, drawn: Pictures, known: Shards) -> Line:
    """A sample, and the training subjects most like it with their similarities."""
    sample = row["sample"]
    tiles = [Tile(drawn.front(sample) if sample in drawn else None, ("sample", sample))]
    for subject, similarity in zip(row["neighbours"], row["similarity"], strict=True):
        picture = frontal_view(known, subject) if subject in known else None
        tiles.append(Tile(picture, (f"similarity {similarity:.3f}", subject)))
    return Line(tiles, side=MEDIUM)


def _prompted(store: Pictures, sample: str, rows: Sequence[Row], height: int) -> Tile:
    prompt = wrapped(rows[0]["prompt"], PROMPT)
    swatches = []
    for row in rows:
        swatches.append((swatch(row["attribute"], row["wanted"]), f"{row['attribute']} wanted {row['wanted']}"))
        swatches.append((swatch(row["attribute"], row["measured"]), f"measured {row['measured']}"))
    hit = all(row["hit"] for row in rows)
    caption = [*prompt, *[""] * (height - len(prompt)), "✓ hit" if hit else "✗ miss"]
    return Tile(store.front(sample), caption, YES if hit else NO, swatches)


def none_of(run: Path, what: str) -> MissingRows:
    """Error for samples of a kind that the run has none of."""
    return MissingRows(f"{run}: the samples hold no {what}; {next_step(run, 'sample')}")
