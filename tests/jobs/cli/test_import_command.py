"""`rodin import` as it is typed: look first, bring in, go on; the picture to look at shows what is there."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures import captured, ellipsoids
from PIL import Image

from analysis.figures.capture_check import (
    ABOVE,
    BESIDE,
    BOX,
    HULL,
    PICTURE_SIDE,
    CaptureCheck,
    draw,
    flat_hull,
    silhouette,
)
from jobs.cli.app import status_of
from rodin.store.shards.reader import Shards

SETTINGS = [f"data.{name}" for name in ("subjects=1", "held_out=0", "views=6", "reference_views=2", "resolution=48")]
SETTINGS += ["fit.held_out_views=1", "sweeps.view_counts=[2,4]", "evaluate.views=6"]


@pytest.fixture
def reconstruction(tmp_path: Path) -> Path:
    """Six photographs of dots with COLMAP's model, in a world of its own."""
    captured.write_colmap(
        tmp_path / "ann", captured.DOTS * 3 + 5.0, captured.cameras(6, np.full(3, 5.0), 12.0), "OPENCV", True
    )
    return tmp_path / "ann"


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    status = status_of(["import", "colmap", *arguments, "--preset", "tiny", "--json", *changes])
    out, err = capsys.readouterr()
    assert status == 0, err
    return json.loads(out)


def test_look_first_then_bring_in(
    reconstruction: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    looked = told(["ann", "--check", "look.png"], capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ann", "look.png"]
    assert (looked["subjects"], looked["views"], looked["name"]) == (1, 6, "ann")
    np.testing.assert_allclose(looked["centre"], [5.0] * 3, atol=0.05)
    with Image.open("look.png") as picture:
        assert picture.size[0] > 1000
    made = told(["ann", "--run", "run"], capsys)
    assert made == {"subjects": 1, "views": 6, "shards": 1, "skipped": 0, "empty": 0, "notes": []}
    shards = Shards(tmp_path / "run" / "views", "views")
    assert shards.shape("rgba") == (6, 48, 48, 4)
    assert shards.meta("000000")["placing"]["centre"] == looked["centre"]


def test_a_run_takes_no_second_import(reconstruction: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People of two alignments would stand beside each other, or nothing be written without a word."""
    ann, run = str(reconstruction), ["--run", str(tmp_path / "run")]
    told([ann, *run], capsys)
    assert told([ann, *run], capsys)["subjects"] == 1  # the same one goes on
    views = (tmp_path / "run" / "views" / "00000.json").read_bytes()
    shutil.copytree(reconstruction, tmp_path / "bob")
    for arguments, words in (
        ([ann, "--scale", "2"], "scale was null, now 2.0"),
        ([ann, "--up", "z"], 'up was null, now "z"'),
        ([ann, "--background", "none"], 'background was null, now "none"'),
        ([str(tmp_path / "bob")], 'people was ["ann"], now ["bob"]'),
    ):
        changes = [word for setting in SETTINGS for word in ("--set", setting)]
        assert status_of(["import", "colmap", *arguments, *run, "--preset", "tiny", *changes]) == 2
        err = capsys.readouterr().err
        assert f"holds views of another import: {words}; give a new run folder" in err
        assert (tmp_path / "run" / "views" / "00000.json").read_bytes() == views


@pytest.mark.parametrize(
    ("folder", "more", "told"),
    [
        (b"z\xfc", {}, r"'z\\udcfc' is not UTF-8"),
        (b"z", {"captions": ["a man", "grin \ud83d"]}, r"'grin \\ud83d' is not UTF-8"),
        (b"z", {"rodin": {"version": 1, "origin": "x", "attributes": {"hat": "\ud83d"}}}, r"\\ud83d"),
    ],
)
def test_names_and_captions_that_are_not_utf_8_are_refused_before_anything_is_written(
    folder: bytes, more: dict, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "set" / os.fsdecode(folder)
    captured.write_transforms(home, captured.DOTS, captured.cameras(6, np.zeros(3), 4.0), "PINHOLE", False)
    path = home / "transforms.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    changes = [word for setting in SETTINGS for word in ("--set", setting)]
    words = ["import", "transforms", str(tmp_path / "set"), "--run", str(tmp_path / "run"), "--preset", "tiny"]
    assert status_of([*words, *changes]) == 2
    err = capfd.readouterr().err
    assert re.search(rf"transforms.json: .*{told}", err)
    assert err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def person() -> CaptureCheck:
    rgba, poses, lenses = ellipsoids.views(9, 64, seed=4)
    grid = (np.stack(np.meshgrid(*[np.arange(32)] * 3, indexing="ij"), -1) + 0.5) / 16 - 1
    hull = ellipsoids.inside(ellipsoids.person(4), grid.reshape(-1, 3)).reshape(32, 32, 32)
    shown = [(number, f"{number}.png") for number in (0, 4)]
    return CaptureCheck("ann", poses, lenses, shown, rgba[[0, 4]], hull, 1.0, ["a note"])


def test_the_hull_is_drawn_where_the_person_is() -> None:
    checked = person()
    for place, (number, _) in enumerate(checked.shown):
        mask = silhouette(checked.hull, 1.0, checked.poses[number], checked.lenses[number] * (PICTURE_SIDE / 64))
        truth = np.asarray(Image.fromarray(checked.pictures[place][..., 3]).resize((PICTURE_SIDE, PICTURE_SIDE))) > 127
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85


def test_maps_show_the_world_as_their_words_say() -> None:
    hull = np.zeros((4, 4, 4), bool)
    hull[3, 0, 1] = True  # right, low, a little to the back
    assert np.argwhere(flat_hull(hull, ABOVE)).tolist() == [[1, 3]]  # from above: +x right, +z down
    assert np.argwhere(flat_hull(hull, BESIDE)).tolist() == [[3, 1]]  # from the side: +z right, +y up


def test_the_sheet_holds_box_and_hull() -> None:
    sheet = np.asarray(draw(person())).reshape(-1, 3)
    for colour in (BOX, HULL):
        wanted = [int(colour[place : place + 2], 16) for place in (1, 3, 5)]
        assert (sheet == wanted).all(axis=1).sum() > 300
