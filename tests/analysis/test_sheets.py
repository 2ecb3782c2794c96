"""Figures made of pictures: which sample, subject and camera each shows, in which order, under which words."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_graph import write_views
from fixtures.finished_stores import SUBJECTS, VIEWS, WANTED, around, face, large
from fixtures.pages import captions, shows

from analysis.figures import sheets
from analysis.figures.contact_sheet import NO, YES, Line, Tile, contact_sheet
from analysis.figures.crops import most_frontal
from analysis.figures.presence import asked_and_not
from analysis.figures.sheets import spaced, swatch
from analysis.results.renders import training_subjects
from jobs.run.record import write_config
from rodin.avatars.person import HAIR_COLOURS
from rodin.presets import preset
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder


def test_the_subjects_are_those_of_training_and_two_are_turned(full_run: Path):
    *front, first, second = sheets.subjects(full_run)
    shown = [f"{number:06d}" for number in range(SUBJECTS)]
    assert captions(front) == [shown[:8], shown[8:]]
    assert shows(front[0], [face(number) for number in range(8)])
    assert shows(first, around(0, VIEWS))
    assert shows(second, around(1, VIEWS))
    assert [first.heading, second.heading] == ["000000: a person with red hair", "000001: a person with black hair"]


def test_a_person_who_is_missing_makes_no_held_out_one_a_training_person(tmp_path: Path):
    run = RunFolder(tmp_path)
    write_config(run, preset("tiny", ["data.subjects=4", "data.held_out=2", "data.allow_missing=0.3"]))
    write_views(run.stage("render"), 0, ["000000", "000001", "000003", "000004", "000005"])
    assert training_subjects(tmp_path) == ["000000", "000001", "000003"]


def test_nearest_shows_each_sample_beside_its_nearest_subjects(full_run: Path):
    lines = sheets.nearest(full_run)
    assert [line.tiles[0].caption for line in lines] == [("sample", f"unconditional-{n:05d}") for n in range(6)]
    for number, line in enumerate(lines):
        near = [(number + step) % SUBJECTS for step in (1, 3, 4)]
        sample = face(large(f"unconditional-{number:05d}"))
        assert shows(line, [sample, *(face(subject) for subject in near)])
        assert [tile.caption[1] for tile in line.tiles[1:]] == [f"{subject:06d}" for subject in near]
        texts = [f"similarity {0.9 - number / 100:.3f}", "similarity 0.800", "similarity 0.700"]
        assert [tile.caption[0] for tile in line.tiles[1:]] == texts


def test_a_sample_that_is_gone_leaves_its_place_empty(empty_run: Path, full_run: Path):
    for name in ("samples", "views"):
        (empty_run / name).symlink_to(full_run / name)
    row = {"stage": "neighbours", "sample": "unconditional-09999", "neighbours": ["000003"], "similarity": [0.5]}
    write_rows(RunFolder(empty_run), "evaluate", 0, [row])
    gone, known = sheets.nearest(empty_run)[0].tiles
    assert gone.picture is None
    np.testing.assert_array_equal(known.picture, face(3))  # type: ignore[arg-type]


def test_prompts_show_what_was_asked_and_what_was_measured(full_run: Path):
    tiles = [tile for line in sheets.prompts(full_run) for tile in line.tiles]
    assert len(tiles) == len(WANTED)
    for number, (tile, wanted) in enumerate(zip(tiles, WANTED, strict=True)):
        attribute, hit = ("shirt" if number >= 6 else "hair"), number not in (2, 5, 7)
        np.testing.assert_array_equal(tile.picture, face(large(f"prompt-{number:05d}")))  # type: ignore[arg-type]
        assert " ".join(text for text in tile.caption[:-1] if text) == f"a person with {wanted} {attribute}"
        assert (tile.caption[-1], tile.colour) == (("✓ hit", YES) if hit else ("✗ miss", NO))
        assert tile.swatches[0] == (swatch(attribute, wanted), f"{attribute} wanted {wanted}")
        measured = tile.swatches[1][1].removeprefix("measured ")
        assert (measured == wanted) == hit
        assert tile.swatches[1][0] == swatch(attribute, measured)
    assert len({len(tile.caption) for tile in tiles}) == 1  # verdicts stand at one height


def test_one_miss_among_two_colours_is_a_miss(empty_run: Path, full_run: Path):
    (empty_run / "samples").symlink_to(full_run / "samples")
    row = {"stage": "prompts", "prompt": "a person", "sample": "prompt-00003"}
    colours = [("hair", "red", "red", True), ("shirt", "blue", "green", False)]
    keys = ("attribute", "wanted", "measured", "hit")
    write_rows(RunFolder(empty_run), "evaluate", 0, [row | dict(zip(keys, one, strict=True)) for one in colours])
    ((tile,),) = (line.tiles for line in sheets.prompts(empty_run))
    assert (tile.caption[-1], tile.colour, len(tile.swatches)) == ("✗ miss", NO, 4)


def test_avatars_asked_for_an_attribute_stand_above_their_controls(full_run: Path):
    asked, controls = asked_and_not(full_run)
    shown = [face(large(f"prompt-{number:05d}")) for number in range(4)]
    assert shows(asked, shown[::2])  # the measure of glasses is not counted: they are not shown
    assert shows(controls, shown[1::2])
    assert [tile.caption[-1] for tile in asked.tiles] == ["beard: yes", "hat: no"]
    assert [tile.colour for tile in (*asked.tiles, *controls.tiles)] == [YES, NO, NO, YES]


def test_reconstructions_stand_under_the_truth_of_the_same_cameras(full_run: Path):
    lines = sheets.reconstruction(full_run)
    assert len(lines) == 6
    for number, (truth, ours) in enumerate(zip(lines[::2], lines[1::2], strict=True), SUBJECTS):
        assert shows(truth, around(number, VIEWS)[[0, 2, 4]])
        assert shows(ours, around(number + 1, 3))
        assert truth.heading == f"person {number:06d}: {number + 9:.1f} dB"
        assert ours.heading == ""
    assert captions(lines[:2]) == [["given", "", ""], ["made of it", "", ""]]


def test_spread_evenly():
    assert spaced(range(100), 4) == [0, 25, 50, 75]
    assert spaced("ab", 4) == ["a", "b"]


def test_swatches():
    assert swatch("hair", "nonsense") == "#ffffff"
    assert swatch("hair", "red") == "#{:02x}{:02x}{:02x}".format(*HAIR_COLOURS["red"])
    assert swatch("hair", "red") != swatch("shirt", "red")
    assert swatch("shirt", "teal") == "#008080"
    assert len({swatch("hair", word) for word in ("red", "brown", "blond", "black", "grey")}) == 5


@pytest.mark.parametrize("place", [0, 1])
def test_captions_and_swatches_are_drawn_under_their_picture(place: int):
    blank = np.full((8, 8, 3), 255, np.uint8)
    empty = np.asarray(contact_sheet([Line([Tile(blank, ("", ""), swatches=[("#ffffff", "")])] * 2, side=80)]))
    tiles = [Tile(blank, ("", ""), swatches=[("#ffffff", "")])] * 2
    tiles[place] = Tile(blank, ("first", "last"), "#ff0000", [("#00ff00", "green")])
    drawn = np.asarray(contact_sheet([Line(tiles, side=80)]))
    changed = np.argwhere((drawn != empty).any(axis=-1))
    left = 24 + place * (80 + 12)
    assert changed[:, 0].min() >= 24 + 80
    assert left <= changed[:, 1].min() <= changed[:, 1].max() < left + 80
    red, green = ((drawn == colour).all(axis=-1) for colour in ([255, 0, 0], [0, 255, 0]))
    assert np.argwhere(red)[:, 0].min() >= 24 + 80 + 6 + 17  # the last line of the caption, not the first
    assert np.argwhere(red)[:, 0].max() < np.argwhere(green)[:, 0].min()


def test_crops_are_of_the_view_nearest_in_angle_to_the_front():
    cameras = np.tile(np.eye(4), (4, 1, 1))
    cameras[:, :3, 3] = [[0, 0, 4], [0, 0, 4], [9, 0, 9], [0, 0, 1]]  # the second is fitted, the third far away
    assert most_frontal(cameras, 2) == 1
