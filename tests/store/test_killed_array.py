"""An array of real fits killed at random moments ends like an undisturbed one: no row is lost or written twice."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fixtures.coloured_people import make_views

from rodin.config import Config
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import decoder
from rodin.store.repair import damaged, remove_leftovers
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

ROOT = Path(__file__).parents[2]
CLOCK = "seconds"
TINY = [
    *("data.views=6", "data.resolution=16", "data.held_out=1", "triplane.resolution=16", "triplane.base_resolution=8"),
    *("decoder.steps=2", "fit.steps=3", "fit.rays=64", "fit.samples=8", "fit.min_rescale=8", "fit.floor_psnr=0"),
    "fit.together=2",
]


def arrays(config: Config, folder: Path, kills: int, pause: float) -> list[int]:
    """Run an array undisturbed and others whose tasks are killed; returns the number of kills of each."""
    words = [sys.executable, str(ROOT / "tests/fixtures/killed_array.py"), str(folder), config.model_dump_json()]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, str(kills), str(pause)], capture_output=True, text=True, timeout=270, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


def fitted(run: RunFolder) -> dict[str, tuple[dict[str, bytes], dict[str, Any]]]:
    """Every subject's arrays and meta, without what a clock says."""
    store = Shards(run.stage("fit"), "planes")
    return {
        subject: (
            {field: store.read(subject, field).tobytes() for field in ("planes", "base")},
            {name: value for name, value in store.meta(subject).items() if name != CLOCK},
        )
        for subject in store
    }


def killed_to_the_end(folder: Path, subjects: int, size: int, kills: int) -> None:
    config = preset("tiny", [*TINY, f"data.subjects={subjects}", f"data.shard_subjects={size}"])
    whole = RunFolder(folder / "whole")
    make_views(config, whole)
    decoder.run(config, whole, 0, Hooks())
    counts = arrays(config, folder, kills, 0.15)
    assert sum(counts) >= kills
    wanted = fitted(whole)
    assert list(wanted) == config.train_subjects()
    shards = range(config.shards("fit"))
    for number in range(len(counts)):
        run = RunFolder(folder / f"broken-{number}")
        assert damaged(run) == []
        remove_leftovers(run)  # a task killed while it tidied up after publishing has left its files
        names = sorted(path.name for path in run.stage("fit").iterdir())
        assert names == sorted(f"{shard:05d}.{end}" for shard in shards for end in ("h5", "json"))
        store = Shards(run.stage("fit"), "planes")
        assert [name for shard in shards for name in store.subjects_of(shard)] == config.train_subjects()
        assert store.failed == {}
        assert store.verify() == []
        assert fitted(run) == wanted
    print(f"{sum(counts)} kills over {len(counts)} arrays of {subjects} subjects")


def test_killed_at_six_moments(tmp_path: Path) -> None:
    killed_to_the_end(tmp_path, 12, 3, 6)


@pytest.mark.slow
def test_killed_at_two_hundred_moments(tmp_path: Path) -> None:
    killed_to_the_end(tmp_path, 64, 8, 200)
