"""Pipes, devices, folders and circles of links where a run keeps its files: one line, and nothing waits for them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from fixtures.shards import publish

from rodin.store.errors import StoreError, Unreadable
from rodin.store.quick_check import quick_problems
from rodin.store.repair import damaged
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards import attempt
from rodin.store.shards.reader import Shards

Harm = Callable[[h5py.File, Path], object]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run with a shard of planes, and beside it a file that no reader of the run may look into."""
    made = RunFolder(tmp_path / "run")
    publish(made.stage("fit"))
    publish(tmp_path / "secret")
    with h5py.File(tmp_path / "secret" / "00000.h5", "r+") as file:
        file["checksums/all"] = np.arange(4)
    return made


def pipe(path: Path) -> None:
    os.mkfifo(path)


def circle(path: Path) -> None:
    path.symlink_to(path)


def link_to_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.symlink_to(path.parent / "pipe")


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


PLACES = [
    "planes/00000.h5",
    "planes/00000.json",
    "planes/.00000.a.jsonl",
    "planes/.catalogue",
    "results/fit-00000.jsonl",
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [pipe, Path.mkdir, circle, link_to_pipe, device])
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_file_is_one_line_and_never_waited_for(run: RunFolder, place: str, make: Callable) -> None:
    path = run.path / place
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    make(path)
    lines = [line for one in damaged(run) for line in one.problems]
    lines += [line for found in quick_problems(run, ["fit"]).values() for line in found]
    for action in (
        lambda: Shards(run.stage("fit"), "planes").read("000001", "planes"),
        lambda: read_rows(run, "fit"),
        lambda: attempt.sources(run.stage("fit"), 0),
    ):
        try:
            action()
        except StoreError as problem:
            lines.append(str(problem))
    assert all("\n" not in line and str(run.path) in line for line in lines)
    assert (place == "planes/.catalogue") == (not lines)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("make", [pipe, Path.mkdir])
def test_a_pipe_is_refused_with_the_next_step(run: RunFolder, make: Callable) -> None:
    path = run.shard("fit", 0)
    path.unlink()
    make(path)
    with pytest.raises(Unreadable, match=f"{path}: cannot read .*; move it away and run the same command again"):
        Shards(run.stage("fit"), "planes").read("000001", "planes")


def test_the_command_line_says_one_line_and_exits_2(tmp_path: Path, run: RunFolder) -> None:
    from jobs.run.record import write_config
    from rodin.presets import preset

    write_config(run, preset("tiny"))
    run.shard("fit", 0).unlink()
    os.mkfifo(run.shard("fit", 0))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    for words in (["store", "verify"], ["store", "repair"], ["store", "info"]):
        command = [sys.executable, "-m", "jobs", *words, str(run.path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
        assert done.returncode == 2, (words, done)
        assert done.stderr.strip().startswith("rodin: error: "), done.stderr
        assert done.stderr.strip().count("\n") == 0
    assert sorted(path.name for path in run.stage("fit").iterdir()) == ["00000.h5", "00000.json"]
