"""Dots at known places in space, photographed by each format's own convention, and the files those formats write.

Nothing here comes from the importer: each convention is written out from its own documentation. A camera is given as a
world_to_camera rotation [3, 3] with rows right, down, forward, and the place it stands at.
"""

import json
import math
import struct
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

DOTS = np.array([[0.0, 0.0, 0.0], [0.5, 0.1, 0.2], [-0.45, 0.3, -0.1], [0.1, -0.5, 0.35], [-0.2, 0.55, 0.4]])
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]], np.uint8)
WIDTH, HEIGHT = 160, 120
LENS = {"fx": 190.0, "fy": 184.0, "cx": 83.0, "cy": 57.5}
BENDS = {
    "SIMPLE_PINHOLE": {},
    "PINHOLE": {},
    "SIMPLE_RADIAL": {"k1": -0.21},
    "RADIAL": {"k1": 0.18, "k2": -0.3},
    "OPENCV": {"k1": -0.25, "k2": 0.12, "p1": 0.012, "p2": -0.009},
    "OPENCV_FISHEYE": {"k1": 0.06, "k2": -0.03, "k3": 0.01, "k4": -0.002},
}
ONE_FOCAL = ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL")
COLMAP_NUMBERS = {"SIMPLE_PINHOLE": 0, "PINHOLE": 1, "SIMPLE_RADIAL": 2, "RADIAL": 3, "OPENCV": 4, "OPENCV_FISHEYE": 5}


def cameras(count: int, middle: np.ndarray, distance: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rotation, place) of cameras around a middle, rolled a little, some from below, y up."""
    found = []
    for number in range(count):
        azimuth, elevation, roll = 2 * math.pi * number / count + 0.3, 0.35 * math.sin(2.4 * number), 0.1 * (number % 3)
        towards = np.array(
            [math.sin(azimuth) * math.cos(elevation), math.sin(elevation), math.cos(azimuth) * math.cos(elevation)]
        )
        forward = -towards
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        rows = np.stack([right, np.cross(forward, right), forward])
        found.append((Rotation.from_euler("z", roll).as_matrix() @ rows, middle + distance * towards))
    return found


def bent(x: float, y: float, bends: dict[str, float], fisheye: bool) -> tuple[float, float]:
    """OpenCV's two models, number by number."""
    k1, k2, k3, k4, p1, p2 = (bends.get(name, 0.0) for name in ("k1", "k2", "k3", "k4", "p1", "p2"))
    r = math.hypot(x, y)
    if fisheye:
        a = math.atan(r)
        grown = a + k1 * a**3 + k2 * a**5 + k3 * a**7 + k4 * a**9
        return (x * grown / r, y * grown / r) if r else (0.0, 0.0)
    radial = 1 + k1 * r**2 + k2 * r**4 + k3 * r**6
    return (
        x * radial + 2 * p1 * x * y + p2 * (r**2 + 2 * x**2),
        y * radial + p1 * (r**2 + 2 * y**2) + 2 * p2 * x * y,
    )


def lens_of(model: str) -> dict[str, float]:
    """fx, fy, cx, cy of a model's camera."""
    return LENS | ({"fy": LENS["fx"]} if model in ONE_FOCAL else {})


def picture(pixels: np.ndarray) -> Image.Image:
    """Round dots with soft edges at pixels [M, 2]; the centre of the first pixel is (0.5, 0.5)."""
    columns, rows = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    for (x, y), colour in zip(pixels, COLOURS, strict=True):
        alpha = 255 * np.clip(3.5 - np.hypot(columns - x, rows - y), 0, 1)
        over = alpha > rgba[..., 3]
        rgba[over] = np.concatenate([np.broadcast_to(colour, (over.sum(), 3)), alpha[over, None]], axis=1)
    return Image.fromarray(rgba)


def centroids(rgba: np.ndarray) -> np.ndarray:
    """Where the dots are in a picture [H, W, 4]: [M, 2] pixels, NaN where a dot is not seen."""
    columns, rows = np.meshgrid(np.arange(rgba.shape[1]) + 0.5, np.arange(rgba.shape[0]) + 0.5)
    found = []
    for colour in COLOURS:
        alike = np.abs(rgba[..., :3].astype(int) - colour).max(axis=-1) < 100
        weight = rgba[..., 3] * alike
        total = weight.sum() or math.nan
        found.append(((weight * columns).sum() / total, (weight * rows).sum() / total))
    return np.array(found)


def write_transforms(folder: Path, dots: np.ndarray, stands: list, model: str, each: bool) -> None:
    """nerfstudio: camera_to_world with x right, y up, z backward; `each`: a frame's own numbers, others above them."""
    folder.mkdir(parents=True)
    numbers = {"camera_model": model, "w": WIDTH, "h": HEIGHT}
    lens, bends = lens_of(model), BENDS[model]
    numbers |= {"fl_x": lens["fx"], "fl_y": lens["fy"], "cx": lens["cx"], "cy": lens["cy"], **bends}
    wrong = {name: 0.9 for name in numbers if name not in ("camera_model", "w", "h")}
    content: dict = {"frames": [], **(numbers | wrong if each else numbers)}
    for number, (rows, place) in enumerate(stands):
        right, up, backward = rows[0], -rows[1], -rows[2]
        matrix = np.eye(4)
        matrix[:3] = np.stack([right, up, backward, place], axis=1)
        pixels = []
        for dot in dots:
            x, y, z = np.linalg.solve(matrix, [*dot, 1.0])[:3]
            u, v = bent(x / -z, -y / -z, bends, model == "OPENCV_FISHEYE")
            pixels.append((lens["fx"] * u + lens["cx"], lens["fy"] * v + lens["cy"]))
        picture(np.array(pixels)).save(folder / f"{number:03d}.png")
        frame = {"file_path": f"{number:03d}.png", "transform_matrix": matrix.tolist()}
        content["frames"].append(frame | (numbers if each else {}))
    (folder / "transforms.json").write_text(json.dumps(content))


