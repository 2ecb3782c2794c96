"""Figure 8: the worst samples by measure, grouped by the paper's kinds of failure (R53), each with its value.

The paper names people outside the data's bulk (a), complex clothing (b) and floaters (c). The first two are looked for
among held-out people, whose age and clothes are known; floaters among samples, by haze. Ours: texts that their picture
fits least by CLIP, and the samples least like any training person.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.figures.contact_sheet import Line, Tile, wrapped
from analysis.figures.sheets import MEDIUM, beside_nearest
from analysis.results.large import Pictures
from analysis.results.provenance import config_of, setting
from analysis.results.renders import (
    frontal_view,
    reconstructions,
    samples_of_kind,
    samples_with,
    training_subjects,
    views,
)
from analysis.results.rows import MissingRows, Row
from analysis.results.statistics import difference_interval
from analysis.tables.neighbours import neighbour_rows
from analysis.tables.quality import gain_text, interval_fields
from rodin.evaluation.steps import OURS
from rodin.store.shards.reader import Shards

OUTSIDE = 0.10  # share of the training people at either end of an attribute that lies outside of the data's bulk
WORST, PAIRS, ALIKE = 6, 3, 2  # pictures, pairs of pictures or lines that a group shows
WORDS = 3  # lines of a prompt
PLAIN = "plain"  # pattern of a shirt without any
CAPTION = (
    "The worst of each kind of failure that the paper names, and of two more, chosen by the value under each picture: "
    "people rebuilt from one picture (PSNR), samples (haze: share of the opacity beside the body), samples of texts "
    "(cosine of CLIP's embeddings), and samples least like any training person."
)
HIDDEN = (
    " The haze of (c) is measured on the whole avatar; the pictures hide it, as sample.main_body = true shows the body "
    "alone."
)


def worst_caption(run: Path) -> str:
    """Caption of Figure 8; says where the pictures hide the haze that is measured."""
    hidden = setting(config_of(run), "sample.main_body")
    return CAPTION + (HIDDEN if hidden else "")


def worst(run: Path) -> list[Line]:
    """The groups that a run's measurements allow, the paper's first.

    Raises:
        MissingRows: none of them; names the stage to run.
    """
    lines, problem = [], None
    for group in (outside_the_bulk, patterned, hazy, unlike_their_text, unlike_anyone):
        try:
            lines += group(run)
        except MissingRows as missing:
            problem = problem or missing
    if not lines:
        raise problem or MissingRows(f"{run}: nothing of Figure 8 was measured")
    return lines


def outside_the_bulk(run: Path) -> list[Line]:
    """(a) The worst rebuilt of the held-out people who are younger or older than nearly all training people."""
    known = views(run)
    ages = np.sort([age for one in training_subjects(run) if (age := _attributes(known, one).get("age")) is not None])

    def outside(attributes: dict[str, Any]) -> str | None:
        share = float(np.mean(ages < attributes["age"])) if len(ages) and attributes.get("age") is not None else 0.5
        if OUTSIDE < share < 1 - OUTSIDE:
            return None
        return f"older than {share:.1%}" if share > 0.5 else f"younger than {1 - share:.1%}"

    return _rebuilt(run, f"(a) out of the bulk, {OUTSIDE:.0%} youngest or oldest", outside)


def patterned(run: Path) -> list[Line]:
    """(b) The worst rebuilt of the held-out people whose shirts have a pattern."""

    def pattern(attributes: dict[str, Any]) -> str | None:
        return attributes["pattern"] if attributes.get("pattern") not in (None, PLAIN) else None

    return _rebuilt(run, "(b) patterned clothes", pattern)


def hazy(run: Path) -> list[Line]:
    """(c) The samples with most haze: opacity beside the main body."""
    rows = [row for row in neighbour_rows(run) if isinstance(row.get("haze"), int | float)]
    if not rows:
        return []
    rows.sort(key=lambda row: -row["haze"])
    pictures, middle = Pictures(run), float(np.median([row["haze"] for row in rows]))
    tiles = [
        Tile(pictures.front(row["sample"]), (row["sample"], f"haze {row['haze']:.2%}"))
        for row in rows[:WORST]
        if row["sample"] in pictures
    ]
    return [Line(tiles, f"(c) floaters: most haze of {len(rows)} samples; the median has {middle:.2%}", MEDIUM)]


def unlike_their_text(run: Path) -> list[Line]:
    """The samples of texts whose pictures fit them least by CLIP."""
    pictures = Pictures(run)
    metas = {name: pictures.meta(name) for name, _ in samples_of_kind(pictures.stored, "prompt")}
    scores = {name: meta["clip_score"] for name, meta in metas.items() if meta.get("clip_score") is not None}
    if not scores:
        return []
    names = sorted(scores, key=lambda name: scores[name])[:WORST]
    middle = float(np.median(list(scores.values())))
    tiles = []
    for name in names:
        prompt = wrapped(metas[name]["prompt"], MEDIUM, most=WORDS)
        caption = (*prompt, *[""] * (WORDS - len(prompt)), f"CLIP {scores[name]:.2f}")
        tiles.append(Tile(pictures.front(name), caption))
    heading = f"texts: lowest CLIP score of {len(scores)} samples; the median has {middle:.2f}"
    return [Line(tiles, heading, MEDIUM)]


def unlike_anyone(run: Path) -> list[Line]:
    """The samples least like any training subject, beside those most like them."""
    rows = sorted(neighbour_rows(run), key=lambda row: row["similarity"][0])
    pictures, known = Pictures(run), views(run)
    lines = [beside_nearest(row, pictures, known) for row in rows[:ALIKE]]
    heading = f"least like any training person, of {len(rows)} samples, beside the nearest of them"
    return [Line(line.tiles, heading if place == 0 else "", line.side) for place, line in enumerate(lines)]


def _rebuilt(run: Path, words: str, kind: Callable[[dict[str, Any]], str | None]) -> list[Line]:
    """A line of the worst rebuilt people of a kind, each beside its avatar; none where the people have no attributes.

    Args:
        run: the run folder.
        words: heading, before the numbers.
        kind: what a person's attributes say of the kind; None for people of others.
    """
    made, known = reconstructions(run), views(run)
    rows = {row["subject"]: row for _, meta in samples_with(made, "rows") for row in meta["rows"] if _is_ours(row)}
    people = [one for one in rows if one in known and one in made and _attributes(known, one)]
    of_kind = {one: found for one in people if (found := kind(_attributes(known, one))) is not None}
    if not of_kind:
        return []
    others = [rows[one]["psnr"] for one in people if one not in of_kind]
    tiles: list[Tile] = []
    for one in sorted(of_kind, key=lambda one: rows[one]["psnr"])[:PAIRS]:
        tiles.append(Tile(frontal_view(known, one), (one, of_kind[one])))
        tiles.append(Tile(frontal_view(made, one), ("avatar of it", f"{rows[one]['psnr']:.1f} dB")))
    return [Line(tiles, f"{words}: {_against([rows[one]['psnr'] for one in of_kind], others)}", MEDIUM)]


def _against(values: Sequence[float], others: Sequence[float]) -> str:
    """How a kind of people is rebuilt beside the others."""
    mean = f"{len(values)} people, {np.mean(values):.1f} dB"
    if not others:
        return mean
    gap = interval_fields("gain_psnr", difference_interval(values, others))
    return f"{mean}, {gain_text(gap)} beside {len(others)} others"


def _is_ours(row: Row) -> bool:
    return row.get("method") == OURS


def _attributes(known: Shards, subject: str) -> dict[str, Any]:
    return known.meta(subject).get("attributes") or {}
