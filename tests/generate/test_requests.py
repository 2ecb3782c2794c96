"""Avatars on request: from a text, from a picture, edited; and what is refused."""

import json
import os

import numpy as np
import pytest
import torch
import trimesh
from fixtures.small_run import CONFIG
from PIL import Image

from rodin.bench.sampling import bench_run, every_sample, halves_apart
from rodin.field import cameras
from rodin.generate import requests
from rodin.generate.api import Rodin
from rodin.generate.condition import avatar_requests
from rodin.generate.edits import GENERAL_TEXTS, moved
from rodin.generate.export import is_exported
from rodin.generate.look import render_samples, shown_side
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.generate.taken import taken
from rodin.store.run_folder import RunFolder

SIDE = shown_side(CONFIG)


def test_an_avatar_from_a_text_is_a_folder_that_says_what_it_is(trained, tmp_path):
    out = tmp_path / "me"
    told = []
    made = requests.sample_avatar(
        trained.path, text="a person with red hair", seed=4, output=out, progress=lambda *what: told.append(what)
    )
    about = json.loads((out / "metadata.json").read_text())
    assert about["generated"] is True
    assert about["prompt"] == "a person with red hair"
    assert about["seed"] == 4
    assert set(about["models"]) == {"clip", "decoder", "base", "upsample", "refine", "latent", "prior"}
    assert len(about["models"]["base"]["model.pt"]) == 64
    with Image.open(made["views"][0]) as picture:
        assert picture.size == (SIDE,) * 2
        assert json.loads(picture.text["generated"])["generated"] is True
    with Image.open(made["turntable"]) as frames:
        assert frames.n_frames > 1
        assert b"generated" in frames.info["comment"]
    if made["mesh"] is not None:
        assert len(trimesh.load(made["mesh"], force="mesh").faces)
    assert (CONFIG.base.diffusion.sampling_steps,) * 2 in [what[:2] for what in told]
    assert told[-1][0] == told[-1][1]
    again = requests.sample_avatar(trained.path, text="a person with red hair", seed=4, output=out)
    assert again["views"][0].read_bytes() == made["views"][0].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["me"]


def portrait(path, ground):
    """A picture of a red shirt and a head, before a background of one colour."""
    picture = Image.new("RGB", (60, 60), ground)
    picture.paste((200, 20, 30), (10, 40, 50, 60))
    picture.paste((205, 150, 120), (20, 10, 40, 40))
    picture.save(path)


def test_a_portrait_s_background_does_not_change_the_person(trained, tmp_path):
    rodin, latents, kept = Rodin(trained.path, "cpu"), [], []
    for ground in ((255, 255, 255), (40, 90, 200), (40, 180, 70), (128, 128, 128)):
        portrait(tmp_path / "me.png", ground)
        for background, found in ((None, latents), ("none", kept)):
            found.append(rodin.latents(avatar_requests([], [tmp_path / "me.png"], 0, 1, background))[0])
    alike = torch.stack(latents) @ latents[0]
    assert alike.min() > 0.999
    assert (torch.stack(kept) @ kept[0])[1:].max() < alike.min()
    assert torch.equal(latents[0], kept[0])


def test_an_edit_moves_the_avatar_and_keeps_what_was_before(trained, tmp_path):
    portrait(tmp_path / "me.png", (40, 90, 200))
    out = tmp_path / "out"
    made = requests.edit_avatar(trained.path, image=tmp_path / "me.png", target="a person with blue hair", output=out)
    names = [path.name for path in made["views"]]
    assert names == ["avatar-00.png", "avatar-01.png", "before-00.png", "before-01.png"]
    about = json.loads((out / "metadata.json").read_text())
    assert (about["from"], about["image"], about["target"]) == ("image", "me.png", "a person with blue hair")
    assert about["source"] == list(GENERAL_TEXTS)


def pixels(paths):
    return [Image.open(path).tobytes() for path in paths]


