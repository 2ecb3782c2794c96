"""Speed of Table 1 at the paper's scale: out of columns in shards, against one JSON line for each picture."""

from __future__ import annotations

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from rodin.evaluation.steps import OURS
from rodin.presets import PRESETS
from rodin.presets.toml import to_toml
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

MEASURES = ("psnr", "ssim", "lpips")
MEANS, SPREAD, NOISE = (24.0, 0.79, 0.13), (1.5, 0.03, 0.02), (2.0, 0.04, 0.03)  # of people, and of a person's pictures


def bench_table(
    table: Callable[[Path], Any], people: int = 1_000, pictures: int = 300, folder: Path | None = None
) -> list[dict[str, Any]]:
    """Time Table 1 of made-up people at five guidance scales: 1.5 million pictures by default.

    Args:
        table: what makes the table of a run folder.
        people: held-out people.
        pictures: of each, at each scale.
        folder: where to make up the run; None: a temporary folder.

    Returns:
        one row {name, value, unit, baseline, baseline_value, ratio}; ratio over 1 means ours is faster.
    """
    with tempfile.TemporaryDirectory() as temporary:
        run = folder or Path(temporary) / "run"
        scales = PRESETS["paper"].sweeps.guidance_scales
        values = made_up(len(scales), people, pictures)
        write_run(run, scales, values)
        lines = Path(temporary) / "pictures.jsonl"
        write_lines(lines, scales, values)
        start = perf_counter()
        table(run)
        ours, start = perf_counter() - start, perf_counter()
        by_lines(lines)
        baseline = perf_counter() - start
    row = {"name": f"Table 1 of {values[..., 0].size:,} pictures", "value": ours, "unit": "s"}
    return [row | {"baseline": "JSON lines", "baseline_value": baseline, "ratio": baseline / ours}]


def made_up(scales: int, people: int, pictures: int) -> np.ndarray:
    """Measures of made-up pictures, [scales, people, pictures, 3] float32."""
    draws = np.random.default_rng(0)
    person = draws.standard_normal((1, people, 1, 3)) * SPREAD + MEANS
    return (person + draws.standard_normal((scales, people, pictures, 3)) * NOISE).astype(np.float32)


def write_run(run: Path, scales: tuple[float, ...], values: np.ndarray) -> None:
    """Write a run folder with the config of preset `paper` and the shards and rows that `sweep-cfg` would leave.

    Args:
        run: the folder; made.
        scales: guidance scales.
        values: as `made_up`.
    """
    folder, size = RunFolder(run), PRESETS["paper"].sweeps.shard_subjects
    run.mkdir(parents=True)
    folder.config_file.write_text(to_toml(PRESETS["paper"]), encoding="utf-8")
    people, pictures = values.shape[1:3]
    names = [f"{100_000 + number:06d}" for number in range(people)]
    number = 0
    for scale, of_scale in zip(scales, values, strict=True):
        for first in range(0, people, size):
            known = {"guidance_scale": scale, "methods": [OURS], "measures": list(MEASURES)}
            attributes, shapes = known | {"compared": list(range(pictures))}, {"rgba": (1, 1, 1, 4)}
            shapes |= {"measures": (1, pictures, len(MEASURES))}
            part, rows = names[first : first + size], []
            with ShardWriter(folder.stage("sweep-cfg"), number, "samples", part, shapes, attributes) as writer:
                for subject, each in zip(part, of_scale[first : first + size], strict=True):
                    means = dict(zip(MEASURES, each.mean(axis=0).tolist(), strict=True))
                    rows.append({"stage": "sweep-cfg", "subject": subject, "guidance_scale": scale} | means)
                    writer.add(subject, {"rows": rows[-1:]}, rgba=np.zeros((1, 1, 1, 4), np.uint8), measures=each[None])
                writer.publish()
            write_rows(folder, "sweep-cfg", number, rows)
            number += 1


def write_lines(path: Path, scales: tuple[float, ...], values: np.ndarray) -> None:
    """Write the same measures as one JSON line for each picture."""
    with path.open("w", encoding="utf-8") as file:
        for scale, of_scale in zip(scales, values, strict=True):
            for subject, pictures in enumerate(of_scale.tolist()):
                for view, each in enumerate(pictures):
                    row = {"subject": subject, "guidance_scale": scale, "view": view}
                    file.write(json.dumps(row | dict(zip(MEASURES, each, strict=True))) + "\n")


def by_lines(path: Path) -> dict[tuple[float, int], np.ndarray]:
    """Means of each person at each scale, of a file of `write_lines`: the plain way, without intervals."""
    rows = defaultdict(list)
    with path.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            rows[row["guidance_scale"], row["subject"]].append([row[name] for name in MEASURES])
    return {key: np.mean(each, axis=0) for key, each in rows.items()}
