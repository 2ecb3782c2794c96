"""Figures made of pictures: Figures 5, 7, 8, 9, 11 and 12, the people, the prompts and the reconstructions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from matplotlib.colors import is_color_like, to_hex

from analysis.figures.contact_sheet import NO, YES, Line, Tile, contact_sheet, save_sheet, wrapped
from analysis.results.renders import frontal, having, mesh, of_kind, rebuilt, samples, training_subjects, views
from analysis.results.rows import MissingRows, Row, again
from analysis.tables.neighbours import neighbour_rows
from analysis.tables.prompts import prompt_rows
from analysis.tables.quality import OURS
from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.store.shards.reader import Shards

WIDE = 8
T = TypeVar("T")
PALETTES = {"hair": HAIR_COLOURS, "shirt": SHIRT_COLOURS}


def people(run: Path, path: Path, mark: bool) -> None:
    """Training people: frontal pictures, then two of them from all around with their captions."""
    store, ids = views(run), training_subjects(run)
    shown = spaced(ids, 3 * WIDE)
    lines = _grid([Tile(frontal(store, person), (person,)) for person in shown], 120)
    for person in shown[:2]:
        count = store.shape("rgba")[0]
        tiles = [Tile(picture) for picture in store.read(person, "rgba", spaced(range(count), WIDE))]
        lines.append(Line(tiles, f"{person}: {store.meta(person).get('caption') or 'no caption'}", 120))
    save_sheet(path, contact_sheet(lines, mark), "Training people")


def reverse_process(run: Path, path: Path, mark: bool) -> None:
    """Figure 5: x̂_0 along the reverse process, from noise to the sample."""
    store = samples(run)
    groups = _groups(having(store, "step"), "step", "trajectory")
    if not groups:
        raise _none_of(run, "the reverse process")
    lines = []
    for group in groups:
        tiles = [Tile(frontal(store, sample), (_moment(meta),)) for sample, meta in group]
        lines += _grid(tiles, 150)
    save_sheet(path, contact_sheet(lines, mark), "Figure 5: the reverse process")


def nearest(run: Path, path: Path, mark: bool) -> None:
    """Figure 7: samples with the training people most like them."""
    lines = [_beside_nearest(run, row) for row in neighbour_rows(run)[:6]]
    save_sheet(path, contact_sheet(lines, mark), "Figure 7: nearest training people")


def furthest(run: Path, path: Path, mark: bool) -> None:
    """Figure 8: the samples least like any training person, where failures are looked for first (R53)."""
    rows = sorted(neighbour_rows(run), key=lambda row: row["similarity"][0])[:4]
    lines = [_beside_nearest(run, row) for row in rows]
    save_sheet(path, contact_sheet(lines, mark), "Figure 8: samples least like the training people")


def with_mesh(run: Path, path: Path, mark: bool) -> None:
    """Figure 9: the first samples, picture and mesh side by side."""
    store = samples(run)
    pairs = [(sample, mesh(store, sample)) for sample, _ in of_kind(store, "unconditional")[:12]]
    tiles = [
        tile
        for sample, shape in pairs
        if shape is not None
        for tile in (Tile(frontal(store, sample), (sample,)), Tile(shape, ("mesh",)))
    ]
    if not tiles:
        raise _none_of(run, "a mesh")
    save_sheet(path, contact_sheet(_grid(tiles, 160, 6), mark), "Figure 9: samples and their meshes")


def uncurated(run: Path, path: Path, mark: bool) -> None:
    """Figure 11: samples as they came, chosen by nobody, each also from the sides."""
    store = samples(run)
    drawn = of_kind(store, "unconditional")
    if not drawn:
        raise _none_of(run, "avatars from nothing")
    lines = _grid([Tile(frontal(store, sample)) for sample, _ in drawn[:48]], 120)
    for sample, _ in drawn[:2]:
        around = store.read(sample, "rgba")
        lines.append(Line([Tile(picture) for picture in around[:WIDE]], f"{sample}, turned", 120))
    save_sheet(path, contact_sheet(lines, mark), "Figure 11: uncurated samples")


def interpolation(run: Path, path: Path, mark: bool) -> None:
    """Figure 12: from one avatar to another by interpolating z."""
    store = samples(run)
    groups = _groups(having(store, "blend"), "blend", "pair")
    if not groups:
        raise _none_of(run, "interpolations")
    lines = [
        Line([Tile(frontal(store, sample), (f"{meta['blend']:.2f}",)) for sample, meta in group], side=140)
        for group in groups[:6]
    ]
    save_sheet(path, contact_sheet(lines, mark), "Figure 12: interpolation")


def prompts(run: Path, path: Path, mark: bool) -> None:
    """A sample under each prompt, with the colour that was wanted, the one measured, and whether they are one."""
    store, rows = samples(run), prompt_rows(run)
    by_sample: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_sample[row["sample"]].append(row)
    lines = max(len(wrapped(row["prompt"], 176, 13)) for row in rows)
    tiles = [_prompted(store, sample, of, lines) for sample, of in sorted(by_sample.items()) if sample in store]
    if not tiles:
        raise _none_of(run, "samples of the prompts")
    save_sheet(path, contact_sheet(_grid(tiles[:24], 176, 6), mark), "Text prompts")


def reconstruction(run: Path, path: Path, mark: bool) -> None:
    """Held-out people, and under them what was made of their first picture, seen by the same cameras."""
    store, known = rebuilt(run), views(run)
    made = [(person, meta) for person, meta in having(store, "views") if person in known]
    if not made:
        raise MissingRows(f"{run}: nobody was rebuilt from a picture; {again(run, 'evaluate')}")
    lines = []
    for person, meta in spaced(made, 4):
        places = spaced(range(len(meta["views"])), 6)
        truth = known.read(person, "rgba", [meta["views"][place] for place in places])
        ours = store.read(person, "rgba", places)
        quality = next((row["psnr"] for row in meta.get("rows", []) if row.get("method") == OURS), None)
        told = "" if quality is None else f": {quality:.1f} dB"
        lines.append(
            Line(_captioned(list(truth), "given" if meta["views"][0] == 0 else "real"), f"person {person}{told}", 130)
        )
        lines.append(Line(_captioned(list(ours), "made of it"), side=130))
    save_sheet(path, contact_sheet(lines, mark), "Reconstruction from one picture")


def spaced(items: Sequence[T], count: int) -> list[T]:
    """At most so many items, evenly spread, the first among them."""
    if len(items) <= count:
        return list(items)
    return [items[place * len(items) // count] for place in range(count)]


def swatch(attribute: str, name: str) -> str:
    """What a colour word means for hair or a shirt in our data, as hex; white for a word that means no colour."""
    known = PALETTES.get(attribute, {})
    if name in known:
        return "#{:02x}{:02x}{:02x}".format(*known[name])
    return to_hex(name) if is_color_like(name) else "#ffffff"


def _grid(tiles: Sequence[Tile], side: int, wide: int = WIDE) -> list[Line]:
    return [Line(tiles[start : start + wide], side=side) for start in range(0, len(tiles), wide)]


def _captioned(pictures: Sequence[np.ndarray], words: str) -> list[Tile]:
    """Pictures of one line, words under the first of them."""
    return [Tile(picture, (words if place == 0 else "",)) for place, picture in enumerate(pictures)]


def _groups(chosen: list[tuple[str, dict[str, Any]]], key: str, group: str) -> list[list[tuple[str, dict[str, Any]]]]:
    """Samples that belong together, each group in the order of a key."""
    together: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
    for sample, meta in chosen:
        together[str(meta.get(group, meta.get("seed", "")))].append((sample, meta))
    return [sorted(of, key=lambda one: one[1][key]) for _, of in sorted(together.items())]


def _moment(meta: dict[str, Any]) -> str:
    return f"t = {meta['timestep']}" if meta.get("timestep") is not None else f"step {meta['step']}"


def _beside_nearest(run: Path, row: Row) -> Line:
    store, known = samples(run), views(run)
    sample = row["sample"]
    tiles = [Tile(frontal(store, sample) if sample in store else None, ("sample", sample))]
    for person, similarity in zip(row["neighbours"], row["similarity"], strict=True):
        tiles.append(
            Tile(frontal(known, person) if person in known else None, (f"similarity {similarity:.3f}", person))
        )
    return Line(tiles, side=150)


def _prompted(store: Shards, sample: str, rows: Sequence[Row], lines: int) -> Tile:
    words = wrapped(rows[0]["prompt"], 176, 13)
    swatches = []
    for row in rows:
        swatches.append((swatch(row["attribute"], row["wanted"]), f"{row['attribute']} wanted {row['wanted']}"))
        swatches.append((swatch(row["attribute"], row["measured"]), f"measured {row['measured']}"))
    hit = all(row["hit"] for row in rows)
    words += [""] * (lines - len(words))
    return Tile(frontal(store, sample), [*words, "✓ hit" if hit else "✗ miss"], YES if hit else NO, swatches)


def _none_of(run: Path, what: str) -> MissingRows:
    return MissingRows(f"{run}: the samples hold no {what}; {again(run, 'sample')}")
