"""`rodin bench fit --run RUN`: how fast the run's own people are fitted, and what each idea of the fitter brings."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rodin import bench, field, fitting
from rodin.bench.fit import Keep, Measure, bench_fit
from rodin.bench.race import Person, Track, Tuning
from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean
from rodin.device import default_device
from rodin.stages.decoder import fit_settings
from rodin.stages.fit import Fitted, fit_subjects, groups
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

LRS = (1.0, 2.0, 4.0, 8.0)
SPARSE = 1e-2
FILE = "fit.jsonl"
CODE = [Path(package.__path__[0]) for package in (field, fitting, bench)]  # what a kept time depends on


def bench_run(
    config: Config, folder: RunFolder, people: int, progress: Callable[[int, int, str], None]
) -> list[dict[str, Any]]:
    """Race both fitters on people of a run, none of whom the decoder was learned with where there are enough.

    Args:
        config: the run's config: `fit` is how ours goes; the reference takes as many steps. Neither rescales
            (R28), which teaches the decoder, frozen here.
        folder: the run, with its views and its decoder.
        people: how many, the last of the training people.
        progress: told fits done, fits in all and what came of the last.

    Returns:
        rows as `rodin.bench.fit.bench_fit` gives them, then how fast the stage went, `fit.together` people at a time,
        for `rodin plan --rates`. Each fit is written to the run's bench/fit.jsonl as it is measured, and the same
        command run again goes on from there.
    """
    device = default_device()
    views = Shards(folder.stage("render"), "views")
    chosen = [subject for subject in config.train_subjects() if subject in views][-people:]
    read = [Person(*(views.read(one, field) for field in ("rgba", "camera_to_world", "intrinsics"))) for one in chosen]
    fit = config.fit
    track = Track(
        load_decoder(folder, device),
        load_mean(folder, device),
        replace(fit_settings(config, fit.rays), min_rescale=None),
        steps=fit.steps,
        reference_steps=fit.steps,
        lr=fit.lr,
    )
    tunings = [Tuning(fit.lr * factor, SPARSE) for factor in LRS]
    sources = [path for folder in CODE for path in sorted(folder.glob("*.py"))]
    code = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sources]
    about = [platform.node(), str(device), chosen, fit.model_dump(mode="json"), code]
    kept = kept_in(folder.stage("bench") / FILE, hashlib.sha256(json.dumps(about).encode()).hexdigest())
    rows = bench_fit(read, track, tunings=tunings, ideas=True, progress=progress, kept=kept)

    def stage(some: Sequence[str]) -> tuple[float, float]:
        began = time.perf_counter()
        made = [one for one in fit_subjects(config, views, some, track.decoder, track.start) if isinstance(one, Fitted)]
        return time.perf_counter() - began, sum(one.meta["psnr"] for one in made) / max(1, len(made))

    seconds = 0.0
    for group in groups(chosen, fit.together):
        seconds += kept(f"stage fit on {' '.join(group)}", lambda group=group: stage(group))[0]
    return [*rows, speed_row("fit", len(chosen) * fit.steps * fit.rays * fit.samples / seconds)]


def speed_row(stage: str, points: float) -> dict[str, Any]:
    """How many points along rays a stage gets through in a second, as `rodin plan --rates` reads it."""
    return {"name": f"speed of stage {stage}", "value": points, "unit": "points/s", "rates": {stage: points}}


def kept_in(path: Path, about: str) -> Keep:
    """What was measured before on this machine with this config and code, out of a file that grows by what is new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    rows = [json.loads(line) for line in whole]
    known = {row["name"]: (row["seconds"], row["psnr"]) for row in rows if row["about"] == about}

    def kept(name: str, measure: Measure) -> tuple[float, float]:
        if name not in known:
            known[name] = seconds, psnr = measure()
            row = {"about": about, "name": name, "seconds": seconds, "psnr": psnr}
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        return known[name]

    return kept
