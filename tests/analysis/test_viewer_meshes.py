"""Meshes of the page: read from our own files, reduced, and what is packed is what was there."""

import base64
from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_stores import ball

from analysis.report.meshes import FACES, read_glb, reduced, srgb, viewer_meshes
from rodin.field.glb import linear, write_glb
from rodin.field.mesh import surface


def unpacked(mesh) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, faces and colours as viewer.js unpacks them."""
    data, count = base64.b64decode(mesh.data), mesh.vertices
    steps = np.frombuffer(data, "<u2", 3 * count).reshape(-1, 3)
    faces = np.frombuffer(data, "<u2", 3 * mesh.faces, 6 * count).reshape(-1, 3)
    colours = np.frombuffer(data, np.uint8, offset=6 * count + 6 * mesh.faces).reshape(-1, 3)
    return np.array(mesh.low) + steps * mesh.step, faces, colours


def test_a_mesh_is_read_back_as_it_was_written(tmp_path: Path):
    vertices, faces = surface(ball(16, 0.6), box=1.0, level=0.0)
    colours = np.random.default_rng(0).integers(0, 256, vertices.shape).astype(np.uint8)
    write_glb(tmp_path / "a.glb", vertices, faces, colours)
    for made, wanted in zip(read_glb(tmp_path / "a.glb"), (vertices, faces, colours), strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_srgb_undoes_linear():
    values = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb(linear(values)), values)


def test_a_small_mesh_is_packed_whole():
    vertices, faces = surface(ball(16, 0.6), box=1.0, level=0.0)
    colours = np.random.default_rng(0).integers(0, 256, vertices.shape).astype(np.uint8)
    made = unpacked(reduced("a", vertices, faces, colours))
    np.testing.assert_allclose(made[0], vertices, atol=1.2 / 65535)
    np.testing.assert_array_equal(made[1], faces)
    np.testing.assert_array_equal(made[2], colours)


def test_a_large_mesh_keeps_its_shape_and_colours():
    vertices, faces = surface(ball(96, 0.7), box=1.0, level=0.0)
    assert len(faces) > 2 * FACES
    colours = np.clip(255 * (vertices + 1) / 2, 0, 255).astype(np.uint8)
    small = reduced("a", vertices, faces, colours)
    assert 0.5 * FACES < small.faces <= FACES
    places, corners, tints = unpacked(small)
    assert corners.max() < small.vertices
    np.testing.assert_allclose(np.linalg.norm(places, axis=1), 0.7, atol=0.02)
    np.testing.assert_allclose(tints, 255 * (places + 1) / 2, atol=8)  # of the vertex that was nearest
    a, b, c = (places[corners[:, k]] for k in range(3))
    assert np.mean(np.einsum("fk,fk->f", np.cross(b - a, c - a), a) > 0) > 0.99  # faces still look outwards


def test_a_mesh_that_is_being_written_is_none(full_run: Path):
    whole = [mesh.name for mesh in viewer_meshes(full_run)]
    (full_run / "samples" / "meshes" / ".0a1b.unconditional-0003.glb").write_bytes(b"half")
    assert [mesh.name for mesh in viewer_meshes(full_run)] == whole


def test_the_first_samples_are_shown_and_other_files_refused(full_run: Path, tmp_path: Path):
    meshes = viewer_meshes(full_run)
    assert [mesh.name for mesh in meshes] == [f"unconditional-{number:05d}" for number in range(3)]
    assert viewer_meshes(tmp_path) == []
    (tmp_path / "samples" / "meshes").mkdir(parents=True)
    for data in (b"", b"glTF" + bytes(40), b"PNG" * 20):
        (tmp_path / "samples" / "meshes" / "a.glb").write_bytes(data)
        with pytest.raises(ValueError, match=r"a\.glb: not a mesh of this program"):
            viewer_meshes(tmp_path)
