"""How fast the training loop is beside a loop as one would write it by hand, on the same network in the same run."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rodin.diffusion.schedule import Schedule
from rodin.nets.base import BaseUNet
from rodin.nets.latent import LatentMLP
from rodin.train.denoising import denoising_loss
from rodin.train.draws import Draws
from rodin.train.loop import train
from rodin.train.plan import Plan
from rodin.train.ranks import Ranks

ITEMS = 64


def bench_train(device: torch.device | None = None, repeats: int = 5) -> list[dict[str, Any]]:
    """Steps a second of the loop and of a bare loop, for a small MLP and a small U-Net.

    The bare loop does the same arithmetic: AdamW as torch makes it, clipping, and a moving average a tensor at a time;
    it saves nothing, cannot resume and draws its noise in one piece.

    Args:
        device: where; none: the GPU where there is one.
        repeats: how often each is timed, in turn; the medians are compared.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; a ratio over 1 means ours is faster.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    latent = LatentMLP(latent_width=64, hidden=256, layers=6)
    unet = BaseUNet(
        plane_channels=8,
        resolution=16,
        channels=32,
        multipliers=(1, 2),
        blocks=1,
        attention=(8,),
        head_channels=16,
        dropout=0.0,
        latent_width=64,
    )
    cases = [("latent MLP", latent, (64,), 64, 60), ("base U-Net", unet, (3, 8, 16, 16), 4, 8)]
    rows = []
    for name, network, shape, batch, steps in cases:
        plan = Plan(batch=batch, steps=steps, lr=1e-4, checkpoint_every=steps + 1)
        data = torch.randn(ITEMS, *shape)
        ours, bare = [], []
        for _ in range(repeats):
            ours.append(_ours(copy.deepcopy(network).to(device), data, plan, device))
            bare.append(_bare(copy.deepcopy(network).to(device), data.to(device), plan))
        value, baseline = statistics.median(ours), statistics.median(bare)
        row = {"name": f"train, {name}, batch {batch}", "value": round(value, 2), "unit": "steps/s"}
        row |= {"baseline": "bare loop", "baseline_value": round(baseline, 2), "ratio": round(value / baseline, 3)}
        rows.append(row)
    return rows


def _ours(network: nn.Module, data: torch.Tensor, plan: Plan, device: torch.device) -> float:
    schedule, clock = Schedule.linear(1000).to(device), _Clock(device)

    def loss_of(batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        return denoising_loss(network, schedule, batch["x0"], "eps", draws)

    with tempfile.TemporaryDirectory() as folder:
        train(
            network,
            loss_of,
            lambda items, draws: {"x0": data[items]},
            len(data),
            plan,
            ranks=Ranks(device=device),
            folder=Path(folder),
            settings={},
            progress=lambda done, total, note: clock.tick(),
        )
    return clock.rate()


def _bare(network: nn.Module, data: torch.Tensor, plan: Plan) -> float:
    schedule, clock = Schedule.linear(1000).to(data.device), _Clock(data.device)
    optimiser = torch.optim.AdamW(network.parameters(), plan.lr, weight_decay=plan.weight_decay)
    average = copy.deepcopy(network)
    for _ in range(plan.steps):
        x0 = data[torch.randint(len(data), (plan.batch,), device=data.device)]
        timestep = torch.randint(1000, (plan.batch,), device=data.device)
        eps = torch.randn_like(x0)
        alpha_bar = schedule.alpha_bar[timestep].view(-1, *[1] * (x0.ndim - 1)).float()
        loss = (network(alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps, timestep) - eps).square().mean()
        optimiser.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm)
        if not (loss.isfinite() and norm.isfinite()):
            raise ValueError("bench: the bare loop diverged")
        optimiser.step()
        with torch.no_grad():
            for old, new in zip(average.parameters(), network.parameters(), strict=True):
                old.lerp_(new, 1 - plan.ema)
        clock.tick()
    return clock.rate()


class _Clock:
    """Times of the ends of steps; the first fifth is warm-up and does not count."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def tick(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.times.append(time.perf_counter())

    def rate(self) -> float:
        counted = self.times[len(self.times) // 5 :]
        return (len(counted) - 1) / (counted[-1] - counted[0])
