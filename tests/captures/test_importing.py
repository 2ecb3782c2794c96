"""Importing captures: cameras mean the same on both sides, pictures shrink by area, every fault is one clear line."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rodin.captures.alpha import Alpha
from rodin.captures.capture import Capture, Frame
from rodin.captures.importing import ImportSettings, check_captures, plan_import, view_order, write_views
from rodin.captures.lens import Lens
from rodin.captures.placing import Alignment, placing_of
from rodin.captures.transforms import captures
from rodin.config import Config
from rodin.config.data import Data
from rodin.config.fitting import Fit
from rodin.field.cameras import project
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards

POINT = np.array([0.3, -0.2, 0.4])
WIDTH, HEIGHT, VIEWS = 48, 40, 6


def opengl_pose(azimuth: float, elevation: float = 0.1, radius: float = 4.0) -> np.ndarray:
    """A camera as NeRF has it: looks along its own -z at the origin, its y up."""
    backward = np.array(
        [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
    )
    right = np.cross([0.0, 1.0, 0.0], backward)
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(backward, right), backward, radius * backward], axis=1)
    return pose


def opengl_pixel(
    point: np.ndarray, pose: np.ndarray, fx: float, fy: float, cx: float, cy: float
) -> tuple[float, float]:
    """Where NeRF's own convention puts a point: y up and depth along -z in the camera."""
    x, y, z = pose[:3, :3].T @ (point - pose[:3, 3])
    return cx + fx * x / -z, cy - fy * y / -z


def capture(folder: Path, views: int = VIEWS, size: tuple[int, int] = (WIDTH, HEIGHT), **settings) -> dict:
    """Write one person's folder: transparent pictures with one opaque pixel where POINT falls."""
    (folder / "images").mkdir(parents=True)
    content = {"fl_x": 70.0, "fl_y": 66.0, "cx": 25.0, "cy": 19.0, "frames": []} | settings
    for view in range(views):
        pose = opengl_pose(2 * math.pi * view / views)
        x, y = opengl_pixel(POINT, pose, 70.0, 66.0, 25.0, 19.0)
        rgba = np.zeros((size[1], size[0], 4), np.uint8)
        rgba[int(y), int(x)] = (200, 100, 50, 255)
        Image.fromarray(rgba).save(folder / "images" / f"{view:03d}.png")
        content["frames"].append({"file_path": f"./images/{view:03d}.png", "transform_matrix": pose.tolist()})
    save(folder, content)
    return content


def import_transforms(source: Path, run: RunFolder, *, shard_subjects: int = 64, **wish) -> dict:
    return write_views(check_captures(captures(source), ImportSettings(**wish)), shard_subjects, run)


def save(folder: Path, content: object) -> None:
    (folder / "transforms.json").write_text(json.dumps(content))


def test_a_point_falls_where_it_did(tmp_path: Path) -> None:
    content = capture(tmp_path / "ann")
    made = import_transforms(tmp_path / "ann", RunFolder(tmp_path / "run"), resolution=24)
    assert made == {"subjects": 1, "views": VIEWS, "shards": 1, "skipped": 0, "empty": 0, "notes": []}
    shards = Shards(tmp_path / "run" / "views", "views")
    cameras, intrinsics = shards.read("ann", "camera_to_world"), shards.read("ann", "intrinsics")
    rgba, names = shards.read("ann", "rgba"), shards.meta("ann")["frames"]
    assert sorted(names) == [f"{view:03d}.png" for view in range(VIEWS)]
    for view, name in enumerate(names):
        pose = np.array(content["frames"][int(name[:3])]["transform_matrix"])
        x, y = opengl_pixel(POINT, pose, 70.0, 66.0, 25.0, 19.0)
        pixels, depth = project(POINT[None], cameras[view], intrinsics[view])
        np.testing.assert_allclose(pixels[0], (x / 2, (y + 4) / 2), atol=1e-4)
        assert depth[0] == pytest.approx(-(pose[:3, :3].T @ (POINT - pose[:3, 3]))[2], abs=1e-5)
        seen = np.argwhere(rgba[view, ..., 3])
        assert seen.tolist() == [[int(pixels[0, 1]), int(pixels[0, 0])]]
        assert rgba[view][tuple(seen[0])].tolist() == [200, 100, 50, 64]


