"""Files of coloured meshes: GLB by `glb`, PLY and OBJ by trimesh; and meshes of fewer faces."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from rodin.field.glb import METRES, write_glb
from rodin.field.mesh import Mesh

KINDS = (".glb", ".ply", ".obj")
FEWEST_FACES = 100  # a head of fewer is no head
HASTE = (7.0, 5.0, 3.0, 2.0, 1.0)  # of the library, its own first; a slower one closes what a faster one leaves open
SPECK = 0.02  # of the largest body's faces; smaller ones that come off while sheets are taken apart are left out
PLY_END = b"end_header\n"
INSTALL = "pip install -c constraints.txt 'rodin-suite[mesh]'"


def checked_kind(path: Path) -> Path:
    """A path of a mesh that can be written here.

    Raises:
        ValueError: a suffix of another kind, or one that wants a library that is not installed.
    """
    if path.suffix.lower() not in KINDS:
        raise ValueError(
            f"{path}: a mesh of kind {path.suffix or 'none'!r}, wanted a name that ends in {', '.join(KINDS)}"
        )
    if path.suffix.lower() != ".glb":
        optional("trimesh", f"to write {path.suffix.lower()}")
    return path


def optional(name: str, purpose: str) -> Any:
    """A library of the extra `mesh`.

    Raises:
        ValueError: it is not installed; says what for and how to install it.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ValueError(f"{name} is not installed, wanted {purpose}; {INSTALL}, or write .glb in full") from None


def write_mesh(path: Path, mesh: Mesh, extras: Mapping[str, Any] | None = None) -> None:
    """Write a coloured mesh: y up, the face looks to +z, in metres.

    Args:
        path: of the file, ending in .glb, .ply or .obj; its folder exists.
        mesh: with faces.
        extras: plain values on where the mesh comes from: as `asset.extras` of .glb, as a comment of .ply and .obj.

    Raises:
        ValueError: as `checked_kind`, or a mesh without faces.
    """
    checked_kind(path)
    if path.suffix.lower() == ".glb":
        write_glb(path, *mesh, extras=extras)
        return
    if not len(mesh.faces):
        raise ValueError(f"mesh for {path.name}: got no faces, wanted at least one; the avatar has no surface")
    trimesh = optional("trimesh", "a library of meshes")
    opaque = np.full((len(mesh.colours), 1), 255, np.uint8)
    shape = trimesh.Trimesh(
        mesh.vertices * METRES, mesh.faces, vertex_colors=np.hstack([mesh.colours, opaque]), process=False
    )
    told = "" if extras is None else json.dumps(extras)  # one line, ASCII
    if path.suffix.lower() == ".obj":
        path.write_text(shape.export(file_type="obj", header=told or None), encoding="ascii")
        return
    head, body = shape.export(file_type="ply").split(PLY_END, 1)
    path.write_bytes(head + (f"comment {told}\n".encode() if told else b"") + PLY_END + body)


def closed(faces: np.ndarray) -> bool:
    """Whether faces [F, 3] enclose a body: each edge is of two of them, which run along it in opposite directions."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    names = edges[:, 0] * (edges.max(initial=0) + 1) + edges[:, 1]
    back = edges[:, 1] * (edges.max(initial=0) + 1) + edges[:, 0]
    return len(np.unique(names)) == len(names) and np.array_equal(np.sort(names), np.sort(back))


def checked_faces(faces: int) -> Any:
    """The library that reduces a mesh to so many faces.

    Raises:
        ValueError: too few faces, or the library is not installed.
    """
    if not isinstance(faces, Integral) or faces < FEWEST_FACES:
        raise ValueError(f"faces: got {faces!r}, wanted at least {FEWEST_FACES}")
    return optional("fast_simplification", "to reduce a mesh to fewer faces")


def untangled(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A mesh whose sheets touch along edges with vertices of its own for each sheet, without the specks this leaves.

    Args:
        vertices: [K, 3].
        faces: [F, 3]; edges of more than two faces are taken apart, if the faces around their ends say how.

    Returns:
        vertices and faces.
    """
    corners, start = faces.ravel().astype(np.int64), np.arange(faces.size)
    end = start - start % 3 + (start + 1) % 3
    low, high = np.minimum(corners[start], corners[end]), np.maximum(corners[start], corners[end])
    _, edge, count = np.unique(low * len(vertices) + high, return_inverse=True, return_counts=True)
    order = np.argsort(edge, kind="stable")
    one, other = order[count[edge[order]] == 2].reshape(-1, 2).T  # both faces of each edge that two share
    rows, columns = np.concatenate([start[one], end[one]]), np.concatenate([end[other], start[other]])
    apart = _connected(rows, columns, faces.size)
    split = apart.reshape(-1, 3)
    whole = _connected(split.ravel(), np.repeat(split[:, 0], 3), split.max(initial=-1) + 1)[split[:, 0]]
    sizes = np.bincount(whole)
    kept = split[sizes[whole] >= SPECK * sizes.max(initial=0)]
    used, kept = np.unique(kept, return_inverse=True)
    first = np.unique(apart, return_index=True)[1]
    return vertices[corners[first[used]]], kept.reshape(-1, 3)


def _connected(rows: np.ndarray, columns: np.ndarray, count: int) -> np.ndarray:
    """Number of the part that each of so many nodes is in, of a graph with edges between rows and columns."""
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def simplified(mesh: Mesh, faces: int) -> Mesh:
    """A closed mesh of about so many faces, by quadric errors; vertices take the colour of the nearest one before.

    Args:
        mesh: with faces.
        faces: wanted, at least FEWEST_FACES; a mesh that has no more is returned as it is.

    Raises:
        ValueError: as `checked_faces`.
    """
    library = checked_faces(faces)
    if len(mesh.faces) <= faces:
        return mesh
    found = []
    for haste in HASTE:
        vertices, kept = library.simplify(mesh.vertices, mesh.faces.astype(np.int32), target_count=faces, agg=haste)
        found.append((vertices, kept) if closed(kept) else untangled(vertices, kept))
        if closed(found[-1][1]):
            break
    vertices, kept = found[-1] if closed(found[-1][1]) else found[0]  # few faces, where none is closed
    _, nearest = KDTree(mesh.vertices).query(vertices)
    return Mesh(vertices.astype(np.float32), kept.astype(np.int64), mesh.colours[nearest])
