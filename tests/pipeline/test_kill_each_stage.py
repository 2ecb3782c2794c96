"""The whole tiny run, real people and real models: killed in each stage in turn, it ends as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

STAGES = (
    "render",
    "portraits",
    "clip",
    "decoder",
    "embed",
    "fit",
    "index",
    "base",
    "upsample",
    "latent",
    "prior",
    "sample",
    "sweep-cfg",
    "evaluate",
    "report",
)
STORES = {"views": "views", "portraits": "views", "latents": "latents", "planes": "planes", "samples": "samples"}
"""folder of a store -> kind of its shards"""
OF_THE_CLOCK = {"seconds", "samples_per_second", "peak_rss_mb"}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.blender,
    pytest.mark.skipif(find_spec("bpy") is None, reason="bpy is missing: pip install -c constraints.txt -e '.[demo]'"),
]


def start(run: Path, stage: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "jobs", "run", "tiny", "--run", str(run), "--stages", stage]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(run: Path, stage: str) -> None:
    driver = start(run, stage)
    said, _ = driver.communicate(timeout=600)
    assert driver.returncode == 0, said.decode()


def kill_while_at(run: Path, stage: str) -> bool:
    """Start a stage and kill -9 its driver a moment after a shard has begun; false when it was over first."""
    driver = start(run, stage)
    try:
        while driver.poll() is None:
            if any((run / "jobs" / "progress").glob(f"{stage}-[0-9]*.json")):
                time.sleep(0.25)
                os.kill(driver.pid, signal.SIGKILL)
                return True
            time.sleep(0.01)
        return False
    finally:
        driver.communicate()
        time.sleep(1.5)  # its workers see that it is gone and end


def whole(run: Path) -> dict[str, int]:
    """Manifests there are -> when each was made."""
    folders = [RunFolder(run).stage(stage) for stage in STAGES]
    return {str(path): path.stat().st_mtime_ns for folder in folders for path in sorted(folder.glob("[0-9]*.json"))}


def without_clock(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what a clock says."""
    return {key: value for key, value in row.items() if key not in OF_THE_CLOCK}


def numbers(run: Path) -> dict[str, list[dict[str, Any]]]:
    """Every result row; `timing` rows are nothing else."""
    return {
        path.name: [without_clock(json.loads(row)) for row in path.read_text().splitlines()]
        for path in sorted((run / "results").glob("*.jsonl"))
        if not path.name.startswith("timing")
    }


@pytest.mark.timeout(1500)
def test_killed_in_each_stage_in_turn_it_ends_as_undisturbed(tmp_path: Path):
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    cut = []
    for stage in STAGES:
        finish(calm, stage)
        if kill_while_at(killed, stage) and len(whole(killed)) < len(whole(calm)):
            cut.append(stage)
        kept = whole(killed)
        finish(killed, stage)
        now = whole(killed)
        assert {path: now[path] for path in kept} == kept, f"{stage}: something whole was made again"
        assert len(now) == len(whole(calm))
    assert len(cut) >= len(STAGES) - 4, f"only {cut} were cut short"  # the shortest may be over before the kill
    assert numbers(killed) == numbers(calm)
    for store, kind in STORES.items():
        ours, theirs = Shards(killed / store, kind), Shards(calm / store, kind)
        assert ours.subjects == theirs.subjects
        for subject in theirs:
            assert without_clock(ours.meta(subject)) == without_clock(theirs.meta(subject))
            for field in theirs.fields():
                assert ours.read(subject, field).tobytes() == theirs.read(subject, field).tobytes(), (subject, field)
