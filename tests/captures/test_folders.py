"""Pictures in folders stay told apart by their folders: names, masks and the frontal one; text files of any kind."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures import captured
from PIL import Image

from rodin.captures import colmap, eg3d, transforms
from rodin.captures.alpha import Alpha
from rodin.captures.capture import Capture
from rodin.captures.importing import ImportSettings, check_captures
from rodin.captures.mask_files import check_masks, mask_of
from rodin.captures.placing import Alignment, called

STANDS = captured.cameras(4, np.zeros(3), 4.0)
NAMES = ["left/0.png", "left/1.png", "right/0.png", "right/1.png"]


@pytest.fixture
def two_cameras(tmp_path: Path) -> Path:
    """A COLMAP capture whose pictures lie in folders of their cameras, named alike there."""
    folder = tmp_path / "ann"
    captured.write_colmap(folder, captured.DOTS, STANDS, "PINHOLE", False)
    images = folder / "sparse" / "0" / "images.txt"
    for number, name in enumerate(NAMES):
        (folder / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "images" / f"{number:03d}.png").rename(folder / "images" / name)
        images.write_text(images.read_text().replace(f"{number:03d}.png", name))
    return folder


def test_colmap_names_keep_their_folders(two_cameras: Path) -> None:
    (capture,) = colmap.captures(two_cameras)
    assert [frame.name for frame in capture.frames] == NAMES
    (person,) = check_captures([capture], ImportSettings(64))
    assert sorted(capture.frames[view.frame].name for view in person.views) == NAMES


@pytest.mark.parametrize("name", ["right/1.png", "right/1", "RIGHT\\1.PNG", "images/right/1.png"])
def test_the_frontal_picture_by_its_folder(two_cameras: Path, name: str) -> None:
    (capture,) = colmap.captures(two_cameras)
    (person,) = check_captures([capture], ImportSettings(64, Alignment(front=name)))
    assert capture.frames[person.views[0].frame].name == "right/1.png"
    assert called(capture, str(two_cameras / "images" / "right" / "1.png")).name == "right/1.png"


def test_a_bare_name_of_several_is_told(two_cameras: Path) -> None:
    (capture,) = colmap.captures(two_cameras)
    for name in ("1.png", "1"):
        with pytest.raises(
            ValueError, match=f"sparse/0: '{name}' may be any of left/1.png, right/1.png; wanted one of"
        ):
            called(capture, name)
    with pytest.raises(ValueError, match=r"no picture 'middle/1.png' to be frontal; there are left/0.png, left/1.png"):
        called(capture, "middle/1.png")
    (two_cameras / "images" / "left" / "1.png").rename(two_cameras / "images" / "1.png")
    images = two_cameras / "sparse" / "0" / "images.txt"
    images.write_text(images.read_text().replace("left/1.png", "1.png"))
    (capture,) = colmap.captures(two_cameras)
    assert called(capture, "1.png").name == "1.png"  # it is listed so


def test_transforms_leave_out_the_folder_of_all(tmp_path: Path) -> None:
    captured.write_transforms(tmp_path / "ann", captured.DOTS, STANDS, "PINHOLE", False)
    path = tmp_path / "ann" / "transforms.json"
    for number, name in enumerate(NAMES):
        (tmp_path / "ann" / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "ann" / f"{number:03d}.png").rename(tmp_path / "ann" / "images" / name)
        path.write_text(path.read_text().replace(f"{number:03d}.png", f"images/{name}"))
    (capture,) = transforms.captures(tmp_path)
    assert [frame.name for frame in capture.frames] == NAMES


def blank_masks(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (captured.WIDTH, captured.HEIGHT), 255).save(folder / name)


def test_a_mask_serves_one_picture(two_cameras: Path, tmp_path: Path) -> None:
    captures, masks = colmap.captures(two_cameras), tmp_path / "masks"
    blank_masks(masks, "0.png", "1.png")
    words = (
        r"masks/0.png: would be the mask of .*left/0.png and of .*right/0.png; wanted .*masks/left/0.png and .*right/0"
    )
    with pytest.raises(ValueError, match=words):
        check_captures(captures, ImportSettings(64, alpha=Alpha(masks)))
    blank_masks(masks, *NAMES)
    check_masks(captures, masks)
    assert [mask_of(captures[0], frame, masks) for frame in captures[0].frames] == [masks / name for name in NAMES]
    (masks / "right").rename(masks / "r")
    (masks / "right").symlink_to(masks / "left")
    with pytest.raises(ValueError, match="would be the mask of"):
        check_masks(captures, masks)


def test_a_flat_mask_serves_one_person(two_cameras: Path, tmp_path: Path) -> None:
    shutil.copytree(two_cameras, tmp_path / "all" / "ann")
    shutil.copytree(two_cameras, tmp_path / "all" / "bob")
    captures = colmap.captures(tmp_path / "all")
    blank_masks(tmp_path / "masks", *NAMES)
    with pytest.raises(ValueError, match=r"wanted one each, such as .*masks/ann/left/0.png and .*masks/bob/left/0.png"):
        check_masks(captures, tmp_path / "masks")
    blank_masks(tmp_path / "masks", *(f"{person}/{name}" for person in ("ann", "bob") for name in NAMES))
    check_masks(captures, tmp_path / "masks")


@pytest.mark.parametrize(
    ("picture", "mask"),
    [
        ("images/left/0.jpg", "left/0.png"),
        ("images/left/0.jpg", "images/left/0.jpg.png"),
        ("images/left/0.jpg", "0.JPEG"),
        ("0.jpg", "ann/0.PNG"),
        ("0.jpg", "0.JPG.png"),
    ],
)
def test_where_masks_may_lie(tmp_path: Path, picture: str, mask: str) -> None:
    captured.write_transforms(tmp_path / "ann", captured.DOTS, STANDS[:1], "PINHOLE", False)
    path = tmp_path / "ann" / "transforms.json"
    path.write_text(path.read_text().replace("000.png", picture))
    (tmp_path / "ann" / picture).parent.mkdir(parents=True, exist_ok=True)
    Image.open(tmp_path / "ann" / "000.png").convert("RGB").save(tmp_path / "ann" / picture)
    blank_masks(tmp_path / "masks", mask)
    (capture,) = transforms.captures(tmp_path / "ann")
    assert mask_of(capture, capture.frames[0], tmp_path / "masks") == tmp_path / "masks" / mask
    with pytest.raises(FileNotFoundError, match="no mask for '0.jpg', wanted .*0.png"):
        mask_of(capture, capture.frames[0], tmp_path / "ann")


def test_masks_that_the_file_names(tmp_path: Path) -> None:
    captured.write_transforms(tmp_path / "ann", captured.DOTS, STANDS[:2], "PINHOLE", False)
    path = tmp_path / "ann" / "transforms.json"
    content = json.loads(path.read_text())
    blank_masks(tmp_path / "ann" / "fg_masks", "0.png", "1.png")
    for key in ("mask_path", "fg_mask_path", "mask_file_path", "mask"):
        entries = [
            entry | {"mask_path": None, key: f".\\fg_masks\\{number}.PNG"}
            for number, entry in enumerate(content["frames"])
        ]
        path.write_text(json.dumps(content | {"frames": entries}))
        (capture,) = transforms.captures(tmp_path / "ann")
        assert [frame.mask for frame in capture.frames] == [tmp_path / f"ann/fg_masks/{it}.png" for it in (0, 1)]
    content["frames"][0] |= {"mask": "fg_masks/0.png", "fg_mask_path": "fg_masks/1.png"}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="frame 0: masks under fg_mask_path and mask, wanted one; drop the other"):
        transforms.captures(tmp_path / "ann")
    content["frames"][0]["mask"] = "fg_masks/1.png"
    content["frames"][1]["mask"] = "fg_masks/1.png"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"frame 1, 'mask': 'fg_masks/1.png' is the file of .*frame 0, 'fg_mask_path'"):
        transforms.captures(tmp_path / "ann")


def lines_of(folder: Path, change) -> Path:
    """images.txt with its lines, comments aside, changed."""
    path = folder / "sparse" / "0" / "images.txt"
    lines = [line for line in path.read_text().rstrip("\n").split("\n") if not line.startswith("#")]
    path.write_text("# Image list\n" + "\n".join(change(lines)))
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[::2],
        lambda lines: [*lines[::2], "", ""],
        lambda lines: [word for line in lines[::2] for word in (line, "")],
        lambda lines: lines[:-1],
        lambda lines: [word for line in lines[::2] for word in (line, "10 20 -1 3.5 4 77")],
        lambda lines: [lines[0], "", *lines[2::2]],
        lambda lines: [lines[0], "", "", *lines[2:]],
    ],
)
def test_lines_of_points_may_be_missing_or_empty(two_cameras: Path, change) -> None:
    lines_of(two_cameras, change)
    (capture,) = colmap.captures(two_cameras)
    assert [frame.name for frame in capture.frames] == NAMES


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda lines: [*lines[:4], *lines[4::2]],
            "line 7: a picture, wanted the points of the one before, as in line 5",
        ),
        (lambda lines: [lines[0], *lines[2:]], "line 3: a picture, .* as in line 4"),
        (lambda lines: [lines[0], "1 2 -1", "3 4 -1", *lines[2:]], "line 4: got '3 4 -1', wanted IMAGE_ID"),
        (lambda lines: [lines[0], "1 2 0.5 3", *lines[2:]], "line 3: got '1 2 0.5 3', wanted IMAGE_ID"),
    ],
)
def test_a_mixture_of_lines_is_told(two_cameras: Path, change, words: str) -> None:
    path = lines_of(two_cameras, change)
    with pytest.raises(ValueError, match=f"^{path}, {words}"):
        colmap.captures(two_cameras)


def test_names_with_spaces(two_cameras: Path) -> None:
    (two_cameras / "images" / "left" / "0.png").rename(two_cameras / "images" / "left" / "0  a b.png")
    path = two_cameras / "sparse" / "0" / "images.txt"
    path.write_text(path.read_text().replace("left/0.png", "left/0  a b.png"))
    (capture,) = colmap.captures(two_cameras)
    assert capture.frames[0].name == "left/0  a b.png"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_of_any_editor(two_cameras: Path, tmp_path: Path, encoding: str) -> None:
    captured.write_transforms(tmp_path / "t" / "bob", captured.DOTS, STANDS, "PINHOLE", False)
    captured.write_eg3d(tmp_path / "e", captured.DOTS, STANDS)
    files = [*(two_cameras / "sparse" / "0").iterdir(), tmp_path / "t/bob/transforms.json", tmp_path / "e/dataset.json"]
    for path in files:
        path.write_text(path.read_text(), encoding=encoding)
    for (capture,) in (
        colmap.captures(two_cameras),
        transforms.captures(tmp_path / "t"),
        eg3d.captures(tmp_path / "e"),
    ):
        assert len(capture.frames) == 4


def eg3d_set(tmp_path: Path, spell) -> list[Capture]:
    """An EG3D set of two people with its labels as text and its names respelled."""
    source = tmp_path / "set"
    captured.write_eg3d(source, captured.DOTS, STANDS)
    shutil.copytree(source / "ann", source / "bob")
    path = source / "dataset.json"
    labels = [[name, list(map(repr, map(float, numbers)))] for name, numbers in json.loads(path.read_text())["labels"]]
    labels += [[name.replace("ann", "bob"), numbers] for name, numbers in labels]
    path.write_text(json.dumps({"labels": [[spell(name), numbers] for name, numbers in labels]}))
    return eg3d.captures(source, skip_missing=True)


@pytest.mark.parametrize(
    "spell",
    [
        lambda name: name,
        lambda name: name.replace("/", "\\"),
        lambda name: name if "000" in name else f"C:\\sets\\{name}",
        lambda name: name.upper() if "001" in name else name,
        lambda name: f"/home/other/{name}" if "002" in name else f"./{name}",
    ],
)
def test_people_of_eg3d_however_their_names_are_written(tmp_path: Path, spell) -> None:
    captures = eg3d_set(tmp_path, spell)
    assert [(one.name, [frame.name for frame in one.frames]) for one in captures] == [
        (name, ["000.png", "001.png", "002.png", "003.png"]) for name in ("ann", "bob")
    ]


def test_missing_pictures_of_eg3d_belong_to_their_person(tmp_path: Path) -> None:
    spell = {"ann/000.png": "ann/x.png", "bob/001.png": "C:\\sets\\bob\\y.png"}
    captures = eg3d_set(tmp_path, lambda name: spell.get(name, name))
    assert [(one.name, len(one.frames), one.skipped) for one in captures] == [
        ("ann", 3, ["ann/x.png"]),
        ("bob", 3, ["C:\\sets\\bob\\y.png"]),
    ]


@pytest.mark.parametrize("kind", ["transforms", "eg3d", "colmap"])
def test_a_picture_listed_twice_is_told(tmp_path: Path, kind: str) -> None:
    source = tmp_path / "ann"
    if kind == "eg3d":
        captured.write_eg3d(source, captured.DOTS, STANDS)
        path = source / "dataset.json"
    elif kind == "transforms":
        captured.write_transforms(source, captured.DOTS, STANDS, "PINHOLE", False)
        path = source / "transforms.json"
    else:
        captured.write_colmap(source, captured.DOTS, STANDS, "PINHOLE", False)
        path = source / "sparse" / "0" / "images.txt"
    path.write_text(path.read_text().replace("002.png", "001.PNG"))
    reader = {"transforms": transforms, "eg3d": eg3d, "colmap": colmap}[kind]
    with pytest.raises(
        ValueError, match=r"'.*001.PNG' is the file of .*(001.png|frame 1).* too, wanted every file once"
    ):
        reader.captures(source)


@pytest.mark.parametrize("kind", ["transforms", "eg3d", "colmap"])
def test_links_are_followed_where_allowed(tmp_path: Path, kind: str) -> None:
    source, disk = tmp_path / "ann", tmp_path / "disk"
    write = {"eg3d": captured.write_eg3d, "colmap": captured.write_colmap, "transforms": captured.write_transforms}[
        kind
    ]
    write(source, captured.DOTS, STANDS, *(() if kind == "eg3d" else ("PINHOLE", False)))
    disk.mkdir()
    for path in list(source.rglob("*.png")):
        path.rename(disk / path.name)
        path.symlink_to(disk / path.name)
    reader = {"transforms": transforms, "eg3d": eg3d, "colmap": colmap}[kind]
    with pytest.raises(ValueError, match=r"is reached through the link .*000.png to .*disk/000.png, .*--follow-links"):
        reader.captures(source)
    (capture,) = reader.captures(source, follow_links=True)
    assert [frame.name for frame in capture.frames] == ["000.png", "001.png", "002.png", "003.png"]
