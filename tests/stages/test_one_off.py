"""Avatars on request: from a text, from a picture, edited; and what is refused."""

import json

import pytest
import trimesh
from oracles.small_run import CONFIG
from PIL import Image

from rodin.stages import one_off


def test_an_avatar_from_a_text_is_a_folder_that_says_what_it_is(trained, tmp_path):
    out = tmp_path / "me"
    told = []
    made = one_off.sample_command(
        trained.path, text="a person with red hair", seed=4, output=out, progress=lambda *what: told.append(what)
    )
    about = json.loads((out / "metadata.json").read_text())
    assert about["generated"] is True
    assert about["prompt"] == "a person with red hair"
    assert about["seed"] == 4
    assert set(about["models"]) == {"clip", "decoder", "base", "upsample", "latent", "prior"}
    assert len(about["models"]["base"]["model.pt"]) == 64
    with Image.open(made["views"][0]) as picture:
        assert picture.size == (CONFIG.sample.resolution,) * 2
        assert json.loads(picture.text["generated"])["generated"] is True
    with Image.open(made["turntable"]) as frames:
        assert frames.n_frames > 1
        assert b"generated" in frames.info["comment"]
    if made["mesh"] is not None:
        assert len(trimesh.load(made["mesh"], force="mesh").faces)
    assert told[-1][:2] == (CONFIG.base.diffusion.sampling_steps,) * 2
    again = one_off.sample_command(trained.path, text="a person with red hair", seed=4, output=out)
    assert again["views"][0].read_bytes() == made["views"][0].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["me"]


def test_an_edit_moves_the_avatar_and_keeps_what_was_before(trained, tmp_path):
    Image.new("RGB", (50, 40), (90, 30, 30)).save(tmp_path / "me.png")
    out = tmp_path / "out"
    made = one_off.edit_command(trained.path, image=tmp_path / "me.png", target="a person with blue hair", output=out)
    names = [path.name for path in made["views"]]
    assert names == ["avatar-00.png", "avatar-01.png", "before-00.png", "before-01.png"]
    about = json.loads((out / "metadata.json").read_text())
    assert (about["from"], about["image"], about["target"]) == ("image", "me.png", "a person with blue hair")
    assert about["source"] == list(one_off.GENERAL_TEXTS)


@pytest.mark.parametrize(
    ("command", "arguments", "message"),
    [
        (one_off.sample_command, {"text": "  "}, "text: got an empty one"),
        (one_off.sample_command, {"guidance_scale": 0.0}, "guidance scale: got 0.0"),
        (one_off.edit_command, {"target": "x", "source": "x"}, "nothing would change"),
        (one_off.edit_command, {"target": ""}, "target text: got an empty one"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(trained, tmp_path, command, arguments, message):
    with pytest.raises(ValueError, match=message) as told:
        command(trained.path, output=tmp_path / "out", **arguments)
    assert "\n" not in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_there_and_what_is_not_ours_is_left_alone(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="no such picture"):
        one_off.sample_command(trained.path, image=tmp_path / "none.png", output=tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="not a run folder"):
        one_off.sample_command(tmp_path, output=tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match="holds other files"):
        one_off.sample_command(trained.path, output=tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"