def test_an_edit_keeps_the_noise_and_moves_the_latent_alone(trained, tmp_path):
    text, target, source = "a person with red hair", "a person in a green shirt", "a person in a blue shirt"
    made = requests.edit_avatar(trained.path, text=text, target=target, source=source, seed=6, output=tmp_path / "e")
    views = {path.name: path for path in made["views"]}
    alone = requests.sample_avatar(trained.path, text=text, seed=6, output=tmp_path / "s")
    assert pixels(views[f"before-0{view}.png"] for view in range(2)) == pixels(alone["views"])
    rodin = Rodin(trained.path, "cpu")
    (first,) = rodin.models.prior_latents([text], [6])
    latent, tried = moved(rodin.models, first, target, [source], 1.0)
    changed, before = rodin.sampled(torch.stack([latent, first]), [6, 6])
    change = changed - before if tried is None else taken(before, changed - before, *tried, rodin.models.decoder)
    planes = (before + change).clamp(-1, 1)
    poses = cameras.ring(2, radius=CONFIG.data.camera_radius)
    lens, samples = cameras.pinhole(SIDE, CONFIG.data.fov_degrees), render_samples(CONFIG, SIDE)
    seen = rodin.models.render(planes, poses, lens, SIDE, samples)
    for view in range(2):
        with Image.open(views[f"avatar-0{view}.png"]) as picture:
            assert np.abs(np.asarray(picture).astype(int) - seen[view]).max() <= 1


def test_options_reach_the_models_and_the_metadata(trained):
    changed = SamplingOptions(guidance_scale=4.0, steps=7, precision="bfloat16").config(CONFIG)
    assert (changed.sample.guidance_scale, changed.sample.precision) == (4.0, "bfloat16")
    for stage in (changed.base, changed.upsample):
        assert (stage.diffusion.sampler, stage.diffusion.sampling_steps) == ("ddim", 7)
    assert SamplingOptions().config(CONFIG) == CONFIG
    metadata = {"guidance_scale": 4.0, "sampler": "ddim", "steps": 7, "precision": "bfloat16"}
    assert {key: value for key, value in sampling_metadata(changed).items() if key != "settings"} == metadata


