"""Exports of views that go on, are refused, killed, or meet a full disk."""

import errno
import hashlib
import json
import os
import resource
import signal
from pathlib import Path

import pytest
from fixtures import sharing
from PIL import Image

from jobs.cli.app import status_of
from rodin.export import views
from rodin.export.folder import locked
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

CONFIG = sharing.config_of()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    monkeypatch.chdir(tmp_path)
    return sharing.make_views(Path("run"), CONFIG)


def typed(*more: str, form: str = "transforms") -> int:
    return status_of(["export", "views", "--run", "run", "--format", form, "--output", "out", *more])


def line(capsys: pytest.CaptureFixture[str]) -> str:
    text = capsys.readouterr().err
    assert text.startswith("rodin: error: ")
    assert text.count("\n") == 1
    return text


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("form", views.FORMATS)
def test_a_second_command_keeps_what_is_whole_and_makes_the_rest(
    run: RunFolder, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed(form=form) == 0
    out, before = Path("out"), digests(Path("out"))
    untouched = (out / "000000").stat().st_ino
    next((out / "000001").rglob("002.png")).unlink()
    next((out / "000002").glob("*.json")).write_text("{}")
    next((out / "000003").glob("*.json")).unlink()
    capsys.readouterr()
    assert typed("--json", form=form) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["written"], told["kept"]) == (3, 1)
    assert digests(out) == before
    assert (out / "000000").stat().st_ino == untouched


def test_people_whose_pictures_changed_in_the_run_are_written_again(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed() == 0
    Path("run/views").rename("run/before")
    old = Shards(Path("run/before"), "views")
    sharing.make_views(Path("other"), CONFIG, seed=1)
    Path("other/views").rename("run/views")
    capsys.readouterr()
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out)["written"] == 4
    new = Shards(Path("run/views"), "views").read("000000", "rgba", 1)
    with Image.open("out/000000/images/001.png") as picture:
        assert picture.tobytes() == new.tobytes() != old.read("000000", "rgba", 1).tobytes()


