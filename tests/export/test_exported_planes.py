"""Exported planes: the same bits, rendered alike by a reader that knows the files only, and safe against kills."""

import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import sharing
from oracles import exported_planes
from safetensors.numpy import load_file

from jobs.cli.app import status_of
from rodin.data.shared_decoder import load_decoder
from rodin.export import planes
from rodin.field.cameras import look_at, pinhole, rays
from rodin.field.render import render
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

CONFIG = sharing.config_of(subjects=5)
ROW = 2 * 3 * CONFIG.triplane.channels * 8 * 8


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(planes, "FILE_BYTES", 2 * ROW + 1)
    return sharing.make_planes(Path("run"), CONFIG)


def typed(*more: str) -> int:
    return status_of(["export", "planes", "--run", "run", "--output", "out", *more])


def error(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("rodin: error: ")
    assert text.count("\n") == 1
    return text


def files() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("out").iterdir() if path.name[0] != "."}


def test_planes_and_decoder_are_the_same_to_the_last_bit(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "output": "out", "subjects": 5, "files": 3, "written": 3, "kept": 0, "bytes": 5 * ROW,
    }  # fmt: skip
    shards, found = Shards(run.stage("fit"), "planes"), {}
    for number in range(3):
        found |= load_file(f"out/planes-{number:05d}.safetensors")
    assert sorted(found) == shards.subjects
    for subject, array in found.items():
        stored = shards.read(subject, "planes")
        assert (array.dtype, array.shape, array.tobytes()) == (np.float16, stored.shape, stored.tobytes())
    weights, state = load_file("out/decoder.safetensors"), load_decoder(run).state_dict()
    assert {name: value.tobytes() for name, value in weights.items()} == {
        name: value.numpy().tobytes() for name, value in state.items()
    }


@pytest.mark.parametrize("view_directions", [False, True])
def test_another_project_renders_the_same_picture(view_directions: bool, tmp_path: Path) -> None:
    run = sharing.make_planes(tmp_path / "run", CONFIG, seed=3, view_directions=view_directions)
    shards, out = Shards(run.stage("fit"), "planes"), tmp_path / "out"
    planes.export_planes(planes.PlanesExport(run, CONFIG, out, shards, shards.subjects))
    readme = json.loads((out / "README.json").read_text())
    fov, samples = readme["render"]["fov_degrees"], readme["render"]["samples"]
    assert (fov, samples) == (CONFIG.data.fov_degrees, CONFIG.fit.samples)
    pose = look_at(readme["render"]["camera_radius"] * np.array([0.6, 0.3, 0.74]))
    theirs = exported_planes.render(out, "000003", pose, fov, side=6)
    origins, directions = (torch.from_numpy(array) for array in rays(pose, pinhole(6, fov), 6, 6))
    stored = torch.from_numpy(shards.read("000003", "planes")).float()[None]
    box = CONFIG.triplane.box
    colour, opacity, _ = render(stored, load_decoder(run), origins, directions, box=box, samples=samples)
    ours = torch.cat([colour, opacity[:, None]], dim=1).view(6, 6, 4).numpy()
    np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert ours.std() > 0.05


def test_every_person_has_a_line(run: RunFolder) -> None:
    sharing.make_views(run.path, CONFIG)
    assert typed() == 0
    lines = [json.loads(text) for text in Path("out/people.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["subject"] for line in lines] == CONFIG.train_subjects()
    for line in lines:
        assert line["subject"] in load_file(Path("out") / line["file"])
        assert line["psnr"] == 20.5
        assert line["captions"] == sharing.described(line["subject"])["captions"]


def test_what_is_whole_is_kept_and_the_rest_made(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--subjects", "000000:000002") == 0
    assert len(list(Path("out").glob("planes-*"))) == 2
    capsys.readouterr()
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 1
    before = files()
    for name, damage in (("planes-00000.safetensors", lambda data: data[:-1]), ("planes-00002.safetensors", len)):
        path = Path("out") / name
        path.write_bytes(damage(before[name]) if name[-13] == "0" else b"x" * damage(before[name]))
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 1
    assert files() == before
    assert typed("--subjects", "000001:") == 2
    assert "holds 1 people who are not asked for now (000000)" in error(capsys)


def test_planes_that_were_fitted_again_are_written_again(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed() == 0
    Path("run/planes").rename("run/before")
    sharing.make_planes(Path("other"), CONFIG, seed=1)
    Path("other/planes").rename("run/planes")
    capsys.readouterr()
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == 3
    stored = Shards(run.stage("fit"), "planes").read("000004", "planes")
    assert load_file("out/planes-00002.safetensors")["000004"].tobytes() == stored.tobytes()


@pytest.mark.parametrize("at", [1, 2, 4, 5])
def test_a_killed_export_goes_on_to_the_same_bytes(run: RunFolder, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert typed() == 0
    whole = files()
    Path("out").rename("unbroken")

    def killed() -> None:
        original, calls = os.replace, {"count": 0}

        def deadly(self: Path, target: Path) -> Path:
            calls["count"] += 1
            if calls["count"] == 1 + at:  # the first is README.json
                os.kill(os.getpid(), signal.SIGKILL)
            original(self, target)
            return Path(target)

        monkeypatch.setattr(Path, "replace", deadly)
        typed()

    assert sharing.in_child(killed) == signal.SIGKILL
    left = {name: data for name, data in files().items() if name != "README.json"}
    assert left.items() <= whole.items()
    assert len(left) == at - 1
    assert typed() == 0
    assert files() == whole
    assert not [path for path in Path("out").iterdir() if path.name[0] == "."]


def test_a_full_disk_is_one_line(run: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))  # README.json fits, planes do not
        monkey = pytest.MonkeyPatch()
        monkey.setattr(planes, "described", lambda export, decoder: {})
        os._exit(typed())

    assert os.waitstatus_to_exitcode(sharing.in_child(limited)) == 2
    assert "planes-00000.safetensors: no space left" in error(capfd)
    assert [path.name for path in Path("out").iterdir()] == ["README.json"]


def test_too_little_space_is_told_first(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rodin.store.errors.free_bytes", lambda path: 5 * ROW - 1)
    assert typed() == 2
    assert "no space left: needs" in error(capsys)
    monkeypatch.setattr("rodin.store.errors.free_bytes", lambda path: 5 * ROW)
    assert typed() == 0


def test_a_dry_run_writes_nothing(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--dry-run", "--json", "--subjects", "000001:000003") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"output": "out", "subjects": 3, "files": 2, "bytes": 3 * ROW}
    assert typed("--dry-run") == 0
    assert capsys.readouterr().out == "out: 5 people in 3 files, 0.01 MB; nothing was written\n".replace(
        "0.01 MB", f"{5 * ROW / 1000:.0f} kB"
    )
    assert not Path("out").exists()


def test_what_is_missing_is_one_line(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("run/decoder/00000.json").unlink()
    assert typed() == 2
    assert "the shared decoder is not there; run stage decoder first" in error(capsys)
    assert not Path("out").exists()
    Path("run/planes/00000.json").unlink()
    assert typed() == 2
    assert "no finished shard of kind planes" in error(capsys)


def test_files_say_where_their_people_come_from(run: RunFolder) -> None:
    from safetensors import safe_open

    assert typed() == 0
    for path in Path("out").glob("*.safetensors"):
        with safe_open(path, "np") as file:
            assert "synthetic people who do not exist" in json.loads(file.metadata()["rodin"])["origin"]
    assert "synthetic people who do not exist" in json.loads(Path("out/README.json").read_text())["origin"]
