import pytest
import torch
from oracles.noise import noise

from rodin.diffusion.losses import diffusion_loss
from rodin.diffusion.schedule import Schedule
from rodin.nets.base import BaseUNet
from rodin.nets.blocks import (
    Attention,
    from_patches,
    norm,
    time_embedding,
    to_patches,
    to_picture,
    to_planes,
)
from rodin.nets.degrade import degrade
from rodin.nets.upsample import Upsampler

SWITCHES = [(True, True), (True, False), (False, True), (False, False)]


def base(**changes):
    torch.manual_seed(0)
    settings = {
        "plane_channels": 4,
        "resolution": 16,
        "channels": 16,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (8,),
        "head_channels": 8,
        "dropout": 0.0,
        "latent_width": 6,
    }
    return BaseUNet(**{**settings, **changes})


def upsampler(**changes):
    torch.manual_seed(0)
    settings = {
        "plane_channels": 4,
        "resolution": 16,
        "low_resolution": 8,
        "channels": 16,
        "blocks": 1,
        "dropout": 0.0,
    }
    return Upsampler(**{**settings, **changes})


def awake(model):
    """Layers that start as zero hide the rest: give every parameter some size."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


X = torch.randn(3, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
T = torch.tensor([3, 500, 999])
Z = torch.nn.functional.normalize(torch.randn(3, 6, generator=torch.Generator().manual_seed(2)), dim=1)


def test_pictures_come_back():
    for rolled in (True, False):
        assert torch.equal(to_planes(to_picture(X, rolled), rolled), X)


@pytest.mark.parametrize("side", [2, 4])
def test_patches_come_back(side):
    patches = to_patches(X, side)
    assert patches.shape == (3, 3, 4 * side**2, 16 // side, 16 // side)
    assert torch.equal(from_patches(patches, side), X)


def test_groups_adapt_to_the_channels():
    assert [norm(channels).num_groups for channels in (192, 128, 32, 20, 6, 3)] == [32, 32, 8, 5, 1, 1]


def test_time_embedding_is_adms():
    embedding = time_embedding(torch.tensor([0, 7]), 6)
    assert embedding[0].tolist() == [1, 1, 1, 0, 0, 0]
    rates = [1.0, 10_000 ** (-1 / 3), 10_000 ** (-2 / 3)]
    wanted = torch.tensor([rate * 7 for rate in rates])
    torch.testing.assert_close(embedding[1], torch.cat([wanted.cos(), wanted.sin()]))


@pytest.mark.parametrize(("roll_out", "aware"), SWITCHES)
def test_base_starts_at_zero_and_learns_everywhere(roll_out, aware):
    model = base(roll_out=roll_out, aware=aware)
    assert (model(X, T, Z) == 0).all()
    out = awake(model)(X, T, Z, torch.tensor([True, False, False]))
    assert out.shape == X.shape
    out.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(("roll_out", "aware"), SWITCHES)
def test_upsampler_starts_as_bilinear_and_learns_everywhere(roll_out, aware):
    model = upsampler(roll_out=roll_out, aware=aware)
    low = X[..., :8, :8].contiguous()
    wanted = torch.nn.functional.interpolate(low.flatten(0, 1), scale_factor=2, mode="bilinear").view_as(X)
    torch.testing.assert_close(model(X, T, low), wanted)
    awake(model)(X, T, low).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize(("roll_out", "aware"), SWITCHES)
def test_only_without_both_are_planes_alone(roll_out, aware):
    """Which planes the prediction of yz depends on, in the network that has no attention."""
    model = awake(upsampler(roll_out=roll_out, aware=aware))
    x_t = X.clone().requires_grad_()
    (reach,) = torch.autograd.grad(model(x_t, T, X[..., :8, :8])[:, 2].sum(), x_t)
    seen = [bool(reach[:, p].abs().sum() > 0) for p in range(3)]
    assert seen == [aware or roll_out, aware or roll_out, True]


def test_attention_sees_all_planes():
    layer = awake(Attention(8, 4))
    x = torch.randn(1, 8, 4, 12, requires_grad=True)
    (reach,) = torch.autograd.grad(layer(x)[..., 10].sum(), x)
    assert all(reach[..., 4 * p : 4 * p + 4].abs().sum() > 0 for p in range(3))


def test_attention_is_softmax_over_texels():
    layer = awake(Attention(4, 4)).double()
    x = torch.randn(1, 4, 2, 6, dtype=torch.float64)
    texels = layer.norm(x).flatten(2).transpose(1, 2)[0]
    q, k, v = layer.qkv(texels).chunk(3, dim=1)
    seen = torch.softmax(q @ k.T / 2, dim=1) @ v
    torch.testing.assert_close(layer(x)[0].flatten(1).T, x[0].flatten(1).T + layer.out(seen), rtol=0, atol=1e-12)


def test_the_null_latent_begins_as_long_as_any_other():
    model = base(latent_width=4096)
    assert float(model.null_latent.detach().norm()) == pytest.approx(1, rel=0.05)


def test_dropped_rows_are_the_learned_null():
    model = awake(base())
    out = model(X, T, Z, torch.tensor([True, False, True]))
    none, given = model(X, T), model(X, T, Z)
    torch.testing.assert_close(out[[0, 2]], none[[0, 2]], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(out[1], given[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(none, given, atol=1e-3)


def test_planes_that_are_not_rolled_out_know_which_they_are():
    model = awake(base(roll_out=False, aware=False))
    same = X[:1, :1].expand(1, 3, -1, -1, -1)
    out = model(same, T[:1], Z[:1])
    assert not torch.allclose(out[0, 0], out[0, 1], atol=1e-3)


def test_a_row_does_not_depend_on_its_batch():
    for model in (awake(base()), awake(base(roll_out=False))):
        torch.testing.assert_close(model(X, T, Z)[1:2], model(X[1:2], T[1:2], Z[1:2]), rtol=1e-4, atol=1e-5)


def test_wrong_shapes_are_told():
    with pytest.raises(ValueError, match=r"x_t: got shape \[3, 3, 4, 8, 8\]"):
        base()(X[..., :8, :8], T, Z)
    with pytest.raises(ValueError, match="latent: got shape"):
        base()(X, T, Z[:, :3])
    with pytest.raises(ValueError, match="wanted a multiple of 2"):
        base(resolution=15)
    with pytest.raises(ValueError, match="head_channels"):
        base(head_channels=5)
    with pytest.raises(ValueError, match="low_resolution to divide"):
        upsampler(low_resolution=7)
    with pytest.raises(ValueError, match="built without latent_width"):
        upsampler()(X, T, X[..., :8, :8], Z)


def test_upsampler_takes_a_latent_if_built_for_one():
    model = awake(upsampler(latent_width=6))
    low = X[..., :8, :8]
    assert not torch.allclose(model(X, T, low, Z), model(X, T, low), atol=1e-3)


def toys(side):
    """Two smooth tri-planes one can tell apart."""
    line = torch.linspace(-1, 1, side)
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    first = torch.stack([torch.stack([rows * (p + 1) / 3, columns, rows * columns, -rows]) for p in range(3)])
    return torch.stack([first, (1 - first.abs()) * torch.tensor([1, -1, 1]).view(3, 1, 1, 1)])


def test_base_learns_two_toys():
    schedule, x0 = Schedule.linear(1000), toys(8)
    z = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0, 0, 0, 0.5], [0, 1.0, 0, 0, 0, 0.5]]), dim=1)
    model, generator = base(attention=(), resolution=8), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(60):
        which = torch.randint(2, (8,), generator=generator)
        loss = diffusion_loss(
            lambda x_t, t, which=which: model(x_t, t, z[which]),
            schedule,
            x0[which],
            *noise(schedule, x0[which], generator),
            predicts="eps",
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(1, abs=0.05)
    assert sum(losses[-10:]) / 10 < 0.3


def test_upsampler_learns_what_bilinear_cannot():
    schedule = Schedule.linear(100)
    checks = (torch.arange(8) % 2).float().view(1, 1, 1, 1, 8)
    x0 = (toys(8) * 0.5 + 0.4 * checks).clamp(-1, 1)
    model, generator = upsampler(resolution=8, low_resolution=4), torch.Generator().manual_seed(0)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(60):
        which = torch.randint(2, (4,), generator=generator)
        low = degrade(x0[which], 4, downscale=(1, 2), blur=(0, 1), noise=(0, 0.1), generator=generator)
        loss = diffusion_loss(
            lambda x_t, t, low=low: model(x_t, t, low),
            schedule,
            x0[which],
            *noise(schedule, x0[which], generator),
            predicts="x0",
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.4 * losses[0]


def test_patches_and_the_map_of_the_latent_keep_the_shape_and_begin_as_the_plain_network():
    for options in ({"patch": 2}, {"latent_map": 3}, {"patch": 2, "latent_map": 3}):
        model = base(**options)
        assert model(X, T, Z).shape == X.shape
        assert awake(model)(X, T, Z).shape == X.shape


def test_a_patch_reaches_as_far_as_its_texels():
    model = awake(base(patch=2, multipliers=(1,), attention=(), roll_out=False, aware=False))
    patches = torch.nn.functional.pixel_unshuffle(X.flatten(0, 1), 2)
    assert torch.equal(torch.nn.functional.pixel_shuffle(patches, 2), X.flatten(0, 1))
    assert model.first.in_channels == patches.shape[1] == 16
    assert model.place.shape[-1] == 8


def test_the_map_tells_planes_and_places_of_a_latent_apart():
    model = awake(base(latent_map=3))
    here = model.map(torch.cat([Z, -Z]) * 6**0.5)
    assert here.shape == (6, 3, 4, 16, 16)
    assert (here[0] - here[1]).abs().amax(dim=(1, 2, 3)).min() > 1e-3  # latents differ on each plane
    assert (here[0, 0] - here[0, 1]).abs().max() > 1e-3  # planes of a latent differ
    assert here[0, 0].flatten(1).std(dim=1).min() > 1e-3  # and places


def test_a_dropped_latent_reaches_the_map_as_the_null_latent():
    model = awake(base(latent_map=3))
    dropped = model(X, T, Z, torch.tensor([True, False, True]))
    assert torch.allclose(dropped[[0, 2]], model(X, T, None)[[0, 2]], atol=1e-6)
    assert torch.allclose(dropped[1], model(X, T, Z)[1], atol=1e-6)
    assert not torch.allclose(dropped[0], model(X, T, Z)[0], atol=1e-3)
