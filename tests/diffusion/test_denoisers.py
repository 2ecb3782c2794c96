"""Denoisers made of denoisers: one sample at a time, and classifier-free guidance."""

import torch

from rodin.diffusion.guidance import guided
from rodin.diffusion.per_sample import per_sample


def test_per_sample_the_model_sees_one_sample_at_a_time_and_its_own_condition():
    seen = []

    def model(x_t, timestep, latent):
        seen.append(tuple(x_t.shape))
        text, tokens = latent
        return x_t * timestep[:, None] + text + tokens.sum(1)

    x_t, timestep, text, tokens = torch.randn(3, 4), torch.tensor([1, 2, 3]), torch.randn(3, 4), torch.randn(3, 5, 4)
    ours = per_sample(model)(x_t, timestep, (text, tokens))
    assert seen == [(1, 4)] * 3
    torch.testing.assert_close(ours, model(x_t, timestep, (text, tokens)))
    assert per_sample(lambda x, t, z: x if z is None else 0 * x)(x_t, timestep, None).equal(x_t)


def test_guidance_is_one_batch_and_the_formula():
    calls = []

    def model(x_t, timestep, latent, drop):
        calls.append(len(x_t))
        dropped = torch.zeros(len(x_t), dtype=torch.bool) if drop is None else drop
        return x_t + torch.where(dropped[:, None], torch.full_like(latent, -2.0), latent)

    x_t, timestep, latent = torch.randn(3, 4), torch.tensor([1, 2, 3]), torch.randn(3, 4)
    c, u = x_t + latent, x_t - 2
    torch.testing.assert_close(guided(model, 3.0)(x_t, timestep, latent), u + 3 * (c - u))
    torch.testing.assert_close(guided(model, 1.0)(x_t, timestep, latent), c)
    torch.testing.assert_close(guided(model, 0.0)(x_t, timestep, latent), u)
    assert calls == [6, 3, 6]


def test_only_timesteps_of_the_interval_are_guided():
    calls = []

    def model(x_t, timestep, latent, drop):
        calls.append(len(x_t))
        dropped = torch.zeros(len(x_t), dtype=torch.bool) if drop is None else drop
        return x_t + torch.where(dropped[:, None], torch.full_like(latent, -2.0), latent)

    x_t, latent, where = torch.randn(3, 4), torch.randn(3, 4), torch.tensor([False, True, True, False])
    denoise, c, u = guided(model, 3.0, where), x_t + latent, x_t - 2
    everywhere = u + 3 * (c - u)
    torch.testing.assert_close(denoise(x_t, torch.tensor([1, 2, 1]), latent), everywhere)
    torch.testing.assert_close(denoise(x_t, torch.tensor([0, 3, 0]), latent), c)
    assert calls == [6, 3]  # without guidance at half the cost
    mixed = denoise(x_t, torch.tensor([0, 2, 3]), latent)
    torch.testing.assert_close(mixed, torch.stack([c[0], everywhere[1], c[2]]))


def test_guidance_takes_a_tuple_of_conditions():
    def model(x_t, timestep, latent, drop):
        text, tokens = latent
        return x_t + torch.where(drop[:, None], 0.0, text + tokens.sum(1))

    x_t, text, tokens = torch.randn(2, 4), torch.randn(2, 4), torch.randn(2, 5, 4)
    ours = guided(model, 2.0)(x_t, torch.tensor([1, 2]), (text, tokens))
    torch.testing.assert_close(ours, x_t + 2 * (text + tokens.sum(1)))


def test_guidance_without_a_condition_runs_once():
    seen = []
    guided(lambda x_t, timestep, latent, drop: seen.append((latent, drop)) or x_t, 2.0)(
        torch.zeros(1, 2), torch.tensor([0]), None
    )
    assert seen == [(None, None)]
