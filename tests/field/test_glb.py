"""A GLB file is what glTF 2.0 wants, and a viewer shows in it what our renderer shows."""

import json
import struct

import numpy as np
import pytest
import torch
from oracles.z_buffer import picture_of, read_glb

from rodin.avatars.body import HEAD_HEIGHT
from rodin.data.pictures import to_bytes
from rodin.field import cameras
from rodin.field.glb import METRES, linear, write_glb
from rodin.field.mesh import mesh
from rodin.field.render import render_views

TETRAHEDRON = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
OUTWARD = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
COLOURS = np.array([[255, 0, 0], [0, 128, 0], [0, 0, 10], [255, 255, 255]], np.uint8)


def parsed(path):
    data = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", data[:12])
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack("<I4s", data[12:20])
    assert (size % 4, kind) == (0, b"JSON")
    body, binary = struct.unpack("<I4s", data[20 + size : 28 + size])
    assert (body % 4, binary, 28 + size + body) == (0, b"BIN\0", len(data))
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def test_a_file_is_what_gltf_wants(tmp_path):
    write_glb(tmp_path / "one.glb", TETRAHEDRON, OUTWARD, COLOURS)
    head, body = parsed(tmp_path / "one.glb")
    (node,) = head["nodes"]
    assert node["scale"] == [METRES] * 3
    rough = head["materials"][0]["pbrMetallicRoughness"]
    assert (rough["metallicFactor"], rough["roughnessFactor"]) == (0, 1)
    (part,) = head["meshes"][0]["primitives"]
    assert part["material"] == 0
    kinds = {5126: ("<f4", 4), 5123: ("<u2", 2), 5125: ("<u4", 4)}
    found = {}
    for name, number in [*part["attributes"].items(), ("indices", part["indices"])]:
        accessor = head["accessors"][number]
        view = head["bufferViews"][accessor["bufferView"]]
        kind, width = kinds[accessor["componentType"]]
        items = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}[accessor["type"]]
        assert view["byteOffset"] % 4 == 0
        assert (items * width) % 4 == 0
        assert view["byteLength"] == accessor["count"] * items * width
        assert view["target"] == (34963 if name == "indices" else 34962)
        found[name] = np.frombuffer(body, kind, accessor["count"] * items, view["byteOffset"]).reshape(-1, items)
    assert len(body) == head["buffers"][0]["byteLength"] == sum(view["byteLength"] for view in head["bufferViews"])
    np.testing.assert_array_equal(found["POSITION"], TETRAHEDRON)
    place = head["accessors"][part["attributes"]["POSITION"]]
    assert (place["min"], place["max"]) == ([0, 0, 0], [1, 1, 1])
    np.testing.assert_array_equal(found["indices"].reshape(-1, 3), OUTWARD)
    np.testing.assert_allclose(np.linalg.norm(found["NORMAL"], axis=-1), 1, atol=1e-6)
    assert (np.einsum("kc,kc->k", found["NORMAL"], TETRAHEDRON - 0.25) > 0).all()
    assert head["accessors"][part["attributes"]["COLOR_0"]]["normalized"] is True
    # IEC 61966-2-1 by hand: 128 is 0.2158605 of the light of white, 10 is on the straight part, 10 / 255 / 12.92
    wanted = [[65535, 0, 0], [0, 14146, 0], [0, 0, 199], [65535] * 3]
    np.testing.assert_array_equal(found["COLOR_0"], np.hstack([wanted, np.full((4, 1), 65535)]))


def test_every_part_begins_where_it_must_however_long_the_text_is(tmp_path):
    for digits in range(8):
        write_glb(tmp_path / "one.glb", TETRAHEDRON + np.float32(10) ** -digits, OUTWARD, COLOURS)
        parsed(tmp_path / "one.glb")


def test_no_two_colours_become_one():
    assert (np.diff(linear(np.arange(256, dtype=np.uint8)).astype(int)) > 0).all()


def test_another_reader_finds_a_head_as_large_as_a_head(tmp_path):
    write_glb(tmp_path / "one.glb", TETRAHEDRON * [1, HEAD_HEIGHT, 1], OUTWARD, COLOURS)
    loaded, colours = read_glb(tmp_path / "one.glb")
    assert loaded.extents[1] == pytest.approx(0.24, abs=0.01)
    assert loaded.is_watertight
    assert loaded.volume > 0
    np.testing.assert_array_equal(colours[:, :3], linear(COLOURS))


def test_a_vertex_of_faces_without_area_has_a_normal(tmp_path):
    vertices = np.vstack([TETRAHEDRON, [[2, 2, 2]]]).astype(np.float32)
    write_glb(tmp_path / "one.glb", vertices, np.vstack([OUTWARD, [[4, 4, 4]]]), np.vstack([COLOURS, COLOURS[:1]]))
    head, body = parsed(tmp_path / "one.glb")
    place = head["bufferViews"][1]
    normals = np.frombuffer(body, "<f4", 15, place["byteOffset"]).reshape(5, 3)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)


class Nose(torch.nn.Module):
    """A decoder of a dark head with a nose and one ear; features are x, y, z, which the colours show."""

    view_directions = False

    def density(self, features):
        points = features * 1.5
        parts = [((0.0, 0.1, 0.0), 0.5), ((0.1, 0.0, 0.5), 0.2), ((0.6, 0.3, 0.0), 0.2)]
        depths = [radius - (points - torch.tensor(middle)).norm(dim=-1) for middle, radius in parts]
        return (10 + 600 * torch.stack(depths).amax(dim=0)).clamp(min=0)

    def forward(self, features, directions=None):
        return self.density(features), (0.3 + 0.5 * features * torch.tensor([1.0, 0.7, 0.4])).clamp(0, 1)


@pytest.mark.parametrize("place", [(0.0, 0.0, 4.0), (2.5, 1.5, 2.5)])
def test_a_viewer_shows_the_picture_that_we_render(place, tmp_path):
    line = (torch.arange(32) + 0.5) / 16 - 1
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    planes = torch.zeros(3, 3, 32, 32)
    for plane, (across, down) in enumerate(((0, 1), (0, 2), (1, 2))):
        planes[plane, across], planes[plane, down] = columns, rows
    pose, lens = cameras.look_at(np.array(place)), cameras.pinhole(48, 30.0)
    rendered = to_bytes(
        render_views(planes, Nose(), torch.from_numpy(pose[None]), torch.from_numpy(lens), 48, 48, box=1.0, samples=96)[
            0
        ]
    )
    write_glb(tmp_path / "one.glb", *mesh(planes, Nose(), box=1.0, resolution=32))
    metric = pose.copy()
    metric[:3, 3] *= METRES
    shown = picture_of(tmp_path / "one.glb", metric, lens, 48)
    ours, theirs = rendered[..., 3] > 127, shown[..., 3] > 127
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.93
    apart = np.abs(rendered[..., :3].astype(int) - shown[..., :3])[ours & theirs]
    assert apart.mean() < 8
    assert np.ptp(rendered[ours & theirs][:, :3], axis=0).min() > 20