def write_eg3d(folder: Path, dots: np.ndarray, stands: list) -> None:
    """EG3D: rays start at camera_to_world's place and go to matrix @ ((u - cx) / fx, (v - cy) / fy, 1)."""
    (folder / "ann").mkdir(parents=True)
    lens = LENS
    intrinsics = [lens["fx"] / WIDTH, 0, lens["cx"] / WIDTH, 0, lens["fy"] / HEIGHT, lens["cy"] / HEIGHT, 0, 0, 1]
    labels = []
    for number, (rows, place) in enumerate(stands):
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = np.linalg.inv(rows), place
        pixels = []
        for dot in dots:
            x, y, z = (np.linalg.inv(matrix) @ [*dot, 1.0])[:3]
            u, v = intrinsics[0] * x / z + intrinsics[2], intrinsics[4] * y / z + intrinsics[5]
            pixels.append((u * WIDTH, v * HEIGHT))
        picture(np.array(pixels)).save(folder / "ann" / f"{number:03d}.png")
        labels.append([f"ann/{number:03d}.png", [*matrix.flatten().tolist(), *intrinsics]])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))


def write_colmap(folder: Path, dots: np.ndarray, stands: list, model: str, binary: bool) -> None:
    """COLMAP: x = R X + t, a quaternion (w, x, y, z), the camera's numbers in the model's order."""
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    (folder / "images").mkdir()
    lens, bends = lens_of(model), BENDS[model]
    numbers = [lens["fx"], lens["cx"], lens["cy"]] if model in ONE_FOCAL else list(lens.values())
    numbers += list(bends.values())
    shots = []
    for number, (rows, place) in enumerate(stands):
        x, y, z, w = Rotation.from_matrix(rows).as_quat()
        move = rows @ -place
        pixels = []
        for dot in dots:
            a, b, c = rows @ dot + move
            u, v = bent(a / c, b / c, bends, model == "OPENCV_FISHEYE")
            pixels.append((lens["fx"] * u + lens["cx"], lens["fy"] * v + lens["cy"]))
        picture(np.array(pixels)).save(folder / "images" / f"{number:03d}.png")
        shots.append(((w, x, y, z), move, f"{number:03d}.png", pixels))
    (write_binary if binary else write_text)(sparse, dots, model, numbers, shots)


def write_text(sparse: Path, dots: np.ndarray, model: str, numbers: list[float], shots: list) -> None:
    """cameras.txt, images.txt with a line of points after each picture (none for the first), points3D.txt."""
    words = " ".join(map(repr, map(float, numbers)))
    (sparse / "cameras.txt").write_text(f"# Camera list\n7 {model} {WIDTH} {HEIGHT} {words}\n")
    lines = ["# Image list", "# two lines of data per image"]
    for number, (turn, move, name, pixels) in enumerate(shots):
        lines.append(" ".join([str(number + 1), *(repr(float(value)) for value in (*turn, *move)), "7", name]))
        lines.append("" if number == 0 else " ".join(f"{x} {y} -1" for x, y in pixels))
    (sparse / "images.txt").write_text("\n".join(lines) + "\n")
    points = [f"{number} {x} {y} {z} 9 9 9 0.1 1 {number}" for number, (x, y, z) in enumerate(dots)]
    (sparse / "points3D.txt").write_text("\n".join(["# points", *points]))


def write_binary(sparse: Path, dots: np.ndarray, model: str, numbers: list[float], shots: list) -> None:
    """The same as little-endian numbers."""
    data = struct.pack("<Q", 1) + struct.pack("<iiQQ", 7, COLMAP_NUMBERS[model], WIDTH, HEIGHT)
    (sparse / "cameras.bin").write_bytes(data + struct.pack(f"<{len(numbers)}d", *numbers))
    data = struct.pack("<Q", len(shots))
    for number, (turn, move, name, pixels) in enumerate(shots):
        data += struct.pack("<I7dI", number + 1, *turn, *move, 7) + name.encode() + b"\0"
        data += struct.pack("<Q", len(pixels)) + b"".join(struct.pack("<ddq", x, y, -1) for x, y in pixels)
    (sparse / "images.bin").write_bytes(data)
    data = struct.pack("<Q", len(dots))
    for number, place in enumerate(dots):
        data += struct.pack("<Q3d3BdQ", number, *place, 9, 9, 9, 0.1, 2) + struct.pack("<4I", 1, number, 2, number)
    (sparse / "points3D.bin").write_bytes(data)
