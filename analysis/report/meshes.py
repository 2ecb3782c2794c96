"""Meshes of samples for the viewer of the page: reduced, rounded to 16 bits, in base64."""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fast_simplification
import numpy as np
from scipy.spatial import KDTree

from rodin.store.errors import read_error
from rodin.store.run_folder import RunFolder

SHOWN = 8  # meshes in the page at most: about 200 kB each
FACES = 12_000  # of a mesh at most: at the size of a page more cannot be seen
STEPS = 65_535  # of a coordinate between the ends of the mesh: a 16-bit number
GLB, JSON_CHUNK = b"glTF", b"JSON"
TYPES = {5121: "u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}  # glTF's component types as numpy's
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}  # numbers in an element of glTF's accessors


@dataclass(frozen=True)
class ViewerMesh:
    """A mesh as the viewer reads it.

    Args:
        name: of the sample.
        vertices, faces: how many.
        data: base64 of [V, 3] uint16 positions, [F, 3] uint16 vertices of faces, [V, 3] uint8 sRGB colours; all in one.
        low, step: coordinates of position 0, and of one more, world units.
    """

    name: str
    vertices: int
    faces: int
    data: str
    low: list[float]
    step: float


def viewer_meshes(run: Path) -> list[ViewerMesh]:
    """The first samples' meshes, reduced for the page; none where stage `sample` has left none.

    Raises:
        ValueError: a file is not one of ours.
    """
    folder = RunFolder(run).stage("sample") / "meshes"
    return [reduced(path.stem, *read_glb(path)) for path in sorted(folder.glob("[!.]*.glb"))[:SHOWN]]


def reduced(name: str, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> ViewerMesh:
    """A mesh with at most FACES faces, by quadric edge collapse, its numbers rounded.

    Args:
        name: of the sample.
        vertices: [V, 3] float32.
        faces: [F, 3].
        colours: [V, 3] uint8, sRGB.
    """
    if len(faces) > FACES:
        points, corners = vertices.astype(float), faces.astype(np.int32)
        few, faces = fast_simplification.simplify(points, corners, target_count=FACES)[:2]
        colours = colours[KDTree(vertices).query(few)[1]]  # of the nearest vertex before
        vertices = few
    low = vertices.min(axis=0)
    step = float((vertices.max(axis=0) - low).max()) / STEPS or 1.0
    rounded = np.rint((vertices - low) / step).astype("<u2")
    data = rounded.tobytes() + faces.astype("<u2").tobytes() + colours.astype("u1").tobytes()
    return ViewerMesh(name, len(rounded), len(faces), base64.b64encode(data).decode(), low.tolist(), step)


def read_glb(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A mesh that `rodin.field.glb` wrote: vertices [V, 3] float32, faces [F, 3], colours [V, 3] uint8 sRGB.

    Raises:
        ValueError: the file is not such a mesh.
        Unreadable: the operating system does not let it be read.
    """
    try:
        data = path.read_bytes()
    except OSError as problem:
        raise read_error(path, problem) from None
    try:
        magic, _, _, size, kind = struct.unpack_from("<4sIII4s", data)
        head, body = json.loads(data[20 : 20 + size]), memoryview(data)[20 + size + 8 :]
        if (magic, kind) != (GLB, JSON_CHUNK):
            raise ValueError("no glTF")
        shape = head["meshes"][0]["primitives"][0]
        vertices, colours = (_accessor(head, body, shape["attributes"][name]) for name in ("POSITION", "COLOR_0"))
        faces = _accessor(head, body, shape["indices"]).reshape(-1, 3)
    except (KeyError, IndexError, TypeError, ValueError, struct.error):
        raise ValueError(f"{path}: not a mesh of this program; move it elsewhere and write the report again") from None
    return vertices, faces, srgb(colours[:, :3])


def srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light in 0..65535 as sRGB in 0..255 (IEC 61966-2-1)."""
    light = linear / STEPS
    values = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)
    return np.rint(255 * values).astype(np.uint8)


def _accessor(head: dict[str, Any], body: memoryview, number: int) -> np.ndarray:
    accessor = head["accessors"][number]
    view, width = head["bufferViews"][accessor["bufferView"]], WIDTHS[accessor["type"]]
    count = accessor["count"] * width
    values = np.frombuffer(body, TYPES[accessor["componentType"]], count, view["byteOffset"])
    return values.reshape(-1, width) if width > 1 else values
