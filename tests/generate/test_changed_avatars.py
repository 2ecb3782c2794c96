"""Edits and interpolations against what they say they are: latents and planes by formula, frames by their greys."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from rodin import Rodin
from rodin.generate import changes, edits
from rodin.generate.avatar import Avatar
from rodin.generate.cascade import Avatars
from rodin.generate.edits import direction, moved, people_latents
from rodin.generate.latents import unit
from rodin.generate.look import Look
from rodin.generate.morph import save_interpolation
from rodin.generate.taken import taken

TARGET, SOURCE = "a person with red hair", "a photo of a person"


@pytest.fixture(scope="module")
def rodin(trained):
    return Rodin(trained.path, "cpu")


def test_an_edit_goes_as_far_as_is_asked_and_is_tried_on_other_people(rodin, monkeypatch):
    asked = []
    monkeypatch.setattr(edits, "WITNESSES", 3)
    monkeypatch.setattr(
        Avatars, "predicted", lambda self, latents, seeds: asked.append(list(seeds)) or latents[:, None]
    )
    models = rodin.models
    target, source = models.clip.text([TARGET, SOURCE])[0]
    people = people_latents(models)
    along, latent = direction(source[None], target, people), unit(torch.arange(1.0, len(target) + 1))
    changed, (before, after) = moved(models, latent, TARGET, [SOURCE], 0.5)
    torch.testing.assert_close(changed, unit(latent + 0.5 * along))
    assert len(people) == 5
    torch.testing.assert_close(before[:, 0], people[[0, 2, 4]])
    torch.testing.assert_close(after[:, 0], unit(people[[0, 2, 4]] + 0.5 * along))
    assert asked == [[0, 1, 2]] * 2
    for witnesses in (5, 6):
        monkeypatch.setattr(edits, "WITNESSES", witnesses)
        assert (moved(models, latent, TARGET, [SOURCE], 0.5)[1] is None) == (witnesses > len(people))


@pytest.mark.parametrize("witnesses", [6, 3])  # of five people: too few, and enough
def test_an_edit_adds_what_is_taken_of_the_models_change_to_the_avatar_s_own_planes(rodin, monkeypatch, witnesses):
    monkeypatch.setattr(edits, "WITNESSES", witnesses)
    one = rodin.sample(seed=3)
    latent, tried = moved(rodin.models, one.latent, TARGET, [SOURCE], 1.0)
    assert (tried is None) == (witnesses == 6)
    after, before = (rodin.sampled(where[None], [3])[0] for where in (latent, one.latent))
    change = after - before
    if tried is not None:
        change = taken(before, change, *tried, rodin.models.decoder)
        assert (change - (after - before)).abs().max() > 0.01
    assert change.abs().max() > 0.01
    given = []
    monkeypatch.setattr(changes, "taken", lambda *what: given.append(what[0]) or taken(*what))
    for own in (0.0, 0.2):
        marked = replace(one, planes=(one.planes + own).clamp(-1, 1))
        edited = rodin.edit(marked, TARGET, source=SOURCE)
        torch.testing.assert_close(edited.latent, latent)
        torch.testing.assert_close(edited.planes, (marked.planes + change).clamp(-1, 1), atol=1e-5, rtol=0)
    assert all(torch.equal(planes, before) for planes in given)  # solid where the avatar is, before its change
    assert len(given) == (0 if tried is None else 2)


@pytest.mark.parametrize("how", ["slerp", "lerp"])
def test_a_quarter_of_the_way_an_avatar_has_a_quarter_of_what_the_models_do_not_know(rodin, how):
    latents = unit(torch.randn(3, rodin.models.latent_width, generator=torch.Generator().manual_seed(0)))
    drawn = rodin.sampled(latents, [3, 8, 5])
    own = torch.tensor([0.05, -0.1, 0.2])[:, None, None, None, None]  # what the ends have of their own
    ends = [
        Avatar(rodin.models, planes, latent, seed, {"from": "nothing"})
        for planes, latent, seed in zip((drawn + own).clamp(-1, 1), latents, (3, 8, 5), strict=True)
    ]
    path = rodin.interpolate(*ends, steps=5, how=how)
    assert [path[place] for place in (0, 4, 8)] == ends

    def known(latent: torch.Tensor) -> torch.Tensor:
        return rodin.sampled(latent[None], [3])[0]  # the noise of the first end

    for place, first, last, share in ((1, 0, 1, 0.25), (7, 1, 2, 0.75)):
        a, b = latents[first], latents[last]
        angle = math.acos(float(a @ b))
        weights = 1 - share, share
        if how == "slerp":
            weights = tuple(math.sin(weight * angle) / math.sin(angle) for weight in weights)
        wanted = weights[0] * a + weights[1] * b
        torch.testing.assert_close(path[place].latent, wanted / wanted.norm(), atol=1e-5, rtol=0)
        left, right = (ends[end].planes - known(latents[end]) for end in (first, last))
        assert (left - right).abs().max() > 0.1
        planes = known(path[place].latent) + (1 - share) * left + share * right
        torch.testing.assert_close(path[place].planes, planes.clamp(-1, 1), atol=1e-5, rtol=0)


def test_frames_between_avatars_show_planes_between_theirs(rodin, tmp_path, monkeypatch):
    asked = []

    def grey(self, planes, camera_to_world, intrinsics, resolution, samples=None):
        asked.append((resolution, camera_to_world[0].tolist()))
        shown = np.full((1, resolution, resolution, 4), 255, np.uint8)
        shown[..., :3] = round(255 * float(planes.mean()))
        return shown

    monkeypatch.setattr(Avatars, "render", grey)
    ends = [Avatar(rodin.models, torch.full((3, 4, 8, 8), share), None, 0, {}) for share in (0.2, 0.8, 0.4)]
    save_interpolation(ends, tmp_path / "i", {}, Look(16, 8, "png"))

    def greys(name: str) -> list[float]:
        found = sorted((tmp_path / "i").glob(f"{name}-*.png"))
        return [np.asarray(Image.open(path))[..., :3].mean() / 255 for path in found]

    quarter = 1 - math.cos(math.pi / 4)  # of the way from one to the next, at one eighth of the time
    there = [0.2, 0.2 + 0.6 * quarter, 0.8, 0.4 + 0.4 * quarter, 0.4]
    for name in ("morph", "turning"):
        assert greys(name) == pytest.approx(there + there[-2:0:-1], abs=0.01)
    with Image.open(tmp_path / "i" / "sheet.png") as sheet:
        assert [sheet.getpixel((160 * place + 80, 80))[0] / 255 for place in range(3)] == pytest.approx(
            [0.2, 0.8, 0.4], abs=0.01
        )
    front, cameras = asked[0][1], [camera for side, camera in asked[3:] if side == 16]
    assert [camera == front for camera in cameras] == [True] * 9 + [False] * 7
    assert len({str(camera) for camera in cameras[8:]}) == 8