@pytest.mark.parametrize(
    ("ids", "people"),
    [
        ("000001", [1]),
        ("000003,000000", [0, 3]),
        ("000001:000002", [1, 2]),
        (":000001, 000003", [0, 1, 3]),
        ("000002:", [2, 3]),
        ("000001:000001,000001", [1]),
    ],
)
def test_some_people(run: RunFolder, ids: str, people: list[int]) -> None:
    assert typed("--subjects", ids, form="eg3d") == 0
    assert sorted(path.name for path in Path("out").iterdir() if path.is_dir()) == [f"{one:06d}" for one in people]
    labels = json.loads(Path("out/dataset.json").read_text())["labels"]
    assert sorted({name[:6] for name, _ in labels}) == [f"{one:06d}" for one in people]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--subjects", "000009"], "no subject '000009' among 4"),
        (["--subjects", "../run"], "no subject '../run' among 4"),
        (["--subjects", ""], "no subject '' among 4"),
        (["--subjects", "000004:000009"], "there is nobody between; people are 000000 to 000003"),
        (["--format", "colmap"], "--format got 'colmap', wanted transforms or eg3d"),
        (["--output", "run"], "run: holds other files; wanted a new folder's name"),
        (["--output", "run/run.toml"], "run.toml: is a file"),
        (["--output", ""], "is empty"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(
    run: RunFolder, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests(Path())
    assert typed(*words) == 2
    assert said in line(capsys)
    assert digests(Path()) == before


def test_a_folder_of_other_things_is_refused_and_stays(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    Path("out/README.json").write_text('{"name": "mine"}')
    assert typed() == 2
    assert "its README.json is not one of an export" in line(capsys)
    assert [path.name for path in Path("out").iterdir()] == ["README.json"]


def test_another_export_is_refused_but_more_people_are_added(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("--subjects", "000001:000002") == 0
    before = digests(Path("out"))
    assert typed("--subjects", "000001:000002", form="eg3d") == 2
    assert "holds another export (format 'transforms'), wanted format 'eg3d'; choose another" in line(capsys)
    sharing.make_views(Path("theirs"), CONFIG)
    assert status_of(["export", "views", "--run", "theirs", "--format", "transforms", "-o", "out"]) == 2
    assert "theirs" in line(capsys)
    assert typed("--subjects", "000002:") == 2
    assert "holds 1 people who are not asked for now (000001); ask for them too" in line(capsys)
    assert digests(Path("out")) == before
    assert typed("--json") == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2


def test_two_exports_into_one_folder_are_told_apart(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").mkdir()
    with locked(Path("out")) as alone:
        assert alone
        assert typed() == 2
    assert "out: another export is writing there" in line(capsys)
    assert typed() == 0


@pytest.mark.parametrize("subject", ["../../x", "a/b", "Zoë", "x" * 101, "."])
def test_an_id_is_no_path(subject: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = sharing.make_views(tmp_path / "run", CONFIG, subjects=[subject], meta=lambda one: {})
    shards = Shards(run.stage("render"), "views")
    with pytest.raises(ValueError, match="cannot name a folder; leave it out"):
        views.ViewsExport(run, CONFIG, "eg3d", tmp_path / "out", shards, shards.subjects)


def test_ids_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    run = sharing.make_views(tmp_path / "run", CONFIG, subjects=["Ann", "ann"], meta=lambda one: {})
    shards = Shards(run.stage("render"), "views")
    with pytest.raises(ValueError, match="'ann' cannot name a folder beside 'Ann'"):
        views.ViewsExport(run, CONFIG, "eg3d", tmp_path / "out", shards, shards.subjects)


@pytest.mark.parametrize(
    ("form", "moment"),
    [*(("transforms", moment) for moment in ("mkdir", "save", "listing", "rename", "old")), ("eg3d", "end")],
)
def test_a_killed_export_leaves_only_whole_people_and_goes_on(
    run: RunFolder, form: str, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed("--output", "unbroken", form=form) == 0

    def killed() -> None:
        calls = {"count": 0}

        def deadly(module: object, name: str, at: int) -> None:
            original = getattr(module, name)

            def stand_in(*arguments: object, **named: object) -> object:
                calls["count"] += 1
                if calls["count"] == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **named)

            monkeypatch.setattr(module, name, stand_in)

        target, name, at = {
            "mkdir": (views, "write_person", 1),
            "save": (views, "fsync_file", 8),
            "listing": (views, "fsync_folder", 3),
            "rename": (views, "replace_folder", 3),
            "old": (views.shutil, "rmtree", 3),
            "end": (views, "publish_bytes", 1),
        }[moment]
        deadly(target, name, at)
        typed(form=form)

    assert sharing.in_child(killed) == signal.SIGKILL
    whole, out = digests(Path("unbroken")), Path("out")
    assert not json.loads((out / "README.json").read_text())["complete"]
    assert not (out / "dataset.json").exists()
    seen = {name: digest for name, digest in digests(out).items() if name[0] != "." and "README" not in name}
    assert seen.items() <= whole.items()
    for folder in (path for path in out.iterdir() if path.is_dir() and path.name[0] != "."):
        assert {name for name in whole if name.startswith(folder.name)} <= seen.keys()
    assert typed(form=form) == 0
    mended, told = digests(out), (out / "README.json").read_text()
    for name in ("README.json", "import.toml"):
        assert mended.pop(name)
        assert whole.pop(name)
    assert mended == whole
    assert json.loads(told)["complete"]


def test_a_full_disk_is_one_line_and_what_is_done_is_kept(run: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    assert typed("--subjects", "000000") == 0
    capfd.readouterr()

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))  # less than a picture, which has 1,024 bytes and more
        os._exit(typed("--subjects", "000000:000001"))

    assert os.waitstatus_to_exitcode(sharing.in_child(limited)) == 2
    assert "no space left" in line(capfd)
    assert [path.name for path in Path("out").iterdir() if path.is_dir()] == ["000000"]


def test_too_little_space_is_told_before_anything_is_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rodin.store.errors.free_bytes", lambda path: 9000)
    assert typed() == 2
    said = line(capsys)
    assert "no space left: needs" in said
    assert not [path for path in Path("out").iterdir() if path.is_dir()]


def test_a_dry_run_tells_the_size_and_writes_nothing(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert typed("--dry-run", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["subjects"], told["pictures"]) == (4, 20)
    assert not Path("out").exists()
    assert typed("--dry-run") == 0
    assert "out: 4 people, 20 pictures, about" in capsys.readouterr().out
    assert typed() == 0
    size = sum(path.stat().st_size for path in Path("out").rglob("*.png"))
    assert told["bytes"] == pytest.approx(size, rel=0.02)


def test_a_file_system_without_locks_keeps_what_another_may_be_writing(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    leftover = Path("out") / f".{'0' * 32}"
    leftover.mkdir(parents=True)

    def refuse(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr("fcntl.flock", refuse)
        assert typed() == 0
    assert leftover.is_dir()
    assert typed() == 0
    assert not leftover.exists()