def test_a_moved_and_scaled_world(tmp_path: Path) -> None:
    content = capture(tmp_path / "ann", views=1)
    world = Alignment(centre=(0.1, 0.2, -0.3), scale=1.5)
    import_transforms(tmp_path / "ann", RunFolder(tmp_path / "run"), resolution=48, alignment=world)
    shards = Shards(tmp_path / "run" / "views", "views")
    moved = 1.5 * (POINT - np.array(world.centre))
    pixels, _ = project(moved[None], shards.read("ann", "camera_to_world", 0), shards.read("ann", "intrinsics", 0))
    pose = np.array(content["frames"][0]["transform_matrix"])
    x, y = opengl_pixel(POINT, pose, 70.0, 66.0, 25.0, 19.0)
    np.testing.assert_allclose(pixels[0], (x, y + 4), atol=1e-3)


def test_a_world_with_z_up_is_turned_upright() -> None:
    before = np.eye(4)
    before[:3, 3] = (1.0, -4.0, 2.0)
    frame = Frame(Path("a.png"), before, Lens(8, 8, 9.0, 9.0, 4.0, 4.0))
    after = placing_of(Alignment(up="z"), Capture(Path(), Path(), [frame])).pose(before)
    assert after[:3, 3].tolist() == [1.0, 2.0, 4.0]
    assert np.linalg.det(after[:3, :3]) == pytest.approx(1.0)


def test_angles_and_each_frames_own_numbers(tmp_path: Path) -> None:
    content = capture(tmp_path / "ann")
    for name in ("fl_x", "fl_y", "cx", "cy"):
        del content[name]
    content["camera_angle_x"] = 2 * math.atan(0.5)
    content["frames"][0] |= {"fl_x": 90.0, "fl_y": 80.0, "cx": 20.0, "w": WIDTH, "h": HEIGHT}
    save(tmp_path / "ann", content)
    import_transforms(tmp_path / "ann", RunFolder(tmp_path / "run"), resolution=WIDTH)
    intrinsics = Shards(tmp_path / "run" / "views", "views").read("ann", "intrinsics")
    np.testing.assert_allclose(intrinsics[0], [90, 80, 20, 24])
    np.testing.assert_allclose(intrinsics[1], [48, 48, 24, 24])


def test_views_are_put_in_order() -> None:
    positions = np.stack([opengl_pose(2 * math.pi * (view + 7) / 40, 0.0)[:3, 3] for view in range(40)])
    order = view_order(positions, 5)
    assert sorted(order) == list(range(40))
    assert order[0] == 33
    assert sorted(order[:5]) == [31, 32, 33, 34, 35]
    assert order[5] == 13
    last = np.sort(np.arctan2(positions[order[-8:], 0], positions[order[-8:], 2]))
    gaps = np.diff(np.append(last, last[0] + 2 * math.pi))
    assert gaps.max() < math.radians(100)


def test_many_people_by_folder_name_and_taken_up_again(tmp_path: Path) -> None:
    for name in ("Zoë B.", "ann", "carl"):
        capture(tmp_path / "subjects" / name, captions=[f"this is {name}"], views=7 if name == "ann" else 6)
    (tmp_path / "subjects" / ".cache").mkdir()
    run = RunFolder(tmp_path / "run")
    made = import_transforms(tmp_path / "subjects", run, resolution=20, shard_subjects=2)
    assert made == {"subjects": 3, "views": 6, "shards": 2, "skipped": 0, "empty": 0, "notes": []}
    shards = Shards(run.stage("import"), "views")
    assert shards.subjects == ["Zo-B", "ann", "carl"]
    assert shards.meta("Zo-B")["name"] == "Zoë B."
    assert shards.meta("carl")["caption"] == "this is carl"
    assert shards.verify() == []
    before = run.shard("import", 1).stat().st_ino
    run.manifest("import", 0).unlink()
    assert import_transforms(tmp_path / "subjects", run, resolution=20, shard_subjects=2) == made
    assert run.shard("import", 1).stat().st_ino == before
    assert run.manifest("import", 0).exists()


