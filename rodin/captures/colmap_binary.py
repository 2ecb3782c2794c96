"""Reader of COLMAP's binary model: cameras.bin, images.bin, points3D.bin.

Little-endian; every length is checked against the file's. pycolmap, 38 MB, does not say where a file is damaged.
"""

import struct
from pathlib import Path

import numpy as np

from rodin.captures.colmap_model import Model, Shot
from rodin.captures.lens import MODELS, Lens, lens_of

POINT_BYTES = 24
"""of one observed point of an image: x, y as f8, the id of its 3-D point as u8"""
TRACK_BYTES = 8
"""of one entry of a 3-D point's track: an image and a point number, u4 each"""


def read_binary(folder: Path) -> Model:
    """Read a binary model.

    Raises:
        FileNotFoundError, ValueError: one line naming the file and the fault.
    """
    cameras = read_cameras(ByteReader(folder / "cameras.bin"))
    shots = read_shots(ByteReader(folder / "images.bin"))
    points = folder / "points3D.bin"
    return Model(folder, cameras, shots, read_points(ByteReader(points)) if points.is_file() else None)


class ByteReader:
    """Sequential reader of a file's bytes."""

    def __init__(self, path: Path) -> None:
        self.path, self.at = path, 0
        try:
            self.data = path.read_bytes()
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: no such file, wanted it beside the model's others") from None
        except OSError as problem:
            raise ValueError(f"{path}: not readable ({problem})") from None

    def take(self, layout: str) -> tuple:
        """Numbers in a `struct` layout, without padding."""
        size = struct.calcsize("<" + layout)
        self.check(size)
        self.at += size
        return struct.unpack_from("<" + layout, self.data, self.at - size)

    def skip(self, size: int) -> None:
        """Skip bytes."""
        self.check(size)
        self.at += size

    def text(self) -> str:
        """Text up to a zero byte."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            self.check(len(self.data))
        found = self.data[self.at : end]
        self.at = end + 1
        try:
            return found.decode("utf-8")
        except UnicodeDecodeError:
            raise ValueError(f"{self.path}: a name at byte {self.at} is not text; the file is damaged") from None

    def count(self, least: int) -> int:
        """The number of following entries; each has at least `least` bytes."""
        (number,) = self.take("Q")
        self.check(number * least)
        return number

    def check(self, size: int) -> None:
        """Raise where fewer than `size` bytes are left."""
        if self.at + size > len(self.data):
            raise ValueError(
                f"{self.path}: cut short: {len(self.data)} bytes, wanted {self.at + size} or more; copy it again"
            )

    def finish(self) -> None:
        """Raise where bytes are left over."""
        if self.at != len(self.data):
            raise ValueError(f"{self.path}: {len(self.data) - self.at} bytes too many; not a COLMAP model, or damaged")


def read_cameras(data: ByteReader) -> dict[int, Lens]:
    """camera_id i4, model i4, width u8, height u8, then the model's numbers f8."""
    cameras = {}
    for _ in range(data.count(24)):
        number, model, width, height = data.take("iiQQ")
        where = f"{data.path}, camera {number}"
        if not 0 <= model < len(MODELS):
            raise ValueError(f"{where}: camera model {model}, wanted 0 to {len(MODELS) - 1}; undistort the pictures")
        name, numbers = list(MODELS.items())[model]
        cameras[number] = lens_of(name, data.take(f"{len(numbers)}d"), width, height, where)
    data.finish()
    return cameras


def read_shots(data: ByteReader) -> list[Shot]:
    """image_id u4, quaternion 4 f8, translation 3 f8, camera_id u4, name, then points of 24 bytes each."""
    shots = []
    for _ in range(data.count(73)):
        _, w, x, y, z, a, b, c, camera = data.take("I7dI")
        name = data.text()
        data.skip(POINT_BYTES * data.count(POINT_BYTES))
        shots.append(Shot((w, x, y, z), (a, b, c), camera, name))
    data.finish()
    return shots


def read_points(data: ByteReader) -> np.ndarray:
    """id u8, place 3 f8, colour 3 u1, error f8, then a track of 8 bytes each: points [M, 3]."""
    found = []
    for _ in range(data.count(51)):
        _, x, y, z = data.take("Q3d")
        data.skip(11)
        data.skip(TRACK_BYTES * data.count(TRACK_BYTES))
        found.append((x, y, z))
    data.finish()
    return np.array(found, dtype=np.float64).reshape(-1, 3)
