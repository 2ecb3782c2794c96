"""Figure 7 in numbers: whether samples repeat training subjects, beside people the models never saw."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from analysis.results.rows import MissingRows, Row, next_step, results
from analysis.results.statistics import RANGES, mean_interval, rate_interval
from analysis.tables.quality import interval_fields
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder

FIELDS = {"set": str, "name": str, "step": int, "nearest": str, "similarity": float}
RATIOS = {"clip_ratio": float, "picture_ratio": float}
COPY = 1 / 2  # nearest over second-nearest distance; 1/3 is usual for sharp pictures, and misses soft copies
HELD_OUT, KNOWN, SAMPLES = "held-out", "known copies", "samples"  # sets of rows
LEVEL = 0.95  # share of people never seen whose similarity is not over the limit; with fewer than 20 it is the largest


@dataclass(frozen=True)
class Groups:
    """Checked rows: of samples by rising step of the base model, of people never seen, of known copies."""

    samples: dict[int, list[Row]]
    unseen: list[Row]
    known: list[Row]


def memorisation_groups(run: Path) -> Groups:
    """All rows of a run.

    Raises:
        MissingRows: there are none.
    """
    try:
        rows = results(run, "evaluate", "memorisation", FIELDS | RATIOS, optional=["step"])
    except MissingRows as problem:
        if read_rows(RunFolder(run), "evaluate"):
            raise MissingRows(
                f"{run}: its stage 'evaluate' has no samples to look for copies in, or was done by an earlier rodin; "
                f"move {RunFolder(run).stage('evaluate')} elsewhere, then {next_step(run, 'evaluate')}"
            ) from None
        raise problem
    samples: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if row["set"] == SAMPLES:
            samples[row.get("step") or 0].append(row)
    unseen, known = ([row for row in rows if row["set"] == one] for one in (HELD_OUT, KNOWN))
    return Groups(dict(sorted(samples.items())), unseen, known)


def similarity_limit(unseen: list[Row]) -> float | None:
    """Similarity to the nearest training subject that 5 % of people never seen are over at most; None without any."""
    if not unseen:
        return None
    values = sorted(row["similarity"] for row in unseen)
    return values[min(math.ceil(LEVEL * len(values)), len(values)) - 1]


def table_memorisation(run: Path) -> list[Row]:
    """Distances of samples to their nearest training subjects, and shares of copies, at each step of the base model.

    Returns:
        Rows with `of` (samples at a step, people never seen, known copies), count, and with 95 % intervals the mean
        `similarity` to the nearest subject, the mean ratios of nearest over second-nearest distance, `clip_copies` and
        `picture_copies` (shares whose ratio is under COPY) and `over_limit` (share over `similarity_limit`).
    """
    groups = memorisation_groups(run)
    limit = similarity_limit(groups.unseen)
    sets = {f"samples, step {step:,}": rows for step, rows in groups.samples.items()}
    sets |= {"people never seen": groups.unseen, "known copies": groups.known}
    table = []
    for name, rows in sets.items():
        if not rows:
            continue
        line: Row = {"of": name, "count": len(rows)}
        for field in ("similarity", *RATIOS):
            line |= interval_fields(field, mean_interval([row[field] for row in rows], RANGES[field]))
        for field, ratio in (("clip_copies", "clip_ratio"), ("picture_copies", "picture_ratio")):
            line |= interval_fields(field, rate_interval(sum(row[ratio] < COPY for row in rows), len(rows)))
        over = None if limit is None else sum(row["similarity"] > limit for row in rows)
        table.append(line | interval_fields("over_limit", None if over is None else rate_interval(over, len(rows))))
    table[0]["note"] = "\n".join(_notes(groups, table, limit))
    return table


def _notes(groups: Groups, table: list[Row], limit: float | None) -> list[str]:
    drawn = table[: len(groups.samples)]
    notes = [
        "ratio: distance to the nearest training person over that to the second nearest; a copy has one under 1/2",
        "CLIP: embeddings of frontal pictures; pictures: their pixels at 12²; [ ] 95 %, Wilson for shares",
        "known copies: renders of training people's tri-planes, blurred as avatars are; their shares say how many of "
        "all copies are noticed",
    ]
    if drawn:
        last = drawn[-1]
        most = max(last["clip_copies_high"], last["picture_copies_high"])
        notes.append(
            f"what can be told: of {last['count']} samples, at most {most:.0%} are noticed as copies, with 95 % "
            "confidence in each of both spaces; copies that are rarer, of a part such as a face alone, or moved cannot "
            "be seen"
        )
    if limit is not None:
        unseen = groups.unseen
        expected = (1 + sum(row["similarity"] > limit for row in unseen)) / (len(unseen) + 1)
        notes.append(
            f"over limit: more similar than {limit:.3f}, which {len(unseen)} people never seen set; without copying "
            f"{expected:.0%} of samples are expected over it; avatars are softer than pictures, which lowers similarity"
        )
    if len(drawn) == 1:
        notes.append("one step only: a run with base.keep_averages=true shows whether copies come with training")
    return notes
