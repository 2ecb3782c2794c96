"""What is refused before any model is loaded, and saved avatars that are damaged."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from rodin import Rodin
from rodin.generate import requests, uses
from rodin.generate.cascade import Avatars
from rodin.generate.changes import check_way
from rodin.generate.condition import one_request
from rodin.generate.export import METADATA, PLANES, check_export
from rodin.generate.inversion import InversionSettings
from rodin.generate.look import Look
from rodin.generate.options import SamplingOptions
from rodin.generate.texts import checked_text

SMALL = Look(16, 1, "png")


@pytest.fixture
def unloaded(monkeypatch):
    """No network can be called."""
    for name in ("clip", "base", "decoder"):
        monkeypatch.setattr(Avatars, name, property(lambda _: pytest.fail("a model was loaded")))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda run, out: requests.edit_avatar(run, subject="../x", target="a man", output=out), "subject: got '../x'"),
        (lambda run, out: requests.edit_avatar(run, saved=run, target="a man", output=out), "no saved avatar there"),
        (lambda run, out: requests.edit_avatar(run, target="a man", strength=5.1, output=out), "strength: got 5.1"),
        (lambda run, out: uses.render_avatar(run, one_request(subject="x"), output=out), "subject: got 'x'"),
        (
            lambda run, out: uses.mesh_avatar(run, one_request(), faces=99, output=out.with_suffix(".glb")),
            "faces: got 99",
        ),
        (
            lambda run, out: uses.interpolate_avatars(run, [one_request(), one_request(saved=run)], output=out),
            "no saved avatar there",
        ),
        (lambda run, out: Rodin(run).edit("me.png", "a man", strength=float("nan")), "strength: got nan"),
        (lambda run, out: Rodin(run).sample(count=0), "count: got 0"),
        (lambda run, out: Rodin(run).sample(count=1.5), "count: got 1.5"),
        (
            lambda run, out: Rodin(run).sample(seed=1.5),
            "seed: got 1.5, wanted a whole number, 0 to 9",
        ),
        (
            lambda run, out: Rodin(run, options=SamplingOptions(steps=2.5)),
            "steps: got 2.5, wanted a whole number",
        ),
        (lambda run, out: InversionSettings(latent_steps=1.5), "latent steps: got 1.5, wanted a whole number"),
        (lambda run, out: Look(size=64.5), "size: got 64.5, wanted a whole number, 16 to 1024"),
        (lambda run, out: check_way(2, 2.5, "slerp"), "steps: got 2.5, wanted a whole number, 2 to 1000 from"),
        (lambda run, out: Rodin(run).from_image(None), "image: got NoneType, wanted a file's path, a PIL image or a"),
        (lambda run, out: Rodin(run).from_image([1]), "image: got list, wanted"),
        (lambda run, out: Rodin(run, "cuda:99"), "device: got 'cuda:99', wanted one such as 'cpu' or 'cuda:0'"),
        (lambda run, out: Rodin(run, "banana"), "device: got 'banana', wanted"),
        (lambda run, out: Rodin(run, "meta"), "device: got 'meta', wanted"),
        (lambda run, out: requests.sample_avatar(run, text="\u200b \u00ad", output=out), "text is empty"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(trained, tmp_path, unloaded, ask, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ask(trained.path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_marks_of_format_within_words_are_read():
    assert checked_text("text", "a wo\u00adman") == "a wo\u00adman"


@pytest.fixture(scope="module")
def avatar(trained):
    return Rodin(trained.path, "cpu").sample(seed=1)


@pytest.mark.parametrize(
    ("show", "message"),
    [
        (lambda one: one.render(views=0), "views: got 0"),
        (lambda one: one.render(views=-1, size=16), "views: got -1"),
        (lambda one: one.render("swing", views=721), "views: got 721"),
        (lambda one: one.mesh(32, faces=99), "faces: got 99"),
        (lambda one: one.mesh(32, faces=200.5), "faces: got 200.5"),
        (lambda one: one.mesh(32.5), "resolution: got 32.5, wanted a whole number, 16 to 512 grid points"),
        (lambda one: one.cameras("ring", 0), "views: got 0, wanted 1 or more"),
    ],
)
def test_numbers_out_of_range_are_refused_before_anything_is_rendered(avatar, monkeypatch, show, message):
    monkeypatch.setattr(Avatars, "render", lambda *_: pytest.fail("something was rendered"))
    with pytest.raises(ValueError, match=message):
        show(avatar)


DAMAGE = {
    "planes of another side": (lambda one: one | {"planes": one["planes"][..., :8]}, "planes of shape"),
    "planes flat": (lambda one: one | {"planes": one["planes"].flatten()}, "planes of shape"),
    "planes not finite": (lambda one: one | {"planes": one["planes"] * float("nan")}, "planes with values that are no"),
    "no planes": (lambda one: {"latent": one["latent"]}, "'planes'"),
    "a short latent": (lambda one: one | {"latent": one["latent"][:3].clone()}, "latent of shape"),
    "a latent not finite": (lambda one: one | {"latent": one["latent"] / 0}, "latent with values that are no numbers"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_an_avatar_with_other_tensors_is_damaged(trained, avatar, tmp_path, damage):
    avatar.save(tmp_path / "me", look=SMALL)
    spoil, message = DAMAGE[damage]
    save_file(
        {name: one.contiguous() for name, one in spoil(load_file(tmp_path / "me" / PLANES)).items()},
        tmp_path / "me" / PLANES,
    )
    with pytest.raises(ValueError, match=f"me: the avatar there is damaged .{message}.*make it again"):
        Rodin(trained.path, "cpu").load(tmp_path / "me")


@pytest.mark.parametrize("change", [{"seed": 2**70}, {"seed": -1}, {"seed": 1.5}, {"seed": "1"}, {"models": []}])
def test_an_avatar_with_other_metadata_is_damaged(trained, avatar, tmp_path, change):
    avatar.save(tmp_path / "me", look=SMALL)
    about = json.loads((tmp_path / "me" / METADATA).read_text())
    for text in (json.dumps(about | change), "[" * 100_000, "1e400"):
        (tmp_path / "me" / METADATA).write_text(text)
        with pytest.raises(ValueError, match="the avatar there is damaged"):
            Rodin(trained.path, "cpu").load(tmp_path / "me")


def test_an_avatar_of_another_run_is_told_as_such_whatever_its_shapes(trained, avatar, tmp_path):
    avatar.save(tmp_path / "me", look=SMALL)
    save_file({"planes": torch.zeros(3, 2, 8, 8)}, tmp_path / "me" / PLANES)
    about = json.loads((tmp_path / "me" / METADATA).read_text())
    other = about | {"models": {"decoder": {"decoder.pt": "0"}}, "run": "/theirs"}
    (tmp_path / "me" / METADATA).write_text(json.dumps(other))
    with pytest.raises(ValueError, match="me: an avatar of another run's decoder ./theirs.; give that run"):
        Rodin(trained.path, "cpu").load(tmp_path / "me")


def test_an_avatar_without_a_latent_is_whole(trained, avatar, tmp_path):
    dataclasses.replace(avatar, latent=None).save(tmp_path / "me", look=SMALL)
    again = Rodin(trained.path, "cpu").load(tmp_path / "me")
    assert again.latent is None
    assert torch.equal(again.planes, avatar.planes.half().float())


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    "about", ['{"title": "my data"}', "[1]", "{", "[" * 100_000, '{"generator": "rodin-suite", "files": []}']
)
def test_a_folder_of_others_with_metadata_is_not_replaced(trained, tmp_path, unloaded, about):
    (tmp_path / METADATA).write_text(about)
    (tmp_path / "thesis.tex").write_text("years of work")
    before = files(tmp_path)
    with pytest.raises(ValueError, match="its metadata.json is not an avatar's; wanted a new folder"):
        requests.sample_avatar(trained.path, output=tmp_path)
    assert files(tmp_path) == before


def test_an_avatar_with_files_of_others_beside_it_is_not_replaced(avatar, tmp_path):
    avatar.save(tmp_path / "me", look=SMALL)
    avatar.save(tmp_path / "me", look=Look(24, 1, "png"))  # an earlier one alone is
    (tmp_path / "me" / f".{'0' * 32}.png").touch()  # what a killed command left, too
    check_export(tmp_path / "me")
    (tmp_path / "me" / "notes.txt").write_text("mine")
    before = files(tmp_path / "me")
    with pytest.raises(ValueError, match="holds 'notes.txt' beside an avatar's files; move it away"):
        avatar.save(tmp_path / "me", look=SMALL)
    assert files(tmp_path / "me") == before
