"""Figures made of pictures: 5, 7, 8, 9, 11 and 12, the subjects, the prompts and the reconstructions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.colors import is_color_like, to_hex

from analysis.figures.contact_sheet import NO, YES, Line, Tile, wrapped
from analysis.results.renders import (
    frontal_view,
    mesh_picture,
    reconstructions,
    samples,
    samples_of_kind,
    samples_with,
    training_subjects,
    views,
)
from analysis.results.rows import MissingRows, Row, next_step
from analysis.tables.neighbours import neighbour_rows
from analysis.tables.prompts import prompt_rows
from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.evaluation.steps import OURS
from rodin.store.shards.reader import Shards

WIDE, WIDE_LARGE = 8, 6  # pictures in a line: small ones, large ones
# px, sides of pictures; a full line is about as wide as the report's page
SMALL, TRUTH, BLEND, MEDIUM, LARGE, PROMPT = 120, 130, 140, 150, 160, 176
TURNED = 2  # subjects or samples that a figure also shows from all around
SUBJECTS, UNCURATED, WITH_MESH, PROMPTS = 24, 48, 12, 24  # pictures a figure shows at most
NEAREST, FURTHEST, PAIRS, RECONSTRUCTED = 6, 4, 6, 4  # lines, or pairs of lines, a figure shows at most
T = TypeVar("T")
PALETTES = {"hair": HAIR_COLOURS, "shirt": SHIRT_COLOURS}


def subjects(run: Path) -> list[Line]:
    """Training subjects: frontal views, then two subjects from all around with their captions."""
    store = views(run)
    shown = spaced(training_subjects(run), SUBJECTS)
    lines = _grid([Tile(frontal_view(store, subject), (subject,)) for subject in shown], SMALL)
    for subject in shown[:TURNED]:
        around = spaced(range(store.shape("rgba")[0]), WIDE)
        tiles = [Tile(picture) for picture in store.read(subject, "rgba", around)]
        lines.append(Line(tiles, f"{subject}: {store.meta(subject).get('caption') or 'no caption'}", SMALL))
    return lines


def reverse_process(run: Path) -> list[Line]:
    """Figure 5: x̂_0 along the reverse process, from noise to the sample; one trajectory after the other."""
    store = samples(run)
    lines = []
    for group in _groups(run, "step", "trajectory", "the reverse process"):
        tiles = [Tile(frontal_view(store, sample), (_moment(meta),)) for sample, meta in group]
        lines += _grid(tiles, MEDIUM)
    return lines


def nearest(run: Path) -> list[Line]:
    """Figure 7: samples with the training subjects most like them."""
    return [_beside_nearest(run, row) for row in neighbour_rows(run)[:NEAREST]]


def furthest(run: Path) -> list[Line]:
    """Figure 8: the samples least like any training subject, where failures are most likely (R53)."""
    rows = sorted(neighbour_rows(run), key=lambda row: row["similarity"][0])
    return [_beside_nearest(run, row) for row in rows[:FURTHEST]]


def with_mesh(run: Path) -> list[Line]:
    """Figure 9: the first samples, each with its mesh at its right."""
    store = samples(run)
    tiles = []
    for sample, _ in samples_of_kind(store, "unconditional")[:WITH_MESH]:
        if (mesh := mesh_picture(store, sample)) is not None:
            tiles += [Tile(frontal_view(store, sample), (sample,)), Tile(mesh, ("mesh",))]
    if not tiles:
        raise _none_of(run, "meshes")
    return _grid(tiles, LARGE, WIDE_LARGE)


def uncurated(run: Path) -> list[Line]:
    """Figure 11: samples in the order they were drawn, without selection; the first two also from all around."""
    store = samples(run)
    drawn = samples_of_kind(store, "unconditional")
    if not drawn:
        raise _none_of(run, "avatars from nothing")
    lines = _grid([Tile(frontal_view(store, sample)) for sample, _ in drawn[:UNCURATED]], SMALL)
    for sample, _ in drawn[:TURNED]:
        around = store.read(sample, "rgba")
        lines.append(Line([Tile(picture) for picture in around[:WIDE]], f"{sample}, turned", SMALL))
    return lines


def interpolation(run: Path) -> list[Line]:
    """Figure 12: from one avatar to another by interpolating z; a line per pair, captioned with the second's share."""
    store = samples(run)
    return [
        Line([Tile(frontal_view(store, sample), (f"{meta['blend']:.2f}",)) for sample, meta in group], side=BLEND)
        for group in _groups(run, "blend", "pair", "interpolations")[:PAIRS]
    ]


