"""`rodin bench fit --run RUN`: speed of fitting the run's own subjects, and the gain of each idea of the fitter."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rodin import bench, field, fitting
from rodin.bench.fit import Cache, Measure, bench_fit
from rodin.bench.race import RaceSetup, RaceSubject, ReferenceTuning
from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean, load_start
from rodin.device import default_device
from rodin.hooks import Progress
from rodin.stages.decoder import fit_settings
from rodin.stages.fit import FittedSubject, fit_subjects, groups
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

LRS = (1.0, 2.0, 4.0, 8.0)  # factors on our step size that the reference tries
SPARSE = 1e-2  # factor on our weight of L_sparse; it acts in the whole box there, not only outside the hull
TOGETHER = (1, 4, 16)  # people fitted at once; a CPU core is busy with one, a GPU with more
FILE = "fit.jsonl"
CODE = [Path(package.__path__[0]) for package in (field, fitting, bench)]  # cached times depend on it


def bench_run(config: Config, folder: RunFolder, subjects: int, progress: Progress) -> list[dict[str, Any]]:
    """Compare both fitters on subjects of a run; if there are enough, on subjects the decoder was not learned with.

    Args:
        config: the run's config; `fit` configures ours, and the reference takes as many steps. Neither rescales (R28),
            which serves the decoder, frozen here.
        folder: the run, with its views and its decoder.
        subjects: number of them, the last of the training subjects.
        progress: called with fits done, fits in all and the result of the last.

    Returns:
        rows of `rodin.bench.fit.bench_fit`; people a minute with each number of TOGETHER fitted at once; the speed of
        the stage with `fit.together` subjects at a time, for `rodin plan --rates`. Each result is appended to the run's
        bench/fit.jsonl once measured; the same command run again continues from there.
    """
    device = default_device()
    views = Shards(folder.stage("render"), "views")
    chosen = [subject for subject in config.train_subjects() if subject in views][-subjects:]
    fields = ("rgba", "camera_to_world", "intrinsics")
    read = [RaceSubject(*(views.read(subject, field) for field in fields)) for subject in chosen]
    fit = config.fit
    setup = RaceSetup(
        load_decoder(folder, device),
        load_mean(folder, device),
        replace(fit_settings(config, fit.rays), min_rescale=None),
        steps=fit.steps,
        reference_steps=fit.steps,
        lr=fit.lr,
        learned=load_start(config, folder, device),
    )
    tunings = [ReferenceTuning(fit.lr * factor, SPARSE) for factor in LRS]
    sources = [path for folder in CODE for path in sorted(folder.glob("*.py"))]
    code = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    about = [platform.node(), str(device), chosen, fit.model_dump(mode="json"), code]
    cached = measurement_cache(folder.stage("bench") / FILE, hashlib.sha256(json.dumps(about).encode()).hexdigest())
    rows = bench_fit(read, setup, tunings=tunings, ideas=True, progress=progress, cached=cached)

    def stage(some: Sequence[str]) -> tuple[float, float]:
        began = time.perf_counter()
        results = fit_subjects(config, views, some, setup.decoder, setup.start, setup.learned)
        made = [one for one in results if isinstance(one, FittedSubject)]
        return time.perf_counter() - began, sum(one.meta["psnr"] for one in made) / max(1, len(made))

    seconds = 0.0
    for group in groups(chosen, fit.together):
        seconds += cached(f"stage fit on {' '.join(group)}", lambda group=group: stage(group))[0]
    minutes = {
        size: cached(f"stage fit, {size} at once", lambda size=size: stage(cycled(chosen, size)))[0] / 60
        for size in TOGETHER
    }
    rows += together_rows({size: size / spent for size, spent in minutes.items()})
    return [*rows, speed_row("fit", len(chosen) * fit.steps * fit.rays * fit.samples / seconds)]


def cycled(subjects: Sequence[str], count: int) -> list[str]:
    """So many subjects; where there are fewer, they come again, as the same subject takes the same work."""
    return [subjects[number % len(subjects)] for number in range(count)]


def together_rows(rates: Mapping[int, float]) -> list[dict[str, Any]]:
    """Rows of subjects a minute (rates) by number fitted at once, against the first number."""
    first, *_ = rates
    return [
        {
            "name": f"stage fit, people a minute, {size} at once",
            "value": rate,
            "unit": "people/min",
            "baseline": f"{first} at once",
            "baseline_value": rates[first],
            "ratio": rate / rates[first],
        }
        for size, rate in rates.items()
    ]


def speed_row(stage: str, points: float) -> dict[str, Any]:
    """Row with the points along rays that a stage processes a second, as `rodin plan --rates` reads it."""
    return {"name": f"speed of stage {stage}", "value": points, "unit": "points/s", "rates": {stage: points}}


def measurement_cache(path: Path, about: str) -> Cache:
    """Cache of measurements in a file, for one machine, config and code (the hash `about`); new ones are appended."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    rows = [json.loads(line) for line in whole]
    known = {row["name"]: (row["seconds"], row["psnr"]) for row in rows if row["about"] == about}

    def cached(name: str, measure: Measure) -> tuple[float, float]:
        if name not in known:
            known[name] = seconds, psnr = measure()
            row = {"about": about, "name": name, "seconds": seconds, "psnr": psnr}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return known[name]

    return cached
