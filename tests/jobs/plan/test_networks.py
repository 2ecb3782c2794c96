"""What `rodin plan` says of the networks, against counting by hand."""

import math

import pytest

from jobs.plan.networks import network_rows, networks_text
from rodin.diffusion.schedule import Schedule
from rodin.presets import load, overridden, preset


def test_the_papers_networks_have_these_sizes():
    rows = {row["stage"]: row for row in network_rows(preset("paper"))}
    assert {stage: round(row["parameters"] / 1e6, 1) for stage, row in rows.items()} == {
        "base": 717.9,
        "upsample": 32.7,
        "latent": 117.1,
        "prior": 39.5,
    }
    assert {stage: row["calls"] for stage, row in rows.items()} == {
        "base": 200,
        "upsample": 100,
        "latent": 100,
        "prior": 200,
    }
    assert rows["base"]["flops"] == pytest.approx(700e9, rel=0.01)
    assert rows["upsample"]["flops"] == pytest.approx(279e9, rel=0.01)
    assert all(row["sample_flops"] == row["calls"] * row["flops"] for row in rows.values())


def test_the_noise_that_sampling_begins_with_is_told():
    """√alpha_bar and log SNR of the last timestep: .0064 and -10.1 for the paper's linear schedule."""
    rows = {row["stage"]: row for row in network_rows(preset("paper", ["prior.diffusion.schedule=cosine"]))}
    for name in ("base", "upsample", "latent", "prior"):
        diffusion = getattr(preset("paper"), name).diffusion
        schedule = Schedule.named("cosine" if name == "prior" else "linear", diffusion.timesteps)
        alpha_bar = schedule.alpha_bar[-1].item()
        assert rows[name]["sqrt_alpha_bar"] == pytest.approx(alpha_bar**0.5, rel=1e-6)
        assert rows[name]["log_snr"] == pytest.approx(math.log(alpha_bar / (1 - alpha_bar)), rel=1e-6)
    assert rows["base"]["sqrt_alpha_bar"] == pytest.approx(0.0064, abs=1e-4)
    text = networks_text(list(rows.values())).splitlines()
    assert "√alpha_bar and log SNR at the last timestep" in text[0]
    assert text[1].split()[-2:] == ["0.0064", "-10.1"]
    assert text[4].split()[-2:] == ["3.2e-05", "-20.7"]


def test_a_latent_networks_operations_by_hand():
    row = next(row for row in network_rows(preset("paper")) if row["stage"] == "latent")
    width, hidden = 512, 2048
    layers = width * hidden + 18 * (hidden + width) * hidden + (hidden + width) * width
    scales, time = 19 * width * hidden, 64 * width + width * width
    assert row["flops"] == 2 * (layers + scales + time)


def test_a_priors_parameters_by_hand():
    row = next(row for row in network_rows(preset("paper")) if row["stage"] == "prior")
    width, tokens = 512, 77
    block = 12 * width * width + 13 * width  # attention 4 w², MLP 8 w², biases 4 w + 5 w, two norms 4 w
    linear = width * width + width
    rest = 3 * linear + 2 * linear + 2 * width + tokens * width + (tokens + 4) * width + 2 * width + linear
    assert row["parameters"] == 12 * block + rest


def test_guidance_and_the_refiner_are_counted():
    plain = network_rows(preset("tiny", ["sample.guidance_scale=1", "refine.enabled=true"]))
    rows = {row["stage"]: row for row in plain}
    assert rows["base"]["calls"] == 4
    assert rows["refine"]["calls"] == 2
    assert "log_snr" not in rows["refine"]
    assert rows["prior"]["calls"] == 2 * 4
    guided = network_rows(preset("tiny", ["prior.guidance_scale=2"]))
    assert next(row["calls"] for row in guided if row["stage"] == "prior") == 2 * 2 * 4
    assert len(networks_text(plain).splitlines()) == 6


def test_a_network_is_called_at_most_once_a_timestep():
    changes = ["base.diffusion.sampling_steps=20", "base.diffusion.timesteps=5", "sample.guidance_scale=2"]
    older = load(overridden(preset("tiny").model_dump(), changes), checked=False)  # today's check refuses it
    rows = {row["stage"]: row for row in network_rows(older)}
    assert rows["base"]["calls"] == 2 * 5
