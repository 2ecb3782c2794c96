"""Pictures of people after each step of the cascade, the truth first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analysis.figures.contact_sheet import Line, Tile, wrapped
from analysis.figures.crops import most_frontal
from analysis.figures.sheets import spaced
from analysis.results.rows import Row
from rodin.evaluation.steps import FITTED
from rodin.store.shards.reader import Shards

PEOPLE = 12  # lines of either kind of people: a sheet of more is too long to compare
SIDE = 150  # px of a picture, as of Figure 7


def cascade_lines(known: Shards, measured: Sequence[tuple[Row, np.ndarray]]) -> list[Line]:
    """A line for each person: the truth, then each step, seen by the most frontal of the cameras that were compared.

    Args:
        known: the store of views.
        measured: rows {subject, step, psnr, lpips} with the rendered views [V, H, W, 4] uint8 of the subject's last V
            cameras, subject by subject.
    """
    by_subject: dict[str, list[tuple[Row, np.ndarray]]] = {}
    for row, pictures in measured:
        by_subject.setdefault(row["subject"], []).append((row, pictures))
    training = [subject for subject, steps in by_subject.items() if any(row["step"] == FITTED for row, _ in steps)]
    unseen = [subject for subject in by_subject if subject not in training]
    lines = []
    for words, people in (("in the training", training), ("unseen", unseen)):
        for subject in spaced(people, PEOPLE):
            count = len(by_subject[subject][0][1])
            place = most_frontal(known.read(subject, "camera_to_world"), count)
            tiles = [Tile(known.read(subject, "rgba", known.shape("rgba")[0] - count + place), ("truth", "", ""))]
            tiles += [Tile(pictures[place], _caption(row)) for row, pictures in by_subject[subject]]
            lines.append(Line(tiles, f"person {subject}, {words}", SIDE))
    return lines


def _caption(row: Row) -> tuple[str, ...]:
    words = wrapped(row["step"], SIDE)
    lpips = "" if row.get("lpips") is None else f", LPIPS {row['lpips']:.3f}"
    return (*words, *[""] * (2 - len(words)), f"{row['psnr']:.1f} dB{lpips}")
