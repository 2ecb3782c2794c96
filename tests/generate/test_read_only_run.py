"""The run of somebody else, which one may read and not write; and disks that refuse."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fixtures.obedient import ROOT
from fixtures.ordinary_user import ordinary

from rodin.generate import requests, uses
from rodin.generate.avatar import Avatar
from rodin.generate.condition import one_request
from rodin.generate.look import Look
from rodin.store.errors import StoreError
from rodin.store.outputs import check_output

SMALL = Look(16, 2, "png")


@pytest.fixture
def read_only(trained, tmp_path):
    """A copy of the run's models in a folder that cannot be written."""
    run = tmp_path / "theirs"
    shutil.copytree(trained.path, run, ignore=shutil.ignore_patterns("results", "samples", "views", "planes"))
    for folder, _, files in os.walk(run):
        for name in files:
            os.chmod(os.path.join(folder, name), 0o444)  # noqa: PTH101, PTH118
        os.chmod(folder, 0o555)  # noqa: PTH101
    yield run
    for folder, _, _ in os.walk(run):
        os.chmod(folder, 0o755)  # noqa: PTH101


def test_avatars_of_a_read_only_run_go_elsewhere(read_only, tmp_path):
    script = """
import sys
from jobs.cli.app import status_of
run = ["--run", "theirs", "--size", "16", "--views", "2"]
asked = [["sample", *run], ["edit", *run, "--to", "a man"]]
for number, words in enumerate(asked):
    assert status_of(words) == 2
    assert status_of([*words, "--output", f"mine/{number}"]) == 0
"""
    before = sorted(read_only.rglob("*"))
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ordinary(sys.executable, "-c", script),
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    errors = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(errors) == 2
    for line in errors:
        assert line.endswith(": cannot write in theirs (Permission denied); give another folder with --output")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["0", "1"]
    assert sorted(read_only.rglob("*")) == before


def test_a_full_disk_leaves_no_half_avatar_and_the_earlier_one(trained, tmp_path):
    """A limit on the size of files stands in for a full disk: the system refuses the same write."""
    out = tmp_path / "out"
    requests.sample_avatar(trained.path, seed=1, output=out, look=SMALL)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (700, hard))
    try:
        for place in (out, tmp_path / "other"):
            with pytest.raises(StoreError, match="no space left") as told:
                requests.sample_avatar(trained.path, seed=2, output=place, look=SMALL)
            assert str(place) in str(told.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (".", "wanted the name of a folder"),
        ("x/..", "wanted the name of a folder"),
        ("x\0y", r"got 'x\\x00y', wanted the name of a folder"),
        ("n" * 256, "a name of 256 bytes, wanted at most 255"),
        ("ä" * 128 + "/x", "a name of 256 bytes"),
        ("file", "file: is a file"),
        ("file/x/y", "file/x/y: file is a file"),
    ],
)
def test_an_output_that_cannot_be_is_refused_before_the_work(name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=words):
        check_output(Path(name), "metadata.json")


def test_a_place_where_even_root_cannot_write_is_refused_before_the_work():
    with pytest.raises(StoreError, match="cannot write in /proc .*give another folder with --output"):
        check_output(Path("/proc/x"), "metadata.json")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/proc/a.glb", "^/proc/a.glb: cannot write in /proc .*give another"),
        ("file/a.glb", "^file/a.glb: file is a file, wanted a folder$"),
        ("a.glb", "^a.glb: is a folder, wanted a file's name$"),
        ("n" * 240 + ".glb", r"cannot write in \. \(File name too long\)"),
        ("n" * 252 + ".glb", "^output: a name of 256 bytes, wanted at most 255$"),
        ("x\0y.glb", r"^output: got 'x\\x00y.glb', wanted the name of a file$"),
    ],
)
def test_a_mesh_that_cannot_be_written_is_refused_before_the_work(name, words, avatars, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    Path("a.glb").mkdir()
    work = []
    monkeypatch.setattr(uses, "opened", lambda *given, **named: work.append(given))
    monkeypatch.setattr(Avatar, "mesh", lambda *given: work.append(given))
    with pytest.raises(ValueError, match=words):
        uses.mesh_avatar(avatars.folder.path, one_request(seed=1), output=Path(name))
    with pytest.raises(ValueError, match=words):
        Avatar(avatars, torch.zeros(3), None, 1, {}).save_mesh(name)
    assert not work
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.glb", "file"]


def test_the_longest_name_that_there_is_can_be_made(trained, tmp_path):
    made = requests.sample_avatar(trained.path, seed=1, output=tmp_path / ("n" * 255), look=SMALL)
    assert made["metadata"].is_file()
