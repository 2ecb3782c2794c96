"""Coloured meshes as binary glTF 2.0.

Not by trimesh: it writes colours of 8 bits, too few for linear ones, and no material, which viewers show as metal.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rodin.field.mesh import vertex_normals

METRES = 0.25  # of a world unit: our heads are 0.95 units from chin to crown, people's about 0.24 m
FLOAT, SHORT, INTEGER = 5126, 5123, 5125  # glTF's names of float32, uint16 and uint32
VERTICES, INDICES = 34962, 34963  # glTF's names of what a part of the buffer is for
ALIGNED = 4  # bytes: every part of a file begins at a multiple of it
JSON_CHUNK, BINARY_CHUNK = b"JSON", b"BIN\0"


def write_glb(
    path: Path, vertices: np.ndarray, faces: np.ndarray, colours: np.ndarray, extras: Mapping[str, Any] | None = None
) -> None:
    """Write a coloured mesh as binary glTF 2.0: y up, the face looks to +z, in metres.

    Positions are stored in world units, as cameras are; the scale of the node makes them metres. Colours are stored
    linear, as glTF wants them; the material is rough and not metallic.

    Args:
        path: of the file; its folder exists.
        vertices: [K, 3], world units.
        faces: [F, 3], outward normals.
        colours: [K, 3] uint8, sRGB.
        extras: plain values on where the mesh comes from, stored as `asset.extras`.

    Raises:
        ValueError: there are no faces.

    Ours: a world unit is 0.25 m, which makes the heads of our people 0.24 m high; captured people come out as large as
    they were placed by `rodin import`.
    """
    if not len(faces):
        raise ValueError(f"mesh for {path.name}: got no faces, wanted at least one; lower the level of the surface")
    positions, normals = vertices.astype("<f4"), vertex_normals(vertices, faces)
    normals[~normals.any(axis=-1)] = (0, 1, 0)  # of vertices that only faces without area have: glTF wants unit length
    opaque = np.full((len(vertices), 1), 65535)
    parts: list[tuple[np.ndarray, dict[str, Any]]] = [
        (positions, {"componentType": FLOAT, "type": "VEC3"}),
        (normals.astype("<f4"), {"componentType": FLOAT, "type": "VEC3"}),
        (np.hstack([linear(colours), opaque]).astype("<u2"), {"componentType": SHORT, "type": "VEC4"}),
        (faces.astype("<u4").reshape(-1), {"componentType": INTEGER, "type": "SCALAR"}),
    ]
    parts[0][1].update(min=positions.min(axis=0).tolist(), max=positions.max(axis=0).tolist())
    parts[2][1]["normalized"] = True
    views, accessors, body = [], [], b""
    for number, (array, kind) in enumerate(parts):
        target = INDICES if number == len(parts) - 1 else VERTICES
        views.append({"buffer": 0, "byteOffset": len(body), "byteLength": array.nbytes, "target": target})
        accessors.append({"bufferView": number, "count": len(array), **kind})
        body += array.tobytes()  # no padding: items of all parts are whole multiples of 4 bytes
    rough = {"baseColorFactor": [1.0, 1.0, 1.0, 1.0], "metallicFactor": 0.0, "roughnessFactor": 1.0}
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    head = {
        "asset": {"version": "2.0", "generator": "rodin-suite"} | ({} if extras is None else {"extras": dict(extras)}),
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "avatar", "mesh": 0, "scale": [METRES] * 3}],
        "meshes": [{"name": "avatar", "primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [{"name": "avatar", "pbrMetallicRoughness": rough}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}],
    }
    text = json.dumps(head, separators=(",", ":")).encode()
    chunks = _chunk(JSON_CHUNK, text + b" " * (-len(text) % ALIGNED)) + _chunk(BINARY_CHUNK, body)
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)  # 12 bytes: this header itself


def linear(colours: np.ndarray) -> np.ndarray:
    """Colours of any shape, sRGB uint8, as linear uint16: light intensity in 0..65535 (IEC 61966-2-1)."""
    values = colours / 255.0
    light = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return np.rint(light * 65535).astype(np.uint16)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack("<I4s", len(data), kind) + data