def test_an_export_that_lacks_a_file_or_is_of_another_avatar_is_made_again(trained, tmp_path):
    made = requests.sample_avatar(trained.path, seed=3, output=tmp_path / "me")
    metadata = json.loads(made["metadata"].read_text())
    files = metadata.pop("files")
    assert set(files) >= {path.name for path in (*made["views"], made["turntable"])}
    assert is_exported(tmp_path / "me", metadata)
    assert not is_exported(tmp_path / "me", metadata | {"seed": 4})
    made["views"][1].unlink()
    assert not is_exported(tmp_path / "me", metadata)
    assert not is_exported(tmp_path / "nothing", metadata)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (requests.sample_avatar, {"text": "  "}, "text is empty"),
        (requests.sample_avatar, {"text": "red \udcff"}, r"text: got 'red \\udcff', which is not UTF-8"),
        (requests.sample_avatar, {"text": "red\0hair"}, r"text: got a control character, '\\x00'"),
        (requests.sample_avatar, {"text": "<END_of_text> hair"}, "text: got <end_of_text>"),
        (requests.sample_avatar, {"text": "&nbsp;"}, "text: got '&nbsp;', in which the tokenizer finds no word"),
        (requests.sample_avatar, {"text": "red " * 600}, "text: got 2400 characters, wanted at most 2000"),
        (requests.sample_avatar, {"seed": -1}, "seed: got -1, wanted 0 to 9223372036854775807"),
        (requests.sample_avatars, {"seed": 2**63 - 1, "count": 2}, "seed: got 9223372036854775807, wanted 0 to 92"),
        (requests.sample_avatars, {"texts": ["a", "b"], "count": 5001}, "count: got 10002 avatars in all"),
        (requests.sample_avatar, {"options": {"guidance_scale": 0.0}}, "guidance scale: got 0.0"),
        (requests.sample_avatar, {"options": {"guidance_scale": float("nan")}}, "guidance scale: got nan"),
        (requests.sample_avatar, {"options": {"guidance_scale": 100.1}}, "up to 100"),
        (requests.sample_avatar, {"options": {"steps": 1001}}, "steps: got 1001, wanted 1 to 1000"),
        (requests.sample_avatar, {"options": {"precision": "float8"}}, "precision: got 'float8'"),
        (requests.sample_avatars, {"texts": ["a", " "]}, "text is empty"),
        (requests.sample_avatars, {"texts": ["a"], "images": ["b"]}, "both a text and an image"),
        (requests.sample_avatar, {"text": "a", "background": "white"}, "the background 'white' but no image"),
        (requests.sample_avatars, {"count": 0}, "count: got 0"),
        (requests.edit_avatar, {"target": "x", "source": "x"}, "nothing would change"),
        (requests.edit_avatar, {"target": ""}, "target text is empty"),
        (requests.edit_avatar, {"target": "x", "source": ["y", ""]}, "source text is empty"),
        (requests.edit_avatar, {"target": "x", "strength": 0.0}, "strength: got 0, wanted a number over 0 and up to 5"),
        (requests.edit_avatar, {"target": "x", "text": "a", "subject": "000001"}, "got a text and a subject"),
        (
            requests.edit_avatar,
            {"target": "x", "subject": "nobody"},
            "subject: got 'nobody', wanted the id of a fitted",
        ),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(trained, tmp_path, command, arguments, message):
    def ask(options=None, **others):
        command(trained.path, output=tmp_path / "out", options=SamplingOptions(**(options or {})), **others)

    with pytest.raises(ValueError, match=message) as told:
        ask(**arguments)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_and_what_is_not_ours_is_left_alone(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such picture"):
        requests.sample_avatar(trained.path, image=tmp_path / "none.png", output=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        requests.sample_avatar(tmp_path, output=tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        requests.sample_avatar(trained.path, output=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_a_picture_s_name_need_not_be_utf_8(trained, tmp_path):
    path = tmp_path / os.fsdecode(b"me\xff.png")
    portrait(path, (40, 90, 200))
    made = requests.sample_avatar(trained.path, image=path, output=tmp_path / os.fsdecode(b"out\xff"))
    assert json.loads(made["metadata"].read_text())["image"] == "me\\xff.png"


@pytest.mark.usefixtures("small_pictures")
def test_many_avatars_are_a_folder_each_and_the_same_as_alone(trained, tmp_path):
    out, told, texts = tmp_path / "crowd", [], ["a person with red hair", "a person in a green shirt"]
    options = SamplingOptions(guidance_scale=2.0, steps=2)
    made = requests.sample_avatars(
        trained.path,
        texts=texts,
        seed=7,
        count=2,
        output=out,
        options=options,
        progress=lambda *what: told.append(what),
    )
    assert [one["output"].name for one in made] == ["0000", "0001", "0002", "0003"]
    abouts = [json.loads(one["metadata"].read_text()) for one in made]
    assert [(about["prompt"], about["seed"]) for about in abouts] == [(text, seed) for text in texts for seed in (7, 8)]
    assert {(about["sampler"], about["steps"], about["precision"]) for about in abouts} == {("ddim", 2, "float32")}
    assert told[-1][0] == told[-1][1]
    alone = requests.sample_avatar(trained.path, text=texts[1], seed=8, output=tmp_path / "one", options=options)
    for ours, theirs in zip(made[3]["views"], alone["views"], strict=True):
        with Image.open(ours) as left, Image.open(theirs) as right:
            assert left.tobytes() == right.tobytes()


@pytest.mark.usefixtures("small_pictures")
def test_many_avatars_go_on_where_they_stopped(trained, tmp_path):
    out = tmp_path / "crowd"

    def stop(done, total, note):
        if note.startswith("2 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        requests.sample_avatars(trained.path, count=3, output=out, progress=stop)
    assert sorted(path.name for path in out.iterdir()) == ["0000", "0001"]
    before = (out / "0001" / "metadata.json").stat().st_mtime_ns
    made = requests.sample_avatars(trained.path, count=3, output=out)
    assert len(made) == 3
    assert (out / "0001" / "metadata.json").stat().st_mtime_ns == before
    requests.sample_avatars(trained.path, count=3, output=out, options=SamplingOptions(steps=1))
    assert (out / "0001" / "metadata.json").stat().st_mtime_ns != before
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds notes.txt"):
        requests.sample_avatars(trained.path, count=3, output=out)


def test_the_cascade_is_timed_part_by_part(trained):
    rows = bench_run(CONFIG, RunFolder(trained.path), 2, lambda *what: None, repeats=1)
    base = next(row for row in rows if row["name"].startswith("base"))
    assert base["baseline"] == "guidance halves in two batches"
    assert base["ratio"] == pytest.approx(base["baseline_value"] / base["value"])
    parts = [row["value"] for row in rows[:-1] if not row["name"].startswith(("latent from a text", "render"))]
    assert rows[-1]["value"] == pytest.approx(sum(parts))


def test_the_baselines_of_the_bench_make_the_same(avatars):
    latents = avatars.latents_unconditional([1])
    together, apart = avatars.low_planes(latents, [1], 2.0), halves_apart(avatars, latents, [1], 2.0)
    assert torch.allclose(together, apart, atol=1e-4)
    planes = avatars.upsampled(together, latents, [1])[0]
    ours = avatars.turn(planes, CONFIG.sample.views, CONFIG.sample.resolution)
    assert every_sample(avatars, planes).shape == ours.shape
