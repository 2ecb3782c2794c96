"""All that leaves by the commands says that it is generated, and is marked and signed where that is asked for."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
from fixtures.certificates import certificates
from fixtures.tetrahedron import TETRAHEDRON
from PIL import Image

from rodin import Rodin
from rodin.field.mesh_files import write_mesh
from rodin.generate import requests, uses
from rodin.generate.condition import one_request
from rodin.generate.inversion import InversionSettings
from rodin.generate.look import Look
from rodin.generate.options import SamplingOptions
from rodin.generate.pictures import save_mp4
from rodin.marks.credentials import Credentials
from rodin.marks.marking import Marking
from rodin.marks.pictures import detect_in
from rodin.marks.tags import MESH, glb_extras

SIDE = 64  # px: the least that holds a watermark
LOOK = Look(SIDE, 2, "png")


@pytest.fixture(scope="module")
def secret(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("key") / "key.bin"
    path.write_bytes(b"a secret of ours")
    return path


def shows(path: Path) -> bool:
    """Whether enough is seen in a picture to hold a mark: barely trained models may make an avatar of air."""
    with Image.open(path) as image:
        return float(np.asarray(image.convert("RGBA"))[..., 3].mean()) > 64


def made(command: str, run: Path, output: Path, options: SamplingOptions) -> list[Path]:
    """The pictures of a command."""
    named = {"output": output, "options": options, "look": LOOK}
    if command == "render":
        uses.render_avatar(run, one_request(seed=3), **named)
    elif command == "interpolate":
        uses.interpolate_avatars(run, [one_request(seed=1), one_request(seed=2)], steps=2, **named)
    elif command == "edit":
        requests.edit_avatar(run, seed=3, target="a man with a hat", **named)
    else:
        requests.sample_avatars(run, seed=3, count=1, **named)
    return sorted(output.rglob("*.png"))


@pytest.mark.parametrize("command", ["sample", "edit", "render", "interpolate"])
def test_every_picture_of_a_command_is_tagged_and_marked(command, trained, secret, tmp_path):
    options = SamplingOptions(watermark=True, watermark_key=secret)
    marked = made(command, trained.path, tmp_path / "marked", options)
    plain = made(command, trained.path, tmp_path / "plain", SamplingOptions())
    assert len(marked) == len(plain) > 1
    changed = 0
    for ours, theirs in zip(marked, plain, strict=True):
        with Image.open(ours) as image, Image.open(theirs) as other:
            image.load()
            about = json.loads(image.info["generated"])
            assert about["watermark"].startswith("key "), ours
            assert "trainedAlgorithmicMedia" in image.info["XML:com.adobe.xmp"]
            differ = not np.array_equal(np.asarray(image), np.asarray(other))
        changed += differ
        assert differ == bool(np.asarray(Image.open(theirs).convert("RGBA"))[..., 3].any()), ours
        assert not detect_in(theirs, secret.read_bytes()).marked, theirs
        if shows(theirs):
            assert detect_in(ours, secret.read_bytes()).marked, ours
    assert changed
    for path in tmp_path.glob("marked/**/metadata.json"):
        assert json.loads(path.read_text())["watermark"].startswith("key ")


def test_a_sheet_with_the_users_own_picture_is_a_composite_and_the_picture_is_not_marked(
    trained, secret, tmp_path, monkeypatch
):
    signed = []
    monkeypatch.setattr(Marking, "sign", lambda self, folder, composites, origin: signed.append(sorted(composites)))
    photograph = np.full((48, 48, 4), (60, 90, 160, 255), np.uint8)
    photograph[:10, :, 3] = photograph[:, :12, 3] = photograph[:, 36:, 3] = 0
    steps, named = InversionSettings(latent_steps=0, planes_steps=1, yaw=0, pitch=0), {"image": photograph}
    for name, options in (
        ("marked", SamplingOptions(watermark=True, watermark_key=secret)),
        ("plain", SamplingOptions()),
    ):
        named |= {"settings": steps, "output": tmp_path / name, "options": options, "look": LOOK}
        requests.invert_avatar(trained.path, **named)
    assert signed == [["comparison.png"]] * 2
    for path in (tmp_path / "marked").glob("*.png"):
        kind = "compositeSynthetic" if path.name == "comparison.png" else "trainedAlgorithmicMedia"
        with Image.open(path) as image:
            assert f"digitalsourcetype/{kind}" in image.info["XML:com.adobe.xmp"], path
    marked, plain = (np.asarray(Image.open(tmp_path / name / "comparison.png")) for name in ("marked", "plain"))
    side = marked.shape[1] // 3
    assert np.array_equal(marked[:, :side], plain[:, :side])
    assert not np.array_equal(marked[:, side:], plain[:, side:])
    assert detect_in(tmp_path / "marked" / "comparison.png", secret.read_bytes()).marked


def test_an_avatar_that_is_loaded_does_not_keep_the_marks_of_its_old_files(trained, tmp_path):
    Rodin(trained.path, options=SamplingOptions(watermark=True)).sample(seed=3).save(tmp_path / "a", look=LOOK)
    assert json.loads((tmp_path / "a" / "metadata.json").read_text())["watermark"] == "public key"
    Rodin(trained.path).load(tmp_path / "a").save(tmp_path / "b", look=LOOK)
    assert "watermark" not in json.loads((tmp_path / "b" / "metadata.json").read_text())


def test_all_pictures_of_an_interpolation_are_signed(trained, tmp_path):
    c2pa = pytest.importorskip("c2pa")
    ends = [one_request(seed=1), one_request(seed=2)]
    options = SamplingOptions(c2pa=certificates(tmp_path))
    made = uses.interpolate_avatars(
        trained.path, ends, steps=2, look=Look(16, 2, "gif"), output=tmp_path / "way", options=options
    )
    for name in ("sheet", "morph", "turning"):
        with c2pa.Reader(made[name]) as reader:
            assert "trainedAlgorithmicMedia" in reader.json()


def test_a_film_is_tagged_and_signed(tmp_path):
    c2pa, ffmpeg = pytest.importorskip("c2pa"), pytest.importorskip("imageio_ffmpeg")
    (tmp_path / "a").mkdir()
    save_mp4(tmp_path / "a" / "a.mp4", np.full((3, 32, 32, 4), 200, np.uint8), {})
    assert b"generated by rodin-suite" in (tmp_path / "a" / "a.mp4").read_bytes()
    Marking(None, Credentials.read(*certificates(tmp_path))).sign(tmp_path / "a")
    with c2pa.Reader(tmp_path / "a" / "a.mp4") as reader:
        assert "trainedAlgorithmicMedia" in reader.json()
    assert ffmpeg.count_frames_and_secs(str(tmp_path / "a" / "a.mp4"))[0] == 3


@pytest.mark.parametrize("kind", [".ply", ".obj", ".glb"])
def test_meshes_of_every_kind_say_that_they_are_generated(kind, tmp_path):
    write_mesh(tmp_path / f"a{kind}", TETRAHEDRON, glb_extras(MESH, {"seed": 3, "text": "é\n"}))
    data = (tmp_path / f"a{kind}").read_bytes()
    assert b"generated mesh of a synthetic person" in data
    read = trimesh.load_mesh(tmp_path / f"a{kind}", process=False)
    assert len(read.faces) == 4
    assert len(read.vertices) == 4
