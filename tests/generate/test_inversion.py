"""The parts of an inversion: what it measures, and that that camera, latent and planes are each found."""

import numpy as np
import pytest
import torch
from fixtures.coloured_people import picture
from fixtures.plain_decoder import plain_decoder
from fixtures.small_run import CONFIG
from PIL import Image

from rodin.field import cameras
from rodin.generate.cascade import Avatars
from rodin.generate.inversion import Inversion, InversionSettings
from rodin.generate.latents import unit

SIDE, SMALL = 32, 12


class Unlike:
    """In place of LPIPS: the mean difference of two pictures, which must lie in [0, 1]."""

    def distance(self, images, truth):
        assert images.shape[1] == truth.shape[1] == 3
        assert images.min() >= 0
        assert images.max() <= 1
        return (images - truth).abs().mean(dim=(1, 2, 3))


@pytest.fixture
def models(avatars):
    """Models of this test alone, whose planes are seen clearly."""
    models = Avatars(CONFIG, avatars.folder, torch.device("cpu"))
    models.__dict__["decoder"] = plain_decoder()
    return models


def random(*shape: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 1, shape).astype(np.float32)


def smaller(image: np.ndarray) -> np.ndarray:
    """An image [S, S, K] float32 at side SMALL, by Pillow."""
    parts = [
        Image.fromarray(part).resize((SMALL, SMALL), Image.Resampling.BILINEAR) for part in np.moveaxis(image, -1, 0)
    ]
    return np.stack([np.asarray(part) for part in parts], axis=-1)


@pytest.mark.parametrize("side", [SIDE, SMALL])
@pytest.mark.parametrize("opacity", [True, False])
def test_a_mismatch_is_of_colours_over_white_of_opacity_and_of_what_is_perceived(models, side, opacity):
    rgba = (255 * random(SIDE, SIDE, 4, seed=0)).astype(np.uint8)
    straight = random(side, side, 4, seed=1)
    shown = straight[..., 3:] * straight[..., :3] + 1 - straight[..., 3:]
    truth = rgba.astype(np.float32) / 255 if side == SIDE else smaller(rgba.astype(np.float32) / 255)
    wanted = ((shown - truth[..., :3]) ** 2).mean()
    if opacity:
        wanted += 0.5 * ((straight[..., 3] - truth[..., 3]) ** 2).mean()
    perceived = 0.1 * np.abs(shown - truth[..., :3]).mean() if side == SIDE else 0
    premultiplied = np.concatenate([straight[..., :3] * straight[..., 3:], straight[..., 3:]], axis=-1)
    inversion = Inversion(models, rgba, 0, Unlike(), opacity)
    for perceptual, more in ((True, perceived), (False, 0)):
        found = inversion.mismatch(torch.from_numpy(premultiplied), perceptual)
        assert float(found) == pytest.approx(float(wanted + more), rel=1e-4)


def portrait() -> np.ndarray:
    """Somebody from the front, [S, S, 4], colours over white."""
    data = CONFIG.data
    view = cameras.look_at(cameras.position(0, 0, data.camera_radius))
    rgba = picture(25, view, cameras.pinhole(SMALL, data.fov_degrees), SMALL)
    rgba[..., :3][rgba[..., 3] == 0] = 255
    return rgba


def unlike(inversion: Inversion, planes: torch.Tensor, view: cameras.Cameras) -> float:
    """The mismatch of planes seen by a camera."""
    with torch.no_grad():
        return float(inversion.mismatch(inversion.drawn(planes, view, SMALL)))


def test_planes_alone_come_nearer_to_the_picture_and_stay_near_where_they_were(models):
    told = []
    inversion = Inversion(models, portrait(), 0, None, progress=lambda *what: told.append(what[2]))
    view = inversion.view((0.0, 0.0, 1.0))
    start = models.predicted(inversion.start[None], [0])[0]
    found = inversion.planes(start, view, 12)
    assert unlike(inversion, found, view) < 0.8 * unlike(inversion, start, view)
    assert found.abs().max() <= 1
    assert 0.01 < (found - start).abs().max() < 12 * 0.011  # steps of Adam
    assert told == ["planes"] * 12


def test_the_latent_alone_comes_nearer_to_the_picture(models, monkeypatch):
    inversion = Inversion(models, portrait(), 0, None)
    ways = torch.randn(inversion.start.numel(), 4, generator=torch.Generator().manual_seed(0))
    base = models.predicted(inversion.start[None], [0])

    def predicted(self, latents, seeds, gradients=False):
        """Planes that follow a latent far, which those of models of two steps do not."""
        return (base + ((latents - inversion.start) @ ways)[:, None, :, None, None]).clamp(-1, 1)

    monkeypatch.setattr(Avatars, "predicted", predicted)
    view = inversion.view((0.0, 0.0, 1.0))
    found = inversion.latent(view, 12)
    assert float(found.norm()) == pytest.approx(1, abs=1e-5)
    errors = [unlike(inversion, models.predicted(one[None], [0])[0], view) for one in (inversion.start, found)]
    assert errors[1] < 0.9 * errors[0]


def test_latent_and_planes_are_found_by_the_pose_that_is_estimated(models, monkeypatch):
    pose, seen, first = (20.0, -5.0, 1.1), [], []
    inversion = Inversion(models, portrait(), 0, None)
    made = inversion.view(pose)
    monkeypatch.setattr(inversion, "pose", lambda planes, settings: first.append(planes) or pose)
    monkeypatch.setattr(inversion, "latent", lambda view, steps: seen.append((view, steps)) or unit(-inversion.start))
    monkeypatch.setattr(inversion, "planes", lambda start, view, steps: seen.append((view, steps)) or 0.5 * start)
    found = inversion.run(InversionSettings(latent_steps=2, planes_steps=3))
    assert [steps for _, steps in seen] == [2, 3]
    for view in (found.view, *(view for view, _ in seen)):
        np.testing.assert_array_equal(view.poses, made.poses)
        np.testing.assert_array_equal(view.lenses, made.lenses)
    assert found.pose == pose
    before, after = (models.predicted(one[None], [0])[0] for one in (inversion.start, -inversion.start))
    assert torch.equal(found.first, before)
    assert torch.equal(first[0], before)
    torch.testing.assert_close(found.latent, -inversion.start)
    torch.testing.assert_close(found.planes, 0.5 * after)


def test_a_camera_that_is_given_is_not_estimated(models, monkeypatch):
    inversion = Inversion(models, portrait(), 0, None)
    monkeypatch.setattr(inversion, "pose", None)
    camera = inversion.view((-30.0, 10.0, 0.9))
    found = inversion.run(InversionSettings(latent_steps=0, planes_steps=0, camera=camera))
    assert (found.view, found.pose) == (camera, None)
    assert torch.equal(found.latent, inversion.start)
    assert torch.equal(found.planes, found.first)
