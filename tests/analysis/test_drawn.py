"""Figures of what the models draw: which avatar, camera and mesh each shows; larger pictures where there are any."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_stores import HELD_OUT, SUBJECTS, around, face, large
from fixtures.pages import captions, shows

from analysis.figures import drawn
from analysis.figures.edits import edits, edits_of
from analysis.figures.failures import worst
from analysis.figures.figures import FIGURES, figure
from analysis.results.large import Pictures
from analysis.results.rows import MissingRows
from rodin.evaluation.shown import AROUND, LERP, MESH
from rodin.generate.condition import AvatarRequest
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

FIRST, NEXT = ([f"unconditional-{number:05d}" for number in numbers] for numbers in (range(4), range(4, 8)))


@pytest.fixture
def small(empty_run: Path, full_run: Path) -> Path:
    """The run without larger pictures."""
    for name in ("samples", "views", "evaluate", "results"):
        (empty_run / name).symlink_to(full_run / name)
    return empty_run


def test_the_reverse_process_runs_from_noise_to_the_sample(small: Path, full_run: Path):
    lines = drawn.reverse_process(small)
    assert captions(lines) == [["t = 900", "t = 600", "t = 300", "t = 0"]] * 2
    assert shows(lines[0], [face(number) for number in (7, 6, 5, 4)])  # seed 0 comes first
    assert shows(lines[1], [face(number) for number in (3, 2, 1, 0)])
    assert " at 4 of the " in drawn.reverse_caption(small)
    assert shows(drawn.reverse_process(full_run)[0], [face(large(f"trajectory-{n:05d}")) for n in (7, 6, 5, 4)])


def test_interpolation_goes_from_the_first_avatar_to_the_second(small: Path, full_run: Path):
    lines = drawn.interpolation(small)
    assert captions(lines) == [["0.00", "0.33", "0.67", "1.00"]] * 2
    assert shows(lines[0], [face(number) for number in (7, 6, 5, 4)])  # pair 0 comes first
    assert shows(lines[1], [face(number) for number in (3, 2, 1, 0)])
    assert [line.heading for line in drawn.interpolation(full_run)] == [
        f"pair {pair}, slerp: along the great circle" for pair in (1, 2)
    ]


def test_a_straight_line_has_the_ends_of_the_great_circle(small: Path):
    (small / "decoder").mkdir()
    for stage in ("decoder", "base", "upsample"):
        (small / stage).mkdir(exist_ok=True)
        (small / stage / "00000.json").write_text("{}")
    folder = drawn_folder(small)
    inner = ["interpolation-00006", "interpolation-00005"]
    with ShardWriter(folder, 0, "samples", [LERP + name for name in inner], {"rgba": (1, 48, 48, 4)}) as writer:
        for number, name in enumerate(inner):
            writer.add(LERP + name, {"kind": "lerp"}, rgba=around(30 + number, 1))
        writer.publish()
    circle, straight, other = drawn.interpolation(small)
    assert (straight.heading, other.heading[:6]) == ("pair 1, lerp: along the straight line", "pair 2")
    assert shows(circle, [face(number) for number in (7, 6, 5, 4)])
    assert shows(straight, [face(7), face(30), face(31), face(4)])


def drawn_folder(run: Path) -> Path:
    from rodin.evaluation.shown import part_folder

    folder = part_folder(RunFolder(run), "paths")
    assert folder is not None
    return folder


def test_figure_9_shows_each_camera_s_picture_beside_its_mesh(full_run: Path):
    lines = drawn.with_mesh(full_run)
    assert [line.heading for line in lines] == FIRST
    cameras = (0, AROUND // 8, AROUND // 4, AROUND // 2)
    for name, line in zip(FIRST, lines, strict=True):
        pictures, meshes = (around(large(one), AROUND)[list(cameras)] for one in (name, MESH + name))
        assert shows(line, [one for pair in zip(pictures, meshes, strict=True) for one in pair])


def test_figures_9_10_and_11_are_of_other_samples_or_cameras(full_run: Path):
    ten, eleven = drawn.more_samples(full_run), drawn.uncurated(full_run)
    assert [text for line in captions(ten) for text in line if text != "mesh"] == NEXT
    turned = [around(large(name), 2)[1] for name in NEXT]
    assert shows(
        ten[0], [one for place in range(3) for one in (turned[place], around(large(MESH + NEXT[place]), 2)[1])]
    )
    shown = [tile.picture for line in eleven for tile in line.tiles]
    assert len(shown) == 16
    for number, name in enumerate(FIRST + NEXT):
        np.testing.assert_array_equal(shown[2 * number], face(large(name)))  # type: ignore[arg-type]
        np.testing.assert_array_equal(shown[2 * number + 1], face(large(MESH + name)))  # type: ignore[arg-type]


def test_without_larger_pictures_samples_stand_beside_their_small_meshes(small: Path):
    (line, *_) = drawn.with_mesh(small)
    assert shows(line, [face(1), np.repeat(face(1).mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)])
    assert len(drawn.uncurated(small)[0].tiles) == 8
    first = drawn.more_samples(small)[0].tiles[0].picture
    np.testing.assert_array_equal(first, Pictures(small).front(NEXT[0]))


@pytest.mark.parametrize(("name", "words"), [("9", "From the front alone"), ("10", "From the front: ")])
def test_captions_say_where_samples_are_seen_from_the_front_alone(name: str, words: str, full_run: Path, small: Path):
    assert words in FIGURES[name].caption_of(small)
    assert "From the front" not in FIGURES[name].caption_of(full_run)
    assert ("Turned by 45" in FIGURES[name].caption_of(full_run)) == (name == "10")


def test_too_few_samples_for_figure_10_name_the_key(empty_run: Path, full_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drawn, "TURNED", 8)
    with pytest.raises(MissingRows, match="--set sample.unconditional=20"):
        drawn.more_samples(full_run)


def test_figure_13_shows_portrait_avatar_and_mesh_of_unseen_people(full_run: Path, small: Path):
    lines = drawn.inversions(full_run)
    assert len(lines) == HELD_OUT
    for person, line in enumerate(lines, SUBJECTS):
        name = f"inversion of {person:06d}"
        meshes = around(large(MESH + name), 4)[:2]
        assert shows(line, [face(person), *around(large(name), 4), *meshes])
        assert line.heading == f"person {person:06d}: {9.0 + person:.1f} dB over its views"
    with pytest.raises(MissingRows, match="`rodin figure 13 --run"):
        drawn.inversions(small)


def test_each_kind_of_failure_shows_its_worst_and_their_values(full_run: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(full_run, run, ignore=shutil.ignore_patterns("figures", "tables"))
    row = {"stage": "neighbours", "neighbours": ["000000"], "similarity": [0.5]}
    rows = [row | {"sample": f"unconditional-{n:05d}", "haze": n / 100, "similarity": [1 - n / 10]} for n in range(8)]
    (run / "results" / "evaluate-00000.jsonl").unlink()
    write_rows(RunFolder(run), "evaluate", 0, rows)
    hazy, texts, unlike, _ = worst(run)
    assert [tile.caption for tile in hazy.tiles] == [
        (f"unconditional-{n:05d}", f"haze {n}.00%") for n in (7, 6, 5, 4, 3, 2)
    ]
    assert hazy.heading == "(c) floaters: most haze of 8 samples; the median has 3.50%"
    assert [tile.caption[-1] for tile in texts.tiles] == [f"CLIP {n / 10:.2f}" for n in range(6)]
    assert unlike.tiles[0].caption == ("sample", "unconditional-00007")


def test_the_caption_of_figure_8_says_where_the_pictures_hide_haze(full_run: Path, tmp_path: Path):
    assert "main_body = true" in (full_run / "run.toml").read_text()
    assert "the pictures hide it, as sample.main_body = true" in FIGURES["8"].caption_of(full_run)
    (tmp_path / "run.toml").write_text("[sample]\nmain_body = false\n")
    assert "main_body" not in FIGURES["8"].caption_of(tmp_path)


def test_people_out_of_the_bulk_and_in_patterns_are_the_worst_rebuilt(tmp_path: Path):
    run = RunFolder(tmp_path)
    ids = [f"{number:06d}" for number in range(30)]
    (tmp_path / "run.toml").write_text("[data]\nsubjects = 20\n")
    with ShardWriter(run.stage("render"), 0, "views", ids, {
        "rgba": (1, 48, 48, 4), "camera_to_world": (1, 4, 4), "intrinsics": (1, 4)
    }) as writer:  # fmt: skip
        for number, one in enumerate(ids):
            age = number / 20 if number < 20 else (number - 20) / 9  # held-out people 20 and 29 are at the ends
            meta = {"attributes": {"age": age, "pattern": "striped" if number in (23, 24, 25, 26) else "plain"}}
            cameras = {"camera_to_world": np.eye(4)[None], "intrinsics": np.ones((1, 4))}
            writer.add(one, meta, rgba=around(number, 1), **cameras)
        writer.publish()
    with ShardWriter(run.stage("evaluate"), 0, "samples", ids[20:], {"rgba": (1, 48, 48, 4)}) as writer:
        for number, one in enumerate(ids[20:], 20):
            row = {"stage": "evaluate", "subject": one, "method": "rodin", "psnr": 40.0 - number}
            writer.add(one, {"views": [0], "rows": [row]}, rgba=around(number, 1))
        writer.publish()
    old, striped = worst(tmp_path)
    assert [tile.caption[0] for tile in old.tiles[::2]] == ["000029", "000028", "000020"]  # the worst first
    assert [tile.caption[1] for tile in old.tiles[::2]] == [
        "older than 100.0%",
        "older than 90.0%",
        "younger than 100.0%",
    ]
    assert [tile.caption[1] for tile in old.tiles[1::2]] == ["11.0 dB", "12.0 dB", "20.0 dB"]
    assert "3 people, 14.3 dB, −1.67 dB [−" in old.heading
    assert [tile.caption[0] for tile in striped.tiles[::2]] == ["000026", "000025", "000024"]
    assert " [" in striped.heading
    assert shows(striped, [picture for number in (26, 25, 24) for picture in (face(number), face(number))])


def test_an_edit_shows_the_avatar_before_and_after(full_run: Path, empty_run: Path):
    (line,) = edits(full_run)
    assert shows(line, [*around(1, 2), *around(2, 2)])
    assert line.heading == "“a person with blue hair”, of “a man”, seed 5"
    with pytest.raises(MissingRows, match="`rodin edit --run"):
        edits(empty_run)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (AvatarRequest(0, subject="000003"), "person 000003"),
        (AvatarRequest(3, saved=Path("me")), "avatar me"),
        (AvatarRequest(5, text="a man"), "“a man”, seed 5"),
        (AvatarRequest(5), "seed 5"),
    ],
)
def test_an_edit_says_what_it_was_made_of(request_: AvatarRequest, words: str, full_run: Path, empty_run: Path):
    shutil.copytree(full_run / "made", empty_run / "made")
    ((folder, metadata),) = edits_of(empty_run)
    kept = {key: value for key, value in metadata.items() if key not in ("prompt", "seed")}
    (folder / "metadata.json").write_text(json.dumps(kept | request_.metadata()))
    (line,) = edits(empty_run)
    assert line.heading == f"“a person with blue hair”, of {words}"


def test_the_paper_s_figures_stand_in_its_order():
    numbers = [int(name) for name in FIGURES if name.isdigit()]
    assert numbers == list(range(3, 14))


@pytest.mark.parametrize("name", ["9", "3", "guidance"])
def test_each_figure_is_a_pdf_of_vectors_and_pictures_too(report_path: Path, name: str, tmp_path: Path):
    data = (report_path.parent / "figures" / f"figure-{name}.pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/Subject (generated by rodin-suite)" in data
    assert (b"/Subtype /Image" in data) == (name != "guidance")
    assert b"/Font" in data
    again = figure(report_path.parent, name, tmp_path / "again.png")
    assert again.with_suffix(".pdf").read_bytes() == data
