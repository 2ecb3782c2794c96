"""What stages have left in a run folder: whether one has begun, with which settings, and the steps of a training."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rodin.store import manifest
from rodin.store.atomic import fsync_folder, publish_bytes, remove
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder

# Files of a stage whose result is used or gone on from: manifests, shards, checkpoints of trainings and of the decoder.
LEFT = ("[0-9]*.json", "[0-9]*.h5", "checkpoints/step-*", "state/last.json", "*/checkpoints/step-*", "*/[0-9]*.json")
JOURNALS = ".[0-9]*.jsonl"  # of attempts at a shard: a header, then a line for each finished row


def begun(folder: RunFolder, stage: str) -> bool:
    """Whether a stage has left something that a later run keeps: a shard, a finished row or a checkpoint."""
    home = folder.stage(stage)
    if any(next(home.glob(pattern), None) for pattern in LEFT):
        return True
    return any(path.read_bytes().count(b"\n") > 1 for path in home.glob(JOURNALS))


def settings_of(folder: RunFolder, stage: str) -> dict[str, Any] | None:
    """The keys of the config that a begun stage was made with, and their values; None: not on record (an old run)."""
    try:
        return json.loads(_settings_file(folder, stage).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def keep_settings(folder: RunFolder, stage: str, values: dict[str, Any]) -> None:
    """Record the keys that a stage is made with and their values, when it begins; those of a begun stage stay."""
    known = settings_of(folder, stage)
    if known == values or (known is not None and begun(folder, stage)):
        return
    publish_bytes(_settings_file(folder, stage), (json.dumps(values, indent=1) + "\n").encode())


def _settings_file(folder: RunFolder, stage: str) -> Path:
    return folder.jobs / "settings" / f"{stage}.json"


def trained_steps(folder: RunFolder, stage: str, batch: int) -> tuple[int, bool] | None:
    """Steps of a training on disk: those of its finished model, else of its last checkpoint.

    Args:
        folder: the run.
        stage: the training.
        batch: samples of a step.

    Returns:
        steps, whether the training is finished; None where nothing is on disk or its manifest is damaged.
    """
    path = folder.manifest(stage)
    if manifest.complete(path):
        try:
            return manifest.read(path)["samples"] // batch, True
        except (StoreError, KeyError):
            return None
    checkpoints = (folder.stage(stage) / "checkpoints").glob("step-*.pt")
    steps = [int(number) for one in checkpoints if (number := one.name.split("-")[1]).isdigit()]
    return (max(steps), False) if steps else None


def reopen(folder: RunFolder, stage: str, keep: bool) -> None:
    """Make a stage count as not done.

    Args:
        folder: the run.
        stage: its name.
        keep: leave what it goes on from, such as checkpoints; else its shards and result rows go too.
    """
    home = folder.stage(stage)
    for path in [*home.glob("[0-9]*.json"), *home.glob("*/00000.json")]:  # the latter of trainings inside a sweep
        remove(path)
    if keep:
        return
    for path in home.glob("*"):
        if path.is_dir() and not (path / "checkpoints").is_dir():
            shutil.rmtree(path)
        elif path.is_file():  # also an attempt at a shard
            path.unlink()
    for path in folder.results.glob(f"{stage}-*.jsonl"):
        path.unlink(missing_ok=True)
    for place in (home, folder.results):  # before run.toml tells the new config, so that nothing old comes back
        if place.is_dir():
            fsync_folder(place)
