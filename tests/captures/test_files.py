"""COLMAP and EG3D files that are cut short, spoiled or of another kind: one clear line each, whatever byte is lost."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures import captured

from rodin.captures import colmap, eg3d, transforms
from rodin.captures.capture import Capture

DOTS, STANDS = captured.DOTS, captured.cameras(3, np.zeros(3), 4.0)


@pytest.fixture
def reconstruction(tmp_path: Path):
    def write(binary: bool) -> Path:
        captured.write_colmap(tmp_path / "ann", DOTS, STANDS, "OPENCV", binary)
        return tmp_path / "ann"

    return write


def told(read, folder: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as problem:
        read(folder)
    line = str(problem.value)
    assert "\n" not in line
    assert str(folder) in line
    return line


@pytest.mark.parametrize("binary", [False, True])
def test_points_come_along(reconstruction, binary: bool) -> None:
    (capture,) = colmap.captures(reconstruction(binary))
    np.testing.assert_allclose(capture.points, DOTS)
    assert [frame.path.name for frame in capture.frames] == ["000.png", "001.png", "002.png"]
    for name in ("points3D.txt", "points3D.bin"):
        (capture.source / name).unlink(missing_ok=True)
    (capture,) = colmap.captures(capture.folder.parent)
    assert capture.points is None


@pytest.mark.parametrize("name", ["cameras.bin", "images.bin", "points3D.bin"])
def test_a_file_cut_anywhere_is_told(reconstruction, name: str) -> None:
    folder = reconstruction(True)
    path = folder / "sparse" / "0" / name
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        assert f"{name}: cut short: {size} bytes, wanted" in told(colmap.captures, folder)
    path.write_bytes(whole + b"\0")
    assert "1 bytes too many" in told(colmap.captures, folder)
    path.write_bytes(b"\xff" * 8 + whole[8:])
    assert "cut short" in told(colmap.captures, folder)


def test_any_spoiled_byte_is_read_or_told(reconstruction) -> None:
    """Whatever a byte becomes: a capture or one clear line, never another exception."""
    folder, generators = reconstruction(True), np.random.default_rng(0)
    for name in ("cameras.bin", "images.bin", "points3D.bin"):
        path = folder / "sparse" / "0" / name
        whole = path.read_bytes()
        for _ in range(40):
            spoiled = bytearray(whole)
            spoiled[generators.integers(len(whole))] = generators.integers(256)
            path.write_bytes(bytes(spoiled))
            try:
                assert isinstance(colmap.captures(folder)[0], Capture)
            except (ValueError, FileNotFoundError) as problem:
                lines = str(problem).splitlines()
                assert len(lines) == 1
        path.write_bytes(whole)


TEXT_FAULTS = [
    ("cameras.txt", "7 OPENCV", "7 ORTHO", "cameras.txt, line 2: camera model ORTHO, wanted one of"),
    ("cameras.txt", "7 OPENCV", "7 FULL_OPENCV", "cameras.txt, line 2: FULL_OPENCV has 8 numbers, wanted 12 (fx, fy,"),
    ("cameras.txt", "\n7 OP", "\n7 PINHOLE 8 8 9 9 4 4\n7 OP", "cameras.txt, line 3: a second camera 7, wanted every"),
    ("images.txt", "7 001.png", "7 000.png", "'000.png' is the file of "),
    ("cameras.txt", "160 120", "160", "cameras.txt, line 2: got '7 OPENCV 160 "),
    ("cameras.txt", "160 120", "170 120", "picture '000.png': 'width' is 170, the picture has 160 pixels"),
    ("cameras.txt", "7 OPENCV", "8 OPENCV", "picture '000.png': camera 7, which is not among the cameras"),
    ("images.txt", "7 001.png", "x 001.png", "images.txt, line 5: got '2 "),
    ("images.txt", "7 001.png", "7 no.png", "no picture 'no.png' in "),
    ("images.txt", "7 001.png", "7 ../../x.png", "no picture '../../x.png' in "),
    ("points3D.txt", "\n3 ", "\n3 x", "points3D.txt, line 5: got '3 x"),
]


@pytest.mark.parametrize(("name", "old", "new", "words"), TEXT_FAULTS)
def test_spoiled_text_is_told(reconstruction, name: str, old: str, new: str, words: str) -> None:
    folder = reconstruction(False)
    path = folder / "sparse" / "0" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    assert words in told(colmap.captures, folder)


def test_other_colmap_faults(reconstruction) -> None:
    folder = reconstruction(False)
    images = folder / "sparse" / "0" / "images.txt"
    words = images.read_text().splitlines()[2].split()
    images.write_text(" ".join([words[0], "0.5", "0.5", *words[3:]]))
    assert "wanted a unit quaternion" in told(colmap.captures, folder)
    images.write_text("# none\n")
    assert "no picture in it" in told(colmap.captures, folder)
    images.unlink()
    assert "neither has a COLMAP model" in told(colmap.captures, folder)
    assert "no such folder" in told(colmap.captures, folder / "none")


def test_the_larger_of_two_models_and_flat_layouts(reconstruction, tmp_path: Path) -> None:
    folder = reconstruction(True)
    captured.write_colmap(tmp_path / "two", DOTS, STANDS[:2], "PINHOLE", False)
    shutil.copytree(folder / "sparse" / "0", folder / "sparse" / "1")
    shutil.rmtree(folder / "sparse" / "0")
    shutil.copytree(tmp_path / "two" / "sparse" / "0", folder / "sparse" / "0")
    (capture,) = colmap.captures(folder)
    assert (capture.source.name, len(capture.frames)) == ("1", 3)
    for name in ("cameras.bin", "images.bin"):
        shutil.copy(folder / "sparse" / "1" / name, folder / name)
    shutil.rmtree(folder / "sparse")
    assert len(colmap.captures(folder)[0].frames) == 3
    assert [one.name for one in colmap.captures(tmp_path)] == ["ann", "two"]


def label(content: dict, to: object) -> dict:
    content["labels"][1][1] = to
    return content


EG3D_FAULTS = [
    (lambda content: {}, "'labels' is NoneType, wanted a list"),
    (lambda content: {"labels": [["a.png"]]}, "label 0: got ['a.png'], wanted [file, 25 numbers]"),
    (lambda content: label(content, [1.0] * 24), "'ann/001.png': label of shape [24], wanted 25 numbers"),
    (lambda content: label(content, "x"), "label of shape [0], wanted 25 numbers"),
    (lambda content: label(content, [1.0] * 25), "pose has bottom row"),
    (lambda content: label(content, content["labels"][0][1][:17] + [0.1] * 8), "wanted [[fx, 0, cx], [0, fy, cy]"),
    (lambda content: label(content, [*content["labels"][0][1][:16], 190, 0, 80, 0, 190, 60, 0, 0, 1]), "divide pixels"),
    (lambda content: label(content, [*content["labels"][0][1][:16], -1, 0, 0.5, 0, 1, 0.5, 0, 0, 1]), "over 0"),
    (lambda content: content | {"labels": [*content["labels"], ["../x.png", [0.0]]]}, "label of shape [1]"),
    (
        lambda content: {"labels": [["00000/img00000000.png", content["labels"][0][1]]]},
        "numbered as in FFHQ, where a folder holds different people with one picture each; put each person's",
    ),
]


@pytest.mark.parametrize(("spoil", "words"), EG3D_FAULTS, ids=[str(number) for number in range(len(EG3D_FAULTS))])
def test_spoiled_labels_are_told(tmp_path: Path, spoil, words: str) -> None:
    captured.write_eg3d(tmp_path / "set", DOTS, STANDS)
    path = tmp_path / "set" / "dataset.json"
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    assert words in told(eg3d.captures, tmp_path / "set")


def test_eg3d_people_are_folders(tmp_path: Path) -> None:
    captured.write_eg3d(tmp_path / "set", DOTS, STANDS)
    shutil.copytree(tmp_path / "set" / "ann", tmp_path / "set" / "bob")
    path = tmp_path / "set" / "dataset.json"
    labels = json.loads(path.read_text())["labels"]
    more = [[name.replace("ann", "bob"), numbers] for name, numbers in labels]
    path.write_text(json.dumps({"labels": dict(more + labels)}))
    assert [(one.name, len(one.frames)) for one in eg3d.captures(tmp_path / "set")] == [("ann", 3), ("bob", 3)]
    assert "no such folder" in told(eg3d.captures, tmp_path / "no")
    assert "no such file, wanted EG3D's dataset.json" in told(eg3d.captures, tmp_path)


def test_missing_pictures_may_be_left_out(tmp_path: Path) -> None:
    captured.write_transforms(tmp_path / "ann", DOTS, STANDS, "PINHOLE", False)
    (tmp_path / "ann" / "001.png").unlink()
    line = told(transforms.captures, tmp_path / "ann")
    assert line.endswith("ann, 2 of the listed are there; bring them, or leave them out with --skip-missing")
    (capture,) = transforms.captures(tmp_path / "ann", skip_missing=True)
    assert (len(capture.frames), capture.skipped) == (2, ["001.png"])
    for path in (tmp_path / "ann").glob("*.png"):
        path.unlink()
    with pytest.raises(FileNotFoundError, match="no picture '000.png' and 2 more in .*, 0 of the listed are there$"):
        transforms.captures(tmp_path / "ann", skip_missing=True)
