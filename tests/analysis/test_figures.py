"""Figures: drawn, of the right size, not blank, tagged; and what they say when there is nothing to draw."""

from pathlib import Path

import numpy as np
import pytest
from fixtures import finished_stores
from PIL import Image

from analysis.figures.contact_sheet import TAG, Line, Tile, bytes_over_white, contact_sheet, wrapped
from analysis.figures.crops import crops, upsampler_crops
from analysis.figures.figures import FIGURES, figure
from analysis.report.findings import write_findings


@pytest.mark.parametrize("name", list(FIGURES))
def test_every_figure_is_drawn_and_tagged(report_path: Path, name: str):
    path = report_path.parent / "figures" / f"figure-{name}.png"
    with Image.open(path) as image:
        image.load()
        assert image.info["Description"] == TAG
        assert min(image.size) >= 150
        assert max(image.size) <= 4000
        values = np.asarray(image.convert("RGB")).astype(np.int64)
    assert len(np.unique(values @ [1, 256, 65536])) > 30
    inked = (values < 250).any(axis=-1).mean()
    assert 0.01 < inked < 0.9


@pytest.mark.parametrize("name", ["9", "4"])
def test_a_figure_is_the_same_twice(report_path: Path, name: str):
    before = (report_path.parent / "figures" / f"figure-{name}.png").read_bytes()
    assert figure(report_path.parent, name).read_bytes() == before


def test_pictures_stand_where_they_should():
    red = np.zeros((8, 8, 4), np.uint8)
    red[...] = (255, 0, 0, 255)
    clear = np.zeros((8, 8, 4), np.uint8)
    sheet = np.asarray(contact_sheet([Line([Tile(red), Tile(clear), Tile(None)], side=40)]))
    assert sheet.shape == (24 + 40 + 24, 24 + 3 * 40 + 2 * 12 + 24, 3)
    assert sheet[44, 44].tolist() == [255, 0, 0]
    assert sheet[44, 24 + 52 + 20].tolist() == [255, 255, 255]


def test_crops_show_the_unseen_view_nearest_the_front(full_run: Path):
    seen = crops(full_run, "sweep-resolution")
    assert [line.heading for line in seen] == [f"Person 00000{n}, a view that was not fitted" for n in range(2)]
    assert [tile.caption[0] for tile in seen[1].tiles] == ["truth", "16: 19.0 dB", "32: 20.0 dB", "64: 22.0 dB"]
    truth = finished_stores.around(1, 6)[5][12:36, 12:36]  # the last but one looks at the back
    np.testing.assert_array_equal(seen[1].tiles[0].picture, truth)
    np.testing.assert_array_equal(seen[1].tiles[3].picture, truth)
    assert np.abs(seen[1].tiles[1].picture.astype(int) - truth).max() > 50
    assert crops(full_run, "sweep-views") == []


def test_upsamplers_are_shown_beside_the_truth(full_run: Path):
    lines = upsampler_crops(full_run)
    assert [line.heading for line in lines] == [f"Person 0000{12 + n}, whom no training saw" for n in range(2)]
    assert [tile.caption[0] for tile in lines[1].tiles] == [
        "truth", "neither: 17.0 dB", "roll-out only: 19.0 dB", "3D-aware only: 18.0 dB", "both: 20.0 dB"
    ]  # fmt: skip
    shown = [finished_stores.face(13 + shard)[12:36, 12:36] for shard in (0, 3, 1, 2, 0)]
    for tile, picture in zip(lines[1].tiles, shown, strict=True):
        np.testing.assert_array_equal(tile.picture, picture)  # type: ignore[arg-type]


def test_crops_stand_under_the_plots(report_path: Path):
    heights = {}
    for name in ("3", "4"):
        with Image.open(report_path.parent / "figures" / f"figure-{name}.png") as image:
            heights[name] = image.height
    assert heights["3"] > heights["4"] + 500


def test_over_white_by_hand():
    rgba = np.array([[100, 0, 255, 51]], np.uint8)
    assert bytes_over_white(rgba).tolist() == [[224, 204, 255]]


def test_words_are_broken_not_lost():
    lines = wrapped("a person with very long wavy auburn hair and glasses", 120, most=9)
    assert " ".join(lines) == "a person with very long wavy auburn hair and glasses"
    assert wrapped("a person with very long wavy auburn hair and glasses", 120)[1].endswith("…")


def test_unknown_and_missing_figures_say_so(empty_run: Path):
    with pytest.raises(ValueError, match="no figure '99'; there are subjects"):
        figure(empty_run, "99")
    with pytest.raises(ValueError, match=r"no pictures of people in views/ yet; run stage 'render'"):
        figure(empty_run, "subjects")
    with pytest.raises(ValueError, match="stage 'sample'"):
        figure(empty_run, "5")
    with pytest.raises(ValueError, match="rodin sweep convolution"):
        figure(empty_run, "6")


def test_what_is_stale_goes(empty_run: Path):
    old = empty_run / "figures" / "figure-subjects.png"
    old.parent.mkdir()
    old.write_bytes(b"old")
    assert "figure subjects" in write_findings(empty_run).missing
    assert not old.exists()
