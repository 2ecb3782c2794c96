"""The upsampler's image-level loss: what it looks at, what it refuses, and what it does."""

import numpy as np
import pytest
import torch
from fixtures.made_up_run import make_planes, make_views

from rodin.data.pictures import images_over_white
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.metrics.lpips import Lpips, network_of
from rodin.nets.torchvision_shim import prepare
from rodin.presets import preset
from rodin.stages import upsample
from rodin.stages.image_loss import PatchLoss, patch_loss
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws
from rodin.train.state import checkpoint

CPU = torch.device("cpu")


def config_of(*overrides):
    steps = ["upsample.training.steps=30", "upsample.training.lr=3e-3", "upsample.training.ema=0.8"]
    return preset("tiny", ["upsample.patch.side=16", "upsample.patch.samples=12", *steps, *overrides])


@pytest.fixture
def run(tmp_path):
    """Planes and pictures that do not belong together, so that what serves the one does not serve the other."""
    config, run = config_of(), RunFolder(tmp_path)
    make_views(config, run)
    make_planes(config, run)
    torch.manual_seed(0)
    plane = config.triplane
    decoder = Decoder(plane.channels, plane.decoder_width, plane.decoder_layers)
    with torch.no_grad():
        for layer in (decoder.density_and_features, decoder.colour):
            layer.weight.mul_(6)  # a decoder that has not learned anything hardly hears its features
    mean = torch.zeros(3, plane.channels, plane.resolution, plane.resolution)
    content = {"decoder": decoder.state_dict(), **decoder.settings(), "mean": mean}
    checkpoint.publish(run.stage("decoder") / "decoder.pt", content)
    manifest.publish(run.manifest("decoder"), {"files": manifest.describe_files(run.stage("decoder"), ["decoder.pt"])})
    return run


def test_a_patch_is_a_piece_of_a_picture_seen_by_its_own_rays(run):
    config = config_of("upsample.patch.pixel=1")
    people = config.train_subjects()
    patches, draws, items = PatchLoss.of(config, run, people, CPU), Draws(0, range(8)), np.arange(8) % len(people)
    batch, store, size = patches.load(items, draws), Shards(run.stage("render"), "views"), config.data.resolution
    lens = store.read(people[0], "intrinsics")[0]
    corners = set()
    assert all(isinstance(batch[name], list) for name in ("patch_pose", "patch_intrinsics"))  # no GPU gets them
    for n, item in enumerate(items):
        left, top = (round(lens[axis].item() - batch["patch_intrinsics"][n][axis].item()) for axis in (2, 3))
        corners.add((left, top))
        poses = store.read(people[item], "camera_to_world")
        view = next(v for v, pose in enumerate(poses) if np.array_equal(pose, batch["patch_pose"][n].numpy()))
        whole = images_over_white(store.read(people[item], "rgba", view)[None])[0]
        assert torch.equal(batch["patch"][n], whole[:, top : top + 16, left : left + 16])
        _, rays = cameras.rays(poses[view], lens, size, size)
        _, ours = cameras.rays(poses[view], batch["patch_intrinsics"][n].numpy(), 16, 16)
        wanted = rays.reshape(size, size, 3)[top : top + 16, left : left + 16].reshape(-1, 3)
        assert np.allclose(ours, wanted, atol=1e-6)
    assert len(corners) > 4


def test_its_gradient_reaches_the_planes_and_its_own_samples_belong_to_the_person(run):
    config = config_of("upsample.patch.pixel=1")
    patches, draws = PatchLoss.of(config, run, config.train_subjects(), CPU), Draws(0, [4, 5])
    batch = patches.load(np.array([0, 1]), draws)
    planes = torch.zeros(2, 3, 4, 16, 16, requires_grad=True)
    loss = patches(planes, batch, draws)
    (reach,) = torch.autograd.grad(loss[1], planes)
    assert reach[0].abs().sum() == 0
    assert all(reach[1, p].abs().sum() > 0 for p in range(3))
    second = {name: value[1:] for name, value in batch.items()}
    torch.testing.assert_close(patches(planes[1:], second, Draws(0, [5]))[0], loss[1])


def test_the_perceptual_part_has_a_gradient_too():
    network = network_of(_trunk())
    torch.manual_seed(1)
    decoder, planes = Decoder(4, 16, 4), (0.3 * torch.randn(1, 3, 4, 16, 16)).requires_grad_()
    pose = torch.from_numpy(cameras.ring(1, radius=4.0))
    lens = torch.from_numpy(cameras.pinhole(32, 31.0))[None]
    common = {"box": 1.0, "samples": 8, "pixel": 0.0, "distance": Lpips(network).distance}
    what = (planes, decoder, torch.rand(1, 3, 32, 32), pose, lens, Draws(0, [0]))
    (reach,) = torch.autograd.grad(patch_loss(*what, perceptual=1.0, **common).sum(), planes)
    assert reach.abs().sum() > 0
    twice = patch_loss(*what, perceptual=2.0, **common)
    torch.testing.assert_close(twice, 2 * patch_loss(*what, perceptual=1.0, **common))


def _trunk():
    prepare()
    import torchvision

    with torch.device("meta"):
        shapes = torchvision.models.alexnet(weights=None).features.state_dict()
    chance = torch.Generator().manual_seed(0)
    return {f"features.{name}": torch.randn(one.shape, generator=chance) * 0.1 for name, one in shapes.items()}


def test_it_lowers_the_error_of_what_is_rendered(run):
    """Overfitted with and without it: with it, pictures of the upsampled planes are nearer to the true ones."""
    errors = {}
    for pixel in (0, 300):
        config = config_of(f"upsample.patch.pixel={pixel}")
        place = upsample.TrainingFolder(run, "sweep-convolution-training", pixel, run.path / f"upsampler-{pixel}")
        upsample.train_upsampler(config, place, Hooks())
        avatars = Avatars(config, run, upsampler=place.path)
        fits, views = Shards(run.stage("fit"), "planes"), Shards(run.stage("render"), "views")
        people = config.train_subjects()
        low = torch.from_numpy(np.stack([fits.read(one, "base") for one in people])).float()
        found = []
        for one, planes in zip(people, avatars.upsampled(low, torch.zeros(4, 8), range(len(people))), strict=True):
            camera = (views.read(one, name)[:6] for name in ("camera_to_world", "intrinsics"))
            ours = images_over_white(avatars.render(planes, *camera, config.data.resolution))
            found.append((ours - images_over_white(views.read(one, "rgba")[:6])).square().mean().item())
        errors[pixel] = float(np.mean(found))
    assert errors[300] < 0.9 * errors[0]


def test_without_weights_of_lpips_it_is_one_line(run, monkeypatch):
    monkeypatch.setenv("RODIN_WEIGHTS", str(run.path / "nothing"))
    config = config_of("upsample.patch.perceptual=0.1", "upsample.patch.side=40", "data.resolution=64")
    message = r"alexnet-owt-7be5be79\.pth: no weights of LPIPS .* `rodin weights fetch lpips`"
    with pytest.raises(FileNotFoundError, match=message) as told:
        upsample.run(config, run, 0, Hooks())
    assert "\n" not in str(told.value)


def test_it_needs_an_upsampler_that_predicts_x0():
    with pytest.raises(ValueError, match="upsample.patch renders x0"):
        config_of("upsample.patch.pixel=1", "upsample.diffusion.predicts=eps")


def test_the_paper_has_it_and_the_small_presets_do_not():
    assert [preset(name).upsample.patch.used for name in ("tiny", "demo", "small", "paper")] == [
        False,
        False,
        True,
        True,
    ]
