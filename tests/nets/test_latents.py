import pytest
import torch
from oracles.network_sizes import flops, on_meta, parameters
from oracles.noise import noise

from rodin.diffusion.losses import diffusion_loss
from rodin.diffusion.process import x0_from_eps
from rodin.diffusion.samplers import ddim, sample
from rodin.diffusion.schedule import Schedule
from rodin.nets.latent import LatentMLP
from rodin.nets.prior import Prior
from rodin.nets.refine import Refiner


def prior(**changes):
    torch.manual_seed(0)
    settings = {"latent_width": 6, "token_width": 5, "token_count": 7, "width": 16, "layers": 2, "heads": 2}
    return Prior(**{**settings, **changes})


def awake(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def read(count=2):
    generator = torch.Generator().manual_seed(5)
    z_t, text = torch.randn(2, count, 6, generator=generator)
    tokens = torch.randn(count, 7, 5, generator=generator)
    return z_t, torch.arange(count) + 3, text, tokens, torch.arange(7).expand(count, 7) < 4


def test_the_papers_latent_model_has_its_size():
    # diffae's MLPSkipNet with 20 layers of 2048 on 512: 19 hidden layers with scale and normalisation, one out
    D, hidden = 512, 2048
    time = (64 + 1) * D + (D + 1) * D
    scales = 19 * (D + 1) * hidden
    layers = (D + 1) * hidden + 18 * (hidden + D + 1) * hidden + (hidden + D + 1) * D
    model = on_meta(LatentMLP, latent_width=D, hidden=hidden, layers=20)
    assert parameters(model) == time + scales + layers + 19 * 2 * hidden
    products = 2 * (layers + scales + time) - 2 * (19 * 2 * hidden + 3 * D)
    counted = flops(model, torch.zeros(1, D, device="meta"), torch.zeros(1, dtype=torch.int64, device="meta"))
    assert counted == products


def test_the_input_reaches_every_hidden_layer():
    model = awake(LatentMLP(latent_width=4, hidden=8, layers=4))
    assert [layer.in_features for layer in model.layers] == [4, 12, 12]
    assert model.last.in_features == 12
    for layer in model.layers[:2]:
        torch.nn.init.zeros_(layer.weight)
    x_t = torch.randn(1, 4, requires_grad=True)
    (reach,) = torch.autograd.grad(model(x_t, torch.tensor([1])).sum(), x_t)
    assert reach.abs().sum() > 0


def test_latent_model_learns_a_distribution():
    torch.manual_seed(0)
    schedule, generator = Schedule.linear(1000), torch.Generator().manual_seed(0)
    model = LatentMLP(latent_width=2, hidden=64, layers=4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    sides = torch.tensor([[1.0, 0.5], [-1.0, -0.5]])
    for _ in range(300):
        x0 = sides[torch.randint(2, (128,), generator=generator)]
        loss = diffusion_loss(model, schedule, x0, *noise(schedule, x0, generator), predicts="eps").mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    drawn = sample(
        lambda x_t, t, latent: x0_from_eps(schedule, x_t, t, model(x_t, t)),
        schedule,
        [200, 2],
        ddim(),
        steps=25,
        seeds=range(200),
    )
    distance = torch.cdist(drawn, sides)
    assert distance.min(dim=1).values.median() < 0.15
    assert 0.3 < (distance.argmin(dim=1) == 0).float().mean() < 0.7


def test_layers_before_a_silu_begin_with_he_s_initialisation_those_of_the_time_too():
    torch.manual_seed(0)
    model = LatentMLP(latent_width=64, hidden=256, layers=4)
    for layer in (*model.layers, *model.scales):
        assert layer.weight.std().item() == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.05)
    assert model.last.weight.std().item() < 0.7 * (2 / model.last.in_features) ** 0.5


def test_two_layers_at_least():
    with pytest.raises(ValueError, match="at least 2"):
        LatentMLP(latent_width=4, hidden=8, layers=1)


def test_prior_uses_all_it_reads():
    model = awake(prior())
    z_t, timestep, text, tokens, mask = read()
    out = model(z_t, timestep, text, tokens, mask)
    assert out.shape == (2, 6)
    for other in (
        model(z_t + 1, timestep, text, tokens, mask),
        model(z_t, timestep + 50, text, tokens, mask),
        model(z_t, timestep, text + 1, tokens, mask),
        model(z_t, timestep, text, tokens + 1, mask),
    ):
        assert not torch.allclose(out, other, atol=1e-4)


def test_padding_is_never_read():
    model = awake(prior())
    z_t, timestep, text, tokens, mask = read()
    changed = torch.where(mask[..., None], tokens, tokens + 100)
    assert torch.equal(model(z_t, timestep, text, tokens, mask), model(z_t, timestep, text, changed, mask))


def test_dropped_text_is_never_read():
    model = awake(prior())
    z_t, timestep, text, tokens, mask = read()
    drop = torch.tensor([True, False])
    out = model(z_t, timestep, text, tokens, mask, drop)
    other = model(z_t, timestep, text + 1, tokens + 1, mask, drop)
    torch.testing.assert_close(out[0], other[0], rtol=0, atol=1e-6)
    assert not torch.allclose(out[1], other[1], atol=1e-4)
    torch.testing.assert_close(out[1], model(z_t, timestep, text, tokens, mask)[1], rtol=1e-4, atol=1e-5)


def test_prior_is_causal():
    """What stands before a token cannot see it: the first place's state is the same whatever follows."""
    block = awake(prior()).blocks[0]
    h = torch.randn(1, 5, 16)
    other = torch.randn(1, 5, 16)
    changed = torch.cat([h[:, :3], other[:, 3:]], dim=1)
    torch.testing.assert_close(block(h)[:, :3], block(changed)[:, :3], rtol=0, atol=1e-6)
    assert not torch.allclose(block(h)[:, 4], block(torch.cat([other[:, :1], h[:, 1:]], dim=1))[:, 4], atol=1e-4)


def test_prior_learns_a_map_from_text():
    torch.manual_seed(0)
    schedule, generator = Schedule.linear(1000), torch.Generator().manual_seed(0)
    model = prior()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    text, tokens, image = torch.eye(4, 6), torch.randn(4, 7, 5, generator=generator), torch.eye(6)[[3, 1, 5, 0]] * 2
    mask = torch.ones(4, 7, dtype=torch.bool)
    losses = []
    for _ in range(100):
        which = torch.randint(4, (32,), generator=generator)
        loss = diffusion_loss(
            lambda z_t, t, i=which: model(z_t, t, text[i], tokens[i], mask[i]),
            schedule,
            image[which],
            *noise(schedule, image[which], generator),
            predicts="x0",
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-20:]) / 20 < 0.1 * losses[0]


def test_refiner_starts_as_the_identity_and_learns_everywhere():
    image = torch.rand(2, 3, 9, 7)
    model = Refiner(8, 2)
    assert torch.equal(model(image), image)
    awake(model)(image).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
