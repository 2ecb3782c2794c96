"""Avatars saved before: their noise in a second edit, what tells two requests apart, and folders that are links."""

import functools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from rodin.generate import requests, uses
from rodin.generate.api import Rodin
from rodin.generate.condition import one_request
from rodin.generate.export import METADATA
from rodin.generate.look import Look
from rodin.generate.options import SamplingOptions, sampling_metadata


@pytest.mark.parametrize(
    ("key", "value", "other"),
    [
        ("prior.rerank", 3, True),
        ("prior.best_of", 3, True),
        ("prior.guidance_scale", 2.5, True),
        ("latent.diffusion.clip_std", 2.0, True),
        ("upsample.diffusion.clip", "std", True),
        ("sample.main_body", not CONFIG.sample.main_body, True),
        ("sample.render_samples", 7, True),
        ("sample.mesh_resolution", 20, True),
        ("sample.unconditional", 99, False),
        ("evaluate.subjects", 1, False),
    ],
)
def test_an_avatar_s_metadata_tells_apart_settings_that_change_it(key, value, other):
    data = CONFIG.model_dump(mode="json")
    *sections, last = key.split(".")
    functools.reduce(dict.get, sections, data)[last] = value
    changed = type(CONFIG).model_validate(data)
    assert (sampling_metadata(changed) != sampling_metadata(CONFIG)) is other


def test_a_saved_avatar_keeps_the_seed_of_its_noise(trained, tmp_path):
    """The one of the saved folder, edited twice: by its own noise, and as in one process."""
    named = {"look": Look(16, 1, "png"), "target": "red"}
    requests.sample_avatar(trained.path, seed=3, output=tmp_path / "a", look=Look(16, 1, "png"))
    requests.edit_avatar(trained.path, saved=tmp_path / "a", output=tmp_path / "b", **named)
    assert json.loads((tmp_path / "b" / METADATA).read_text())["seed"] == 3
    requests.edit_avatar(trained.path, saved=tmp_path / "b", output=tmp_path / "c", **named | {"target": "blue"})
    rodin = Rodin(trained.path)
    here = rodin.edit(rodin.edit(rodin.sample(seed=3), "red"), "blue")
    torch.testing.assert_close(rodin.load(tmp_path / "c").planes, here.planes, atol=2e-3, rtol=0)
    assert one_request(subject="x").seed == 0
    for named_one in ({"subject": "x"}, {"saved": tmp_path / "a"}):
        with pytest.raises(ValueError, match="seed: got 4 for .* that is there already, with its own; leave it out"):
            one_request(seed=4, **named_one)


def test_what_was_measured_of_an_avatar_is_not_told_of_its_edit(trained):
    rodin = Rodin(trained.path)
    one = replace(rodin.sample(seed=1), provenance={"from": "image", "seed": 1, "measured": {"after": {"psnr": 20.0}}})
    assert "measured" not in rodin.edit(one, "red").provenance


def test_an_edit_of_an_edit_tells_both(trained, tmp_path):
    rodin, look = Rodin(trained.path), Look(16, 1, "png")
    one = rodin.edit(rodin.sample(text="a man", seed=3), "red hair", strength=2)
    two = rodin.edit(replace(one, provenance={**one.provenance, "measured": 1}), "green shirt", source="a man")
    assert two.provenance["of"] == one.provenance
    assert (one.provenance["prompt"], one.provenance["target"], one.provenance["strength"]) == ("a man", "red hair", 2)
    two.save(tmp_path / "two", look=look)
    three = rodin.edit(rodin.load(tmp_path / "two"), "a hat")
    three.save(tmp_path / "three", look=look)
    told = json.loads((tmp_path / "three" / METADATA).read_text())
    assert [told["target"], told["of"]["target"], told["of"]["of"]["target"]] == ["a hat", "green shirt", "red hair"]
    assert (told["seed"], told["from"]) == (3, "text")


def test_numbers_of_numpy_are_saved_as_numbers(trained, tmp_path):
    options = SamplingOptions(guidance_scale=np.float32(2), steps=np.int64(2))
    rodin, look = Rodin(trained.path, options=options), Look(np.int64(16), np.int64(1), "png")
    one = rodin.edit(rodin.sample(seed=np.int64(3)), "red", strength=np.float32(1.5))
    one.save(tmp_path / "one", look=look)
    told = json.loads((tmp_path / "one" / METADATA).read_text())
    wanted = {"size": 16, "views": 1, "strength": 1.5, "guidance_scale": 2, "steps": 2, "seed": 3}
    assert {key: told[key] for key in wanted} == wanted
    ends, named = [one_request(seed=1), one_request(saved=tmp_path / "one")], {"output": tmp_path / "way", "look": look}
    for _ in range(2):  # made, and kept
        told = []
        uses.interpolate_avatars(trained.path, ends, steps=np.int64(2), tell=told.append, **named)
    assert told == [f"{tmp_path / 'way'}: this very avatar is there already and kept"]


def test_a_link_as_output_stays_one_and_the_avatar_read_is_not_replaced(trained, tmp_path):
    look = Look(16, 1, "png")
    (tmp_path / "scratch").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "scratch")
    for seed in (1, 2):
        requests.sample_avatar(trained.path, seed=seed, output=tmp_path / "link", look=look)
        assert (tmp_path / "link").is_symlink()
        assert json.loads((tmp_path / "scratch" / METADATA).read_text())["seed"] == seed
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "scratch"]
    with pytest.raises(ValueError, match="holds the avatar that is read, and would be replaced"):
        uses.render_avatar(trained.path, one_request(saved=tmp_path / "scratch"), output=tmp_path / "link", look=look)
