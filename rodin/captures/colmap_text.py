"""Reader of COLMAP's text model: cameras.txt, images.txt, points3D.txt."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rodin.captures.colmap_model import Model, Shot
from rodin.captures.lens import Lens, lens_of


def read_text(folder: Path) -> Model:
    """Read a text model.

    Raises:
        FileNotFoundError, ValueError: one line naming the file and the line in it.
    """
    cameras = dict(read_camera(words, where) for where, words in lines(folder / "cameras.txt"))
    shots = list(read_shots(folder / "images.txt"))
    points = folder / "points3D.txt"
    return Model(folder, cameras, shots, read_points(points) if points.is_file() else None)


def read_camera(words: list[str], where: str) -> tuple[int, Lens]:
    """CAMERA_ID MODEL WIDTH HEIGHT PARAMS..."""
    try:
        number, model, width, height = int(words[0]), words[1], int(words[2]), int(words[3])
        numbers = [float(word) for word in words[4:]]
    except (ValueError, IndexError):
        raise ValueError(f"{where}: got '{' '.join(words)[:80]}', wanted ID MODEL WIDTH HEIGHT numbers") from None
    return number, lens_of(model, numbers, width, height, where)


def read_shots(path: Path) -> Iterator[Shot]:
    """Two lines per image: IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, then its points, possibly none."""
    points_next = False
    for where, words in lines(path, empty=True):
        if points_next:
            points_next = False
        elif words:
            points_next = True
            try:
                w, x, y, z, a, b, c = (float(word) for word in words[1:8])
                yield Shot((w, x, y, z), (a, b, c), int(words[8]), " ".join(words[9:]))
            except (ValueError, IndexError):
                wanted = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
                raise ValueError(f"{where}: got '{' '.join(words)[:80]}', wanted {wanted}") from None


def read_points(path: Path) -> np.ndarray:
    """POINT3D_ID X Y Z R G B ERROR TRACK...: points [M, 3]."""
    found = []
    for where, words in lines(path):
        try:
            x, y, z = (float(word) for word in words[1:4])
        except ValueError:
            raise ValueError(f"{where}: got '{' '.join(words)[:80]}', wanted POINT3D_ID X Y Z ...") from None
        found.append((x, y, z))
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def lines(path: Path, empty: bool = False) -> Iterator[tuple[str, list[str]]]:
    """(where, words) of each line that is not a comment; with `empty`, also of empty lines."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, wanted it beside the model's others") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not readable as text ({problem})") from None
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if (words or empty) and not line.startswith("#"):
            yield f"{path}, line {number}", words