def test_the_plan_of_a_run(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        capture(tmp_path / "subjects" / name)
    data = Data(source="import", subjects=2, held_out=1, views=6, reference_views=2, resolution=32, shard_subjects=2)
    config = Config(preset="tiny", data=data, fit=Fit(held_out_views=1))
    people = plan_import("transforms", tmp_path / "subjects", config, Alignment(), Alpha())
    assert not (tmp_path / "run").exists()
    assert config.shards("import") == config.shards("render") == 2
    assert config.subjects_of("import", 1) == ["000002"]
    said = []
    assert write_views(people, 2, RunFolder(tmp_path / "run"), lambda *words: said.append(words))["shards"] == 2
    assert said == [(0, 3, "000000"), (1, 3, "000001"), (2, 3, "000002")]
    shards = Shards(tmp_path / "run" / "views", "views")
    assert shards.subjects == config.all_subjects()
    assert shards.meta("000002")["name"] == "c"
    more = config.model_copy(update={"data": data.model_copy(update={"subjects": 3})})
    with pytest.raises(ValueError, match=r"has 3 people, the run wants data.subjects 3 \+ data.held_out 1 = 4"):
        plan_import("transforms", tmp_path / "subjects", more, Alignment(), Alpha())


def change(content: dict, *path, to) -> dict:
    """The content with one value changed."""
    target = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = to
    return content


def matrix(**changes: float) -> list[list[float]]:
    pose = opengl_pose(0.0)
    for place, value in changes.items():
        pose[int(place[1]), int(place[2])] = value
    return pose.tolist()


FAULTS = [
    (lambda content: [1, 2], "transforms.json: got a list, wanted an object"),
    (lambda content: content | {"frames": []}, "transforms.json: 'frames' is empty"),
    (lambda content: change(content, "frames", 2, to="x"), "frame 2: got str, wanted an object"),
    (lambda content: change(content, "frames", 2, "file_path", to=7), "frame 2: the picture's file is 7"),
    (
        lambda content: change(content, "frames", 2, "file_path", to="images/no"),
        "no picture 'images/no' in .*, 5 of the listed are there; bring them, or leave",
    ),
    (lambda content: change(content, "frames", 2, "file_path", to="../out.png"), "'../out.png' lies outside"),
    (
        lambda content: change(content, "frames", 2, "file_path", to="rgb.png"),
        "rgb.png: no transparency, so nothing tells the person",
    ),
    (lambda content: change(content, "frames", 2, "file_path", to="torn.png"), "torn.png: not a picture that can be"),
    (lambda content: change(content, "frames", 2, "file_path", to="text.png"), "text.png: not a picture that can be"),
    (
        lambda content: change(content, "frames", 2, "file_path", to="small.png"),
        "small.png: pictures of 30 x 30, wanted 32; set data.resolution lower",
    ),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=matrix()[:3]), "frame 1: .*shape [3, 4]"),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=[[1, 2], [3]]), "frame 1: .*shape [0]"),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=None), "frame 1: .*shape []"),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m01=float("nan"))), "holds NaN"),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m30=0.5)), "bottom row [0.5, 0.0, 0.0"),
    (
        lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m00=1.1)),
        "not a rotation and a translation",
    ),
    (
        lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m00=-1.0)),
        "not a rotation and a translation",
    ),
    (lambda content: content | {"k4": 0.01}, "frame 0: a perspective lens with k4 = 0.01, wanted 0; undistort"),
    (lambda content: content | {"k2": "x"}, "frame 0: 'k2' is 'x', wanted a number"),
    (lambda content: content | {"k1": -3.0}, "000.png': its distortion (k1 -3) folds the image over itself; check"),
    (
        lambda content: content | {"camera_model": "OPENCV_FISHEYE", "p1": 0.1},
        "a fisheye lens with p1 = 0.1, wanted 0",
    ),
    (lambda content: content | {"camera_model": "EQUIRECTANGULAR"}, "camera_model 'EQUIRECTANGULAR', wanted one of"),
    (lambda content: change(content, "frames", 3, "mask_path", to="no.png"), "frame 3: no mask 'no.png' in"),
    (
        lambda content: change(content, "frames", 3, "mask_path", to="small.png"),
        "no mask for '000.png', as others have",
    ),
    (lambda content: {"frames": content["frames"]}, "frame 0: no 'camera_angle_x' and no 'fl_x'"),
    (lambda content: {"frames": content["frames"], "camera_angle_x": 4.0}, "'camera_angle_x' is 4.0, wanted radians"),
    (lambda content: content | {"fl_x": -3}, "'fl_x' is -3.0, wanted pixels over 0"),
    (lambda content: content | {"cx": "middle"}, "'cx' is 'middle', wanted a number"),
    (lambda content: content | {"w": 96}, "'w' is 96.0, the picture has 48 pixels"),
    (lambda content: content | {"captions": "short"}, "'captions' is 'short', wanted a list of texts"),
    (
        lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m23=0.5)),
        "001.png: .* inside the box",
    ),
    (lambda content: change(content, "frames", 1, "transform_matrix", to=matrix(m23=-5.0)), "001.png: .* looks away"),
]


