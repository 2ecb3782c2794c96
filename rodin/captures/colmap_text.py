"""Reader of COLMAP's text model: cameras.txt, images.txt, points3D.txt."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rodin.captures.capture import text_of
from rodin.captures.colmap_model import Model, Shot
from rodin.captures.lens import Lens, lens_of


def read_text(folder: Path) -> Model:
    """Read a text model.

    Raises:
        FileNotFoundError, ValueError: one line naming the file and the line in it.
    """
    cameras: dict[int, Lens] = {}
    for where, line in lines(folder / "cameras.txt"):
        number, lens = read_camera(line.split(), where)
        if number in cameras:
            raise ValueError(f"{where}: a second camera {number}, wanted every number once")
        cameras[number] = lens
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
    """Lines IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME, each followed by a line with the picture's points.

    That line may be empty. The points are not used, so a file without such lines is read too; one with and without
    them is refused, as something is lost in it.
    """
    points_at = bare_at = ""
    points_next = False
    for where, line in lines(path, empty=True):
        words = line.split()
        if points_next and (not words or are_points(words)):
            points_next = False
            points_at = points_at or (where if words else "")
        elif words:
            bare_at = bare_at or (where if points_next else "")
            points_next = True
            yield read_shot(line, where)
        if points_at and bare_at:
            raise ValueError(
                f"{bare_at}: a picture, wanted the points of the one before, as in {points_at.rpartition(', ')[2]}; "
                "give every picture a second line, which may be empty, or none"
            )


def read_shot(line: str, where: str) -> Shot:
    """IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME; spaces in the name are kept."""
    words = line.split(maxsplit=9)
    try:
        _, w, x, y, z, a, b, c = int(words[0]), *map(float, words[1:8])
        return Shot((w, x, y, z), (a, b, c), int(words[8]), words[9].rstrip())
    except (ValueError, IndexError):
        wanted = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"
        raise ValueError(f"{where}: got '{' '.join(words)[:80]}', wanted {wanted}") from None


def are_points(words: list[str]) -> bool:
    """Whether a line's words are X Y POINT3D_ID of some points."""
    try:
        [float(word) for word in words]
        [int(word) for word in words[2::3]]
    except ValueError:
        return False
    return len(words) % 3 == 0


def read_points(path: Path) -> np.ndarray:
    """POINT3D_ID X Y Z R G B ERROR TRACK...: points [M, 3]."""
    found = []
    for where, line in lines(path):
        words = line.split(maxsplit=4)
        try:
            x, y, z = (float(word) for word in words[1:4])
        except ValueError:
            raise ValueError(f"{where}: got '{' '.join(words)[:80]}', wanted POINT3D_ID X Y Z ...") from None
        found.append((x, y, z))
    return np.array(found, dtype=np.float64).reshape(-1, 3)


def lines(path: Path, empty: bool = False) -> Iterator[tuple[str, str]]:
    """(where, line) of each line that is not a comment; with `empty`, also of empty lines."""
    try:
        text = text_of(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file, wanted it beside the model's others") from None
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{path}: not readable as text ({problem})") from None
    for number, line in enumerate(text.splitlines(), 1):
        if (empty or line.strip()) and not line.lstrip().startswith("#"):
            yield f"{path}, line {number}", line
