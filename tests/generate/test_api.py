"""`from rodin import Rodin`: avatars that are what the commands make, that can be saved, loaded, changed and shown."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from fixtures.small_run import CONFIG
from fixtures.tetrahedron import TETRAHEDRON
from PIL import Image

from rodin import Rodin
from rodin.data.portraits import read_cut_out
from rodin.field.cameras import Cameras
from rodin.field.mesh_files import write_mesh
from rodin.generate import api, changes, existing, requests, uses
from rodin.generate.avatar import Avatar
from rodin.generate.cascade import Avatars
from rodin.generate.condition import one_request
from rodin.generate.edits import direction, people_latents
from rodin.generate.inversion import InversionSettings
from rodin.generate.latents import unit
from rodin.generate.look import Look
from rodin.store.shards.reader import Shards

README = Path(__file__).parents[2] / "README.md"
SMALL = Look(16, 2, "png")


@pytest.fixture(scope="module")
def rodin(trained):
    return Rodin(trained.path, "cpu")


@pytest.fixture(scope="module")
def one(rodin):
    return rodin.sample(seed=3)


def person(side: int = 48) -> np.ndarray:
    """A picture [S, S, 4] of a red shirt and a head, with alpha."""
    picture = np.zeros((side, side, 4), np.uint8)
    y, x = np.mgrid[0:side, 0:side] / side
    picture[((x - 0.5) / 0.3) ** 2 + ((y - 0.95) / 0.35) ** 2 < 1] = (200, 20, 30, 255)
    picture[((x - 0.5) / 0.16) ** 2 + ((y - 0.4) / 0.22) ** 2 < 1] = (205, 150, 120, 255)
    return picture


def test_the_package_is_cheap_to_import():
    script = "import sys, rodin; assert 'torch' not in sys.modules; rodin.Rodin; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=README.parent)


@pytest.mark.usefixtures("small_pictures")
def test_the_quickstart_of_the_readme_runs(trained, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (code,) = [block for block in blocks if "from rodin import Rodin" in block]
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/demo").symlink_to(trained.path)
    Image.fromarray(person()).save("me.png")
    monkeypatch.setattr(api, "InversionSettings", lambda: InversionSettings(latent_steps=2, planes_steps=2))
    code = re.sub(r"size=\d+", "size=16", code)
    assert 'me.save_mesh("me.glb")' in code
    code = code.replace('me.save_mesh("me.glb")', 'me.save_mesh("me.glb", 16)')
    monkeypatch.setattr(Avatar, "mesh", lambda *given: TETRAHEDRON)  # of a run of two steps there may be none
    exec(compile(code, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} >= {"her"}
    assert list(Path("her").glob("*.safetensors"))
    assert b'"generated"' in Path("me.glb").read_bytes()  # R60


def test_a_sample_is_that_of_the_command_and_of_a_list(rodin, one, trained, tmp_path):
    listed = rodin.sample(seed=2, count=2)
    assert torch.equal(listed[1].planes, one.planes)
    made = requests.sample_avatar(trained.path, seed=3, look=SMALL, output=tmp_path / "a")
    saved = one.save(tmp_path / "b", look=SMALL)
    for ours, theirs in zip(saved["views"], made["views"], strict=True):
        with Image.open(ours) as left, Image.open(theirs) as right:
            assert np.array_equal(np.asarray(left), np.asarray(right))


def test_a_long_list_is_drawn_in_batches(rodin, one, monkeypatch):
    real, sizes, most = Avatars.planes, [], CONFIG.sample.batch
    monkeypatch.setattr(Avatars, "planes", lambda self, some, *more: sizes.append(len(some)) or real(self, some, *more))
    listed = rodin.sample(seed=3, count=most + 1)
    assert sizes == [most, 1]
    assert [avatar.seed for avatar in listed] == list(range(3, most + 4))
    assert torch.equal(listed[0].planes, one.planes)
    assert torch.equal(listed[most].planes, rodin.sample(seed=3 + most).planes)


def test_a_saved_avatar_is_loaded_again(rodin, one, tmp_path):
    one.save(tmp_path / "a", look=SMALL)
    again = rodin.load(tmp_path / "a")
    assert torch.equal(again.latent, one.latent)
    assert torch.equal(again.planes, one.planes.half().float())
    assert again.seed == 3
    assert again.provenance["from"] == "nothing"
    again.save(tmp_path / "b", look=SMALL)
    about = [json.loads((tmp_path / name / "metadata.json").read_text()) for name in "ab"]
    assert about[0].keys() == about[1].keys()
    data = bytearray((tmp_path / "a" / "avatar.safetensors").read_bytes())
    (tmp_path / "a" / "avatar.safetensors").write_bytes(data[:40])
    with pytest.raises(ValueError, match="the avatar there is damaged"):
        rodin.load(tmp_path / "a")
    other = about[1] | {"models": {"decoder": {"decoder.pt": "0"}}}
    (tmp_path / "b" / "metadata.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="of another run's decoder"):
        rodin.load(tmp_path / "b")
    with pytest.raises(FileNotFoundError, match="no saved avatar there"):
        rodin.load(tmp_path)


def test_a_person_of_the_run_is_as_fitted(rodin, trained):
    name = CONFIG.train_subjects()[1]
    known = rodin.subject(name)
    assert known.latent is not None
    assert float(known.latent.norm()) == pytest.approx(1, abs=1e-4)
    assert known.render("swing", views=3, size=20).shape == (3, 20, 20, 4)
    with pytest.raises(ValueError, match="subject: got 'x', wanted the id of a fitted person, such as 0"):
        rodin.subject("x")


def test_pictures_come_from_the_cameras_that_are_given(one):
    ring = one.cameras("ring", 4)
    seen = one.render("ring", views=4, size=24)
    assert np.array_equal(seen, one.turntable(4, 24))
    assert np.array_equal(one.render(Cameras(ring.poses[2:3], ring.lenses[2:3]), size=24)[0], seen[2])
    told = []
    one.render("spiral", views=3, size=16, progress=lambda *what: told.append(what[:2]))
    assert told == [(1, 3), (2, 3), (3, 3)]
    for wrong, message in (({"cameras": "walk"}, "camera path: got 'walk'"), ({"size": 2000}, "size: got 2000")):
        with pytest.raises(ValueError, match=message):
            one.render(**wrong)


def test_an_edit_moves_towards_the_text_and_keeps_what_the_models_do_not_know(rodin, one):
    after = rodin.edit(one, "a person with red hair")
    assert after.before is one
    assert after.provenance["target"] == "a person with red hair"
    target, source = rodin.models.clip.text(["a person with red hair", "a photo of a person"])[0]
    people = people_latents(rodin.models)
    along = direction(source[None], target, people)
    assert float(after.latent @ along) > float(one.latent @ along)
    known, was = (rodin.sampled(avatar.latent[None], [one.seed])[0] for avatar in (after, one))
    torch.testing.assert_close(after.planes, (one.planes + known - was).clamp(-1, 1), atol=1e-5, rtol=0)
    assert (after.planes - one.planes).abs().max() > 0.01
    marked = replace(one, planes=(one.planes + 0.01).clamp(-1, 1))
    moved = rodin.edit(marked, "a person with red hair")
    free = (after.planes.abs() < 0.98) & (one.planes.abs() < 0.98)
    assert torch.allclose((moved.planes - after.planes)[free], torch.full_like(after.planes[free], 0.01), atol=1e-5)
    with pytest.raises(ValueError, match="without a latent"):
        rodin.edit(replace(one, latent=None), "a man")


def test_the_direction_of_an_edit_is_the_root_of_people_s_covariance():
    generator = torch.Generator().manual_seed(1)
    people, source, target = (torch.randn(count, 5, generator=generator).double() for count in (40, 2, 1))
    centred = people - people.mean(0)
    values, axes = torch.linalg.eigh(centred.T @ centred)
    wanted = axes @ torch.diag(values.sqrt()) @ axes.T @ (target[0] - source.mean(0))
    assert torch.allclose(direction(source, target[0], people), wanted / wanted.norm(), atol=1e-6)
    assert torch.allclose(direction(source, target[0], None), unit(target[0] - source.mean(0)))


@pytest.mark.parametrize("how", ["slerp", "lerp"])
def test_an_interpolation_ends_at_the_avatars_themselves(rodin, one, how):
    other = rodin.sample(seed=8)
    path = rodin.interpolate(one, other, one, steps=3, how=how)
    assert len(path) == 5
    assert [path[place] for place in (0, 2, 4)] == [one, other, one]
    assert torch.equal(path[1].latent, path[3].latent) or torch.allclose(path[1].latent, path[3].latent, atol=1e-5)
    assert float(path[1].latent.norm()) == pytest.approx(1, abs=1e-5)
    assert path[1].provenance["blend"] == 0.5
    for wrong, message in (({"steps": 1}, "steps: got 1"), ({"how": "walk"}, "how: got 'walk'")):
        with pytest.raises(ValueError, match=message):
            rodin.interpolate(one, other, **wrong)
    with pytest.raises(ValueError, match="got 1 avatars, wanted two"):
        rodin.interpolate(one)


def test_an_inversion_comes_nearer_to_the_picture(rodin, tmp_path):
    settings = InversionSettings(latent_steps=2, planes_steps=20, yaw=0.0, pitch=0.0)
    avatar = rodin.invert(person(), settings=settings)
    measured = avatar.provenance["measured"]
    assert measured["after"]["psnr"] > measured["before"]["psnr"]
    assert measured["camera"]["yaw_degrees"] == 0
    made = avatar.save(tmp_path / "a", look=SMALL)
    assert {path.name for path in made["views"]} >= {"comparison.png", "before-00.png", "avatar-00.png"}
    assert rodin.load(tmp_path / "a").provenance["measured"] == json.loads(json.dumps(measured))


def test_an_inversion_is_measured_against_the_picture_it_was_made_of(rodin, monkeypatch):
    soft, compared = person(), []
    soft[..., 3] //= 2
    portrait = read_cut_out(soft, rodin.config.data.resolution)[..., :3]
    assert (portrait < 255).any()
    monkeypatch.setattr(changes, "psnr", lambda ours, theirs: compared.append(theirs) or torch.tensor(20.0))
    avatar = rodin.invert(soft, settings=InversionSettings(latent_steps=1, planes_steps=1, yaw=0.0, pitch=0.0))
    for theirs in compared:
        np.testing.assert_array_equal((255 * theirs[0].permute(1, 2, 0)).round().byte().numpy(), portrait)
    assert len(compared) == 2
    side = avatar.pictures["comparison"].shape[1] // 3
    shown = avatar.pictures["comparison"][:side, :side, :3]
    darkest = portrait.min(axis=(0, 1)).tolist()
    assert shown.min(axis=(0, 1)).tolist() == pytest.approx(darkest, abs=8)  # enlarging overshoots a little


def test_people_that_are_there_already_come_to_the_device_of_the_models(trained, one, tmp_path):
    one.save(tmp_path / "one", look=SMALL)
    elsewhere = Avatars(CONFIG, trained, torch.device("meta"))
    subject = Shards(trained.stage("fit"), "planes").subjects[0]
    found = (existing.fitted_person(elsewhere, subject), existing.saved_avatar(elsewhere, tmp_path / "one"))
    assert [avatar.planes.device.type for avatar in found] == ["meta", "meta"]


def test_pictures_in_which_nobody_can_be_are_refused(rodin):
    small, corner = np.zeros((64, 64, 4), np.uint8), np.zeros((64, 64, 4), np.uint8)
    small[30:36, 30:36] = corner[:24, :24] = (200, 20, 30, 255)
    small[31, 31] = corner[1, 1] = (0, 0, 0, 255)
    for picture, why in ((small, "fills 0.9% of the picture"), (corner, "lies 17% from the left")):
        with pytest.raises(ValueError, match=f"image: nobody can be there: .*{why}"):
            rodin.invert(picture)
    with pytest.raises(ValueError, match="of one colour all over"):
        rodin.invert(np.full((32, 32, 3), 90, np.uint8))
    with pytest.raises(ValueError, match=r"wanted uint8 \[H, W, 3\]"):
        rodin.from_image(np.zeros((32, 32)))


def test_meshes_of_each_kind_are_the_same_shape(rodin, one, tmp_path):
    mesh = one.mesh(24)
    if not len(mesh.faces):
        pytest.skip("an avatar of a run of two steps may have no surface")
    shapes = []
    for kind in ("glb", "ply", "obj"):
        write_mesh(tmp_path / f"a.{kind}", mesh)
        shapes.append(trimesh.load(tmp_path / f"a.{kind}", force="mesh", process=False))
    for shape in shapes:
        assert len(shape.faces) == len(mesh.faces)
        np.testing.assert_allclose(shape.extents, shapes[0].extents, rtol=1e-3)
        assert shape.is_watertight
    np.testing.assert_array_equal(shapes[1].visual.vertex_colors[:, :3], mesh.colours)


def test_meshes_of_other_kinds_and_sizes_are_refused(one, tmp_path):
    with pytest.raises(ValueError, match="a mesh of kind '.stl', wanted a name that ends in .glb, .ply, .obj"):
        write_mesh(tmp_path / "a.stl", TETRAHEDRON)
    with pytest.raises(ValueError, match="resolution: got 8, wanted 16 to 512"):
        one.mesh(8)


def test_a_render_and_an_interpolation_are_kept_folders(trained, tmp_path):
    lines, look = [], Look(16, 3, "gif")
    asked = {"output": tmp_path / "r", "look": look, "tell": lines.append, "cameras": "swing"}
    first = uses.render_avatar(trained.path, one_request(subject=CONFIG.train_subjects()[0]), **asked)
    assert [path.name for path in first["pictures"]] == ["swing.gif"]
    with Image.open(first["pictures"][0]) as film:
        assert (film.size, film.n_frames) == ((16, 16), 3)
    again = uses.render_avatar(trained.path, one_request(subject=CONFIG.train_subjects()[0]), **asked)
    assert (again, lines) == (first, [f"{tmp_path / 'r'}: this very avatar is there already and kept"])
    ends = [one_request(seed=1), one_request(subject=CONFIG.train_subjects()[0])]
    made = uses.interpolate_avatars(trained.path, ends, steps=3, look=look, output=tmp_path / "i")
    assert made == uses.interpolate_avatars(trained.path, ends, steps=3, look=look, output=tmp_path / "i")
    with Image.open(made["sheet"]) as sheet:
        assert sheet.size == (480, 184)
    assert json.loads(Path(made["metadata"]).read_text())["between"] == 3
    mesh = {"resolution": 16, "output": tmp_path / "m.txt"}
    with pytest.raises(ValueError, match="a mesh of kind '.txt'"):
        uses.mesh_avatar(trained.path, ends[0], **mesh)