@pytest.mark.parametrize(("spoil", "message"), FAULTS, ids=[str(number) for number in range(len(FAULTS))])
def test_every_fault_is_one_clear_line(tmp_path: Path, spoil, message: str) -> None:
    capture(tmp_path / "subjects" / "a")
    folder = tmp_path / "subjects" / "b"
    content = capture(folder)
    whole = (folder / "images" / "000.png").read_bytes()
    Image.new("RGBA", (30, 30)).save(folder / "small.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(folder / "rgb.png")
    (folder / "torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "text.png").write_text("not a picture")
    (tmp_path / "subjects" / "out.png").write_bytes(whole)
    save(folder, spoil(content))
    pattern = ".*".join(map(re_escape, message.split(".*")))
    with pytest.raises((ValueError, FileNotFoundError), match=pattern) as problem:
        import_transforms(tmp_path / "subjects", RunFolder(tmp_path / "run"), resolution=32)
    assert "\n" not in str(problem.value)
    assert str(folder) in str(problem.value)
    assert not (tmp_path / "run").exists()


def re_escape(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "[]().*+?" else letter for letter in text)


def test_wrong_sources_are_told(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="none: no such folder"):
        import_transforms(tmp_path / "none", run, resolution=16)
    (tmp_path / "empty" / "person").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match="neither has transforms.json nor holds folders that do"):
        import_transforms(tmp_path / "empty", run, resolution=16)
    capture(tmp_path / "subjects" / "a b")
    (tmp_path / "subjects" / "split").mkdir()
    (tmp_path / "subjects" / "split" / "transforms_train.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match=r"split.transforms.json: no such file.*join its transforms_train.json"):
        import_transforms(tmp_path / "subjects", run, resolution=16)
    (tmp_path / "subjects" / "split").rename(tmp_path / "split")
    capture(tmp_path / "subjects" / "a-b")
    with pytest.raises(ValueError, match="2 folders for 1 different ids"):
        import_transforms(tmp_path / "subjects", run, resolution=16)
    with pytest.raises(ValueError, match="pictures of 48 x 40, wanted 64; set data.resolution lower"):
        import_transforms(tmp_path / "subjects" / "a-b", run, resolution=64)
    with pytest.raises(ValueError, match="6 pictures, wanted 9; set data.views lower"):
        import_transforms(tmp_path / "subjects" / "a-b", run, resolution=16, views=9)
    (tmp_path / "subjects" / "a-b" / "transforms.json").write_text("{")
    with pytest.raises(ValueError, match="a-b.transforms.json: not readable as JSON"):
        import_transforms(tmp_path / "subjects" / "a-b", run, resolution=16)
    assert not run.path.exists()
