"""Views that are exported and imported again are the same, `transforms` to the last bit, also to other readers."""

import json
import os
import shlex
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fixtures import sharing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from jobs.cli.app import status_of
from rodin.captures.alpha import Alpha
from rodin.captures.importing import plan_import, write_views
from rodin.captures.placing import Alignment
from rodin.compositing import bytes_over_white
from rodin.config import Config
from rodin.export.folder import ORIGINS
from rodin.export.views import ViewsExport, export_views
from rodin.field.cameras import project
from rodin.presets.toml import from_toml
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

FORMATS = ("transforms", "eg3d")
BACKGROUNDS = {"transforms": None, "eg3d": "white"}
FAINT = 12  # of 255: what differs less than this from white may be taken for it
QUICK = settings(max_examples=10, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


def export(run: RunFolder, config: Config, form: str, output: Path) -> dict:
    shards = Shards(run.stage("render"), "views")
    return export_views(ViewsExport(run, config, form, output, shards, shards.subjects))


def bring_in(
    form: str, source: Path, target: Path, data: dict | None = None, skip: bool = False, background: str | None = None
) -> None:
    config = from_toml(source / "import.toml")
    config = config.model_copy(update={"data": config.data.model_copy(update=data or {})})
    alpha = Alpha(background=background or BACKGROUNDS[form])
    people = plan_import(form, source, config, Alignment(config.triplane.box), alpha, skip_missing=skip)
    write_views(people, config.data.shard_subjects, RunFolder(target))


def over_white(rows: tuple) -> np.ndarray:
    """A person's pictures as EG3D sees them."""
    return bytes_over_white(np.frombuffer(rows[0], np.uint8).reshape(-1, 4)).astype(int)


@QUICK
@given(
    form=st.sampled_from(FORMATS),
    side=st.sampled_from([16, 17, 24, 33, 48]),
    seed=st.integers(0, 10_000),
    opaque=st.booleans(),
    exact=st.booleans(),
    shared=st.booleans(),
)
def test_what_is_exported_and_imported_is_the_same_to_the_last_bit_but_for_eg3ds_pictures(
    form: str, side: int, seed: int, opaque: bool, exact: bool, shared: bool
) -> None:
    config = sharing.config_of(side, 2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        run = sharing.make_views(root / "run", config, seed, opaque=opaque, exact=exact, shared=shared)
        export(run, config, form, root / "out")
        bring_in(form, root / "out", root / "copy", background="none" if form == "eg3d" and opaque else None)
        before, after = sharing.rows(root / "run"), sharing.rows(root / "copy")
        assert {one: row[1:] for one, row in after.items()} == {one: row[1:] for one, row in before.items()}
        if form == "transforms":
            assert after == before
        elif not opaque:
            assert max(np.abs(over_white(after[one]) - over_white(before[one])).max() for one in before) <= FAINT


def test_eg3d_trains_on_the_pictures_since_they_have_three_channels(tmp_path: Path) -> None:
    config = sharing.config_of()
    run = sharing.make_views(tmp_path / "run", config)
    export(run, config, "eg3d", tmp_path / "out")
    person = over_white(sharing.rows(run.path)["000001"]).reshape(sharing.VIEWS, 16, 16, 3)
    for view in range(sharing.VIEWS):
        with Image.open(tmp_path / "out" / "000001" / f"{view:03d}.png") as picture:
            assert picture.mode == "RGB"
            np.testing.assert_array_equal(np.asarray(picture), person[view])


def test_an_eg3d_export_with_alpha_of_an_older_version_is_written_again(tmp_path: Path) -> None:
    config = sharing.config_of()
    run = sharing.make_views(tmp_path / "run", config)
    export(run, config, "eg3d", tmp_path / "out")
    about = tmp_path / "out" / "000001" / "rodin.json"
    content = json.loads(about.read_text(encoding="utf-8"))
    del content["rodin"]["background"]
    about.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    assert export(run, config, "eg3d", tmp_path / "out")["written"] == 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_command_that_an_export_tells_imports_it(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    config = sharing.config_of()
    sharing.make_views(tmp_path / "run", config, meta=lambda subject: {"caption": "", "captions": [], "attributes": {}})
    assert status_of(["export", "views", "--run", "run", "--format", form, "-o", "my people", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["subjects"], told["views"], told["pictures"], told["written"], told["kept"]) == (4, 5, 20, 4, 0)
    assert json.loads(Path("my people/README.json").read_text())["import"] == told["import"]
    words = [word.replace("NEW", "copy") for word in shlex.split(told["import"])]
    assert status_of(words[1:]) == 0
    kept = slice(1, None) if form == "eg3d" else slice(None)  # pictures over white have no alpha
    before, after = sharing.rows(tmp_path / "run"), sharing.rows(tmp_path / "copy")
    assert {one: row[kept] for one, row in after.items()} == {one: row[kept] for one, row in before.items()}
    again = from_toml(Path("copy/run.toml")).data
    assert (again.subjects, again.held_out, again.source) == (3, 1, "import")


def test_an_export_into_a_folder_whose_name_is_not_utf_8(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sharing.make_views(tmp_path / "run", sharing.config_of())
    name = os.fsdecode(b"M\xfcller")
    assert status_of(["export", "views", "--run", "run", "--format", "eg3d", "-o", name, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert r"'M\xfcller' --preset" in json.loads(Path(name, "README.json").read_text(encoding="utf-8"))["import"]
    words = [word.replace("NEW", "copy") for word in shlex.split(told["import"])]
    assert status_of(words[1:]) == 0
    before, after = sharing.rows(tmp_path / "run"), sharing.rows(tmp_path / "copy")
    assert {one: row[1:] for one, row in after.items()} == {one: row[1:] for one, row in before.items()}


def corner(config: Config, run: RunFolder, subject: str, view: int) -> tuple[np.ndarray, np.ndarray]:
    """A point of the world, and where the run's own camera sees it."""
    shards, point = Shards(run.stage("render"), "views"), np.array([0.3, -0.2, 0.4])
    pose, lens = (shards.read(subject, field, view) for field in ("camera_to_world", "intrinsics"))
    return point, project(point[None], pose, lens)[0][0]


@pytest.mark.parametrize("shared", [True, False])
def test_a_reader_of_nerf_data_sees_a_point_where_the_run_does(shared: bool, tmp_path: Path) -> None:
    config = sharing.config_of(18)
    run = sharing.make_views(tmp_path / "run", config, shared=shared)
    export(run, config, "transforms", tmp_path / "out")
    home = tmp_path / "out" / "000001"
    content = json.loads((home / "transforms.json").read_text(encoding="utf-8"))
    assert ("fl_x" in content) == shared
    for view, frame in enumerate(content["frames"]):
        told = content | frame
        point, pixel = corner(config, run, "000001", view)
        x, y, z, _ = np.linalg.inv(np.array(frame["transform_matrix"])) @ [*point, 1.0]
        seen = told["fl_x"] * x / -z + told["cx"], told["fl_y"] * -y / -z + told["cy"]
        np.testing.assert_allclose(seen, pixel, atol=1e-4)
        assert told["camera_angle_x"] == pytest.approx(2 * np.arctan(18 / 2 / told["fl_x"]))
        assert told["camera_angle_y"] == pytest.approx(2 * np.arctan(18 / 2 / told["fl_y"]))
        with Image.open(home / frame["file_path"]) as picture:
            assert (picture.size, picture.mode) == ((told["w"], told["h"]), "RGBA")


def test_a_reader_of_eg3d_data_sees_a_point_where_the_run_does(tmp_path: Path) -> None:
    config = sharing.config_of(18)
    run = sharing.make_views(tmp_path / "run", config, shared=False)
    export(run, config, "eg3d", tmp_path / "out")
    labels = dict(json.loads((tmp_path / "out" / "dataset.json").read_text())["labels"])
    pictures = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png")}
    assert labels.keys() == pictures
    assert len(labels) == 4 * sharing.VIEWS
    for view in range(sharing.VIEWS):
        label = np.array(labels[f"000003/{view:03d}.png"])
        point, pixel = corner(config, run, "000003", view)
        seen = label[16:].reshape(3, 3) @ (np.linalg.inv(label[:16].reshape(4, 4)) @ [*point, 1.0])[:3]
        np.testing.assert_allclose(18 * seen[:2] / seen[2], pixel, atol=1e-4)


@pytest.mark.parametrize("form", FORMATS)
def test_pictures_say_that_their_people_are_synthetic_also_after_a_round_trip(form: str, tmp_path: Path) -> None:
    config = sharing.config_of()
    export(sharing.make_views(tmp_path / "run", config), config, form, tmp_path / "out")
    bring_in(form, tmp_path / "out", tmp_path / "copy")
    imported = from_toml(tmp_path / "out" / "import.toml")
    export(RunFolder(tmp_path / "copy"), imported, form, tmp_path / "again")
    for folder in ("out", "again"):
        with Image.open(next((tmp_path / folder).rglob("*.png"))) as picture:
            assert picture.info["Source"] == ORIGINS["avatars"]
    assert json.loads((tmp_path / "again" / "README.json").read_text())["origin"] == ORIGINS["import"]


def test_pictures_of_an_export_that_lost_their_alpha_need_a_background(tmp_path: Path) -> None:
    config = sharing.config_of()
    export(sharing.make_views(tmp_path / "run", config), config, "transforms", tmp_path / "out")
    for path in (tmp_path / "out").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    with pytest.raises(ValueError, match="no transparency"):
        bring_in("transforms", tmp_path / "out", tmp_path / "copy")
    bring_in("transforms", tmp_path / "out", tmp_path / "copy", background="none")
    assert sharing.rows(tmp_path / "copy")["000002"][1:] == sharing.rows(tmp_path / "run")["000002"][1:]


def frontal(pose: np.ndarray) -> float:
    """How far a camera stands in front, from -1 to 1."""
    return float(pose[2, 3] / np.linalg.norm(pose[:3, 3]))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("lost", "views", "first"), [([], 5, 3), ([], 4, 1), (["000.png"], 4, 2), ([], 4, 2)])
def test_views_are_sorted_where_the_run_wants_another_number_in_front_or_some_are_lost(
    form: str, lost: list[str], views: int, first: int, tmp_path: Path
) -> None:
    config = sharing.config_of()
    run = sharing.make_views(tmp_path / "run", config)
    export(run, config, form, tmp_path / "out")
    for name in lost:
        next((tmp_path / "out" / "000001").rglob(name)).unlink()
    counts = {"views": views, "reference_views": first}
    bring_in(form, tmp_path / "out", tmp_path / "copy", counts, skip=bool(lost))
    shards = Shards(tmp_path / "copy" / "views", "views")
    before = Shards(run.stage("render"), "views").read("000001", "camera_to_world")
    after, order = shards.read("000001", "camera_to_world"), shards.meta("000001")["frames"]
    assert [(before[int(name[:3])] == pose).all() for name, pose in zip(order, after, strict=True)] == [True] * views
    assert {"views", "reference_views"}.isdisjoint(shards.meta("000001"))
    if (lost, first) == ([], config.data.reference_views):
        assert order == ["000.png", "001.png", "002.png", "003.png"]
        return
    there = [pose for view, pose in enumerate(before) if f"{view:03d}.png" not in lost]
    ranks = sorted(map(frontal, there), reverse=True)
    assert [frontal(pose) for pose in after[:first]] == ranks[:first]
    assert frontal(after[first]) == ranks[-1]


@pytest.mark.parametrize("record", [[], {"version": 2}, {"version": 1, "origin": 3, "attributes": {}}, {"version": 1}])
@pytest.mark.parametrize(("form", "file"), [("transforms", "transforms.json"), ("eg3d", "rodin.json")])
def test_a_record_of_another_version_is_refused(form: str, file: str, record: object, tmp_path: Path) -> None:
    config = sharing.config_of()
    export(sharing.make_views(tmp_path / "run", config), config, form, tmp_path / "out")
    path = tmp_path / "out" / "000002" / file
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"rodin": record}))
    with pytest.raises(ValueError, match=f"000002/{file}: 'rodin' .*export again"):
        bring_in(form, tmp_path / "out", tmp_path / "copy")


def test_a_matrix_of_worse_than_single_precision_is_still_mended(tmp_path: Path) -> None:
    from rodin.captures.sanity import check_pose

    pose = np.eye(4)
    pose[0, 1] = 1e-4
    assert np.abs(check_pose(pose, "x")[:3, :3] @ check_pose(pose, "x")[:3, :3].T - np.eye(3)).max() < 1e-12
    kept = np.eye(4)
    kept[0, 1] = 3e-8
    assert (check_pose(kept, "x") == kept).all()