def prompts(run: Path) -> list[Line]:
    """A sample above its prompt, with the colour the prompt asks for, the measured one, and whether they agree."""
    store = samples(run)
    rows = [row for row in prompt_rows(run) if row.get("pair") is None]  # the others have a figure of their own
    if not rows:
        raise _none_of(run, "samples of the prompts")
    by_sample: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_sample[row["sample"]].append(row)
    height = max(len(wrapped(row["prompt"], PROMPT)) for row in rows)
    tiles = [_prompted(store, sample, of, height) for sample, of in sorted(by_sample.items()) if sample in store]
    if not tiles:
        raise _none_of(run, "samples of the prompts")
    return _grid(tiles[:PROMPTS], PROMPT, WIDE_LARGE)


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


def _grid(tiles: Sequence[Tile], side: int, wide: int = WIDE) -> list[Line]:
    return [Line(tiles[start : start + wide], side=side) for start in range(0, len(tiles), wide)]


def _captioned(pictures: np.ndarray, caption: str) -> list[Tile]:
    """Pictures [N, H, W, 4] of one line with a caption under the first."""
    return [Tile(picture, (caption if place == 0 else "",)) for place, picture in enumerate(pictures)]


def _groups(run: Path, key: str, group: str, what: str) -> list[list[tuple[str, dict[str, Any]]]]:
    """Samples with the same value of `group`, or else the same seed, each group in ascending order of `key`."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for sample, meta in samples_with(samples(run), key):
        groups[str(meta.get(group, meta.get("seed", "")))].append((sample, meta))
    if not groups:
        raise _none_of(run, what)
    return [sorted(of, key=lambda one: one[1][key]) for _, of in sorted(groups.items())]


def _moment(meta: dict[str, Any]) -> str:
    return f"t = {meta['timestep']}" if meta.get("timestep") is not None else f"step {meta['step']}"


def _beside_nearest(run: Path, row: Row) -> Line:
    store, known = samples(run), views(run)
    tiles = [_tile_of(store, row["sample"], "sample")]
    for subject, similarity in zip(row["neighbours"], row["similarity"], strict=True):
        tiles.append(_tile_of(known, subject, f"similarity {similarity:.3f}"))
    return Line(tiles, side=MEDIUM)


def _tile_of(store: Shards, name: str, caption: str) -> Tile:
    return Tile(frontal_view(store, name) if name in store else None, (caption, name))


def _prompted(store: Shards, sample: str, rows: Sequence[Row], height: int) -> Tile:
    prompt = wrapped(rows[0]["prompt"], PROMPT)
    swatches = []
    for row in rows:
        swatches.append((swatch(row["attribute"], row["wanted"]), f"{row['attribute']} wanted {row['wanted']}"))
        swatches.append((swatch(row["attribute"], row["measured"]), f"measured {row['measured']}"))
    hit = all(row["hit"] for row in rows)
    caption = [*prompt, *[""] * (height - len(prompt)), "✓ hit" if hit else "✗ miss"]
    return Tile(frontal_view(store, sample), caption, YES if hit else NO, swatches)


def _none_of(run: Path, what: str) -> MissingRows:
    return MissingRows(f"{run}: the samples hold no {what}; {next_step(run, 'sample')}")
