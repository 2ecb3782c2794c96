"""Figure 7 in numbers: whether samples repeat training subjects, beside people the models never saw."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

from analysis.results.rows import MissingRows, Row, next_step, results
from analysis.results.statistics import Interval, mean_interval, rate_interval
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder

FIELDS = {"set": str, "name": str, "step": int, "nearest": str, "similarity": float}
RATIOS = {"clip_ratio": float, "picture_ratio": float}
COPY = 1 / 3  # nearest over second-nearest distance. Source: Yoon et al., Diffusion models generalize ... (2023)
LEVEL = 0.95  # share of people never seen whose similarity is not over the limit; with fewer than 20 it is the largest


def memorisation_groups(run: Path) -> dict[int | None, list[Row]]:
    """Checked rows by step of the base model, rising; the last group, None, is of people never seen, if there are."""
    try:
        rows = results(run, "evaluate", "memorisation", FIELDS | RATIOS, optional=["step"])
    except MissingRows as problem:
        if read_rows(RunFolder(run), "evaluate"):
            raise MissingRows(
                f"{run}: its stage 'evaluate' has no samples to look for copies in, or was done by an earlier rodin; "
                f"move {RunFolder(run).stage('evaluate')} elsewhere, then {next_step(run, 'evaluate')}"
            ) from None
        raise problem
    groups: dict[int | None, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.get("step")].append(row)
    return dict(sorted(groups.items(), key=lambda item: math.inf if item[0] is None else item[0]))


def similarity_limit(unseen: list[Row]) -> float | None:
    """Similarity to the nearest training subject that 5 % of people never seen are over at most; None without any."""
    if not unseen:
        return None
    values = sorted(row["similarity"] for row in unseen)
    return values[min(math.ceil(LEVEL * len(values)), len(values)) - 1]


def table_memorisation(run: Path) -> list[Row]:
    """Distances of samples to their nearest training subjects, and shares of copies, at each step of the base model.

    Returns:
        Rows with `of` (samples at a step, or people never seen), count, and with 95 % intervals the mean `similarity`
        to the nearest subject, the mean ratios of nearest over second-nearest distance, `clip_copies` and
        `picture_copies` (shares whose ratio is under COPY) and `over_limit` (share over `similarity_limit`).
    """
    groups = memorisation_groups(run)
    limit = similarity_limit(groups.get(None, []))
    table = []
    for step, rows in groups.items():
        line: Row = {"of": "people never seen" if step is None else f"samples, step {step:,}", "count": len(rows)}
        for field in ("similarity", *RATIOS):
            line |= _interval(field, mean_interval([row[field] for row in rows]))
        for field, ratio in (("clip_copies", "clip_ratio"), ("picture_copies", "picture_ratio")):
            line |= _interval(field, rate_interval(sum(row[ratio] < COPY for row in rows), len(rows)))
        over = None if limit is None else sum(row["similarity"] > limit for row in rows)
        table.append(line | _interval("over_limit", None if over is None else rate_interval(over, len(rows))))
    table[0]["note"] = "\n".join(_notes(groups, table, limit))
    return table


def _notes(groups: dict[int | None, list[Row]], table: list[Row], limit: float | None) -> list[str]:
    drawn = [line for line in table if line["of"] != "people never seen"]
    notes = [
        "ratio: distance to the nearest training person over that to the second nearest; a copy has one under 1/3",
        "CLIP: embeddings of frontal pictures; pictures: their pixels at 32²; [ ] 95 %, Wilson for shares",
    ]
    if drawn:
        last = drawn[-1]
        most = max(last["clip_copies_high"], last["picture_copies_high"])
        notes.append(
            f"what can be told: of {last['count']} samples, at most {most:.0%} are copies, with 95 % confidence in "
            "each of both spaces; copies that are rarer, of a part such as a face alone, or moved cannot be seen"
        )
    if limit is not None:
        unseen = groups[None]
        expected = (1 + sum(row["similarity"] > limit for row in unseen)) / (len(unseen) + 1)
        notes.append(
            f"over limit: more similar than {limit:.3f}, which {len(unseen)} people never seen set; without copying "
            f"{expected:.0%} of samples are expected over it; avatars are softer than pictures, which lowers similarity"
        )
    if len(drawn) == 1:
        notes.append("one step only: a run with base.keep_averages=true shows whether copies come with training")
    return notes


def _interval(name: str, interval: Interval | None) -> Row:
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
