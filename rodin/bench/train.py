"""Speed of the training loop, compared with a plain loop on the same network in the same run."""

from __future__ import annotations

import copy
import statistics
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rodin.device import default_device
from rodin.diffusion.schedule import Schedule
from rodin.nets.base import BaseUNet
from rodin.nets.latent import LatentMLP
from rodin.train import utilisation
from rodin.train.data.draws import Draws
from rodin.train.denoising import denoising_loss
from rodin.train.loop import Callbacks, train
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan

ITEMS = 64  # random items: more than a batch, few enough to be made in a moment
TIMESTEPS = 1000  # T of the paper
DIGITS, SECONDS_DIGITS, RATIO_DIGITS = 2, 6, 3  # decimals of values, of seconds and of ratios in the rows
WARM_UP = 5  # the first 1/5 of the steps does not count
Row = dict[str, Any]


def bench_train(device: torch.device | None = None, repeats: int = 3) -> list[Row]:
    """Samples a second of the loop and of a plain loop, time of each part of a step, and cost of checkpoints.

    The plain loop does the same arithmetic: torch's AdamW, clipping, a moving average tensor by tensor, and checkpoints
    for which it waits; it cannot resume, and draws its noise at once.

    Args:
        device: device; None: the GPU if there is one.
        repeats: times that each loop is timed, in turn; the medians are compared.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; a ratio over 1 means that our loop is faster.
    """
    device = device or default_device()
    rows = []
    for name, network, shape, plan in _cases(device):
        data = torch.randn(ITEMS, *shape)
        runs: dict[str, list[float]] = defaultdict(list)
        for _ in range(repeats):
            for kind, every in (("saving", plan.checkpoint_every), ("not saving", plan.steps + 1)):
                trained, clock = copy.deepcopy(network).to(device), _Clock(device)
                _ours(trained, data, replace(plan, checkpoint_every=every), device, clock)
                runs[kind].append(clock.rate(plan.batch))
            runs["by hand"].append(_by_hand(copy.deepcopy(network).to(device), data.to(device), plan))
        ours, free, by_hand = (statistics.median(runs[kind]) for kind in ("saving", "not saving", "by hand"))
        title = f"train, {name}, batch {plan.batch}"
        rows.append(_row(title, ours, "samples/s", "loop by hand", by_hand, ours / by_hand))
        every = f"checkpoint every {plan.checkpoint_every} steps"
        rows.append(_row(f"{title}, {every}", ours, "samples/s", "no checkpoints", free, ours / free))
        rows += _parts(title, network, data, plan, device)
        rows += _utilised(title, network, data, plan, device, ours)
    return rows


def _cases(device: torch.device) -> list[tuple[str, nn.Module, tuple[int, ...], Plan]]:
    """Small networks on a CPU; on a GPU the base model at the paper's size, with 6 samples of its batch."""
    torch.manual_seed(0)
    if device.type == "cuda":
        sizes: dict[str, Any] = {"plane_channels": 32, "resolution": 64, "channels": 192, "multipliers": (1, 2, 3, 4)}
        more: dict[str, Any] = {"blocks": 3, "attention": (32, 16, 8), "head_channels": 64, "latent_width": 512}
        plan = Plan(batch=6, steps=60, lr=1e-4, precision="bfloat16", checkpoint_every=50)
        return [("base U-Net of the paper", BaseUNet(**sizes, **more, dropout=0.1), (3, 32, 64, 64), plan)]
    latent = LatentMLP(latent_width=64, hidden=256, layers=6)
    sizes = {"plane_channels": 8, "resolution": 16, "channels": 32, "multipliers": (1, 2)}
    more = {"blocks": 1, "attention": (8,), "head_channels": 16, "latent_width": 64}
    return [
        ("latent MLP", latent, (64,), Plan(batch=64, steps=300, lr=1e-4, checkpoint_every=100)),
        (
            "base U-Net",
            BaseUNet(**sizes, **more, dropout=0.0),
            (3, 8, 16, 16),
            Plan(batch=4, steps=60, lr=1e-4, checkpoint_every=20),
        ),
    ]


def _ours(network: nn.Module, data: torch.Tensor, plan: Plan, device: torch.device, clock: _Clock) -> None:
    schedule = Schedule.linear(TIMESTEPS).to(device)

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
            callbacks=Callbacks(progress=lambda done, total, note: clock.tick(), part_done=clock.part_done),
        )


def _by_hand(network: nn.Module, data: torch.Tensor, plan: Plan) -> float:
    schedule, clock = Schedule.linear(TIMESTEPS).to(data.device), _Clock(data.device)
    optimiser = torch.optim.AdamW(network.parameters(), plan.lr, weight_decay=plan.weight_decay)
    average = copy.deepcopy(network)
    with tempfile.TemporaryDirectory() as folder:
        for step in range(plan.steps):
            x0 = data[torch.randint(len(data), (plan.batch,), device=data.device)]
            timestep = torch.randint(TIMESTEPS, (plan.batch,), device=data.device)
            eps = torch.randn_like(x0)
            alpha_bar = schedule.alpha_bar[timestep].view(-1, *[1] * (x0.ndim - 1)).float()
            with torch.autocast(data.device.type, plan.autocast, enabled=plan.autocast is not None):
                prediction = network(alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * eps, timestep)
            loss = (prediction.float() - eps).square().mean()
            optimiser.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(network.parameters(), plan.clip_norm)
            if not (loss.isfinite() and norm.isfinite()):
                raise ValueError("bench: the loop by hand diverged")
            optimiser.step()
            with torch.no_grad():
                for old, new in zip(average.parameters(), network.parameters(), strict=True):
                    old.lerp_(new, 1 - plan.ema)
            if (step + 1) % plan.checkpoint_every == 0 and step + 1 < plan.steps:
                state = {"model": network.state_dict(), "average": average.state_dict()}
                torch.save({**state, "optimiser": optimiser.state_dict()}, Path(folder) / "checkpoint.pt")
            clock.tick()
    return clock.rate(plan.batch)


def _parts(title: str, network: nn.Module, data: torch.Tensor, plan: Plan, device: torch.device) -> list[Row]:
    """Seconds of each part of a step, with a wait for the device after each, compared with the whole step."""
    clock = _Clock(device, parts=True)
    _ours(copy.deepcopy(network).to(device), data, plan, device, clock)
    whole = sum(clock.spent.values())
    return [
        _row(f"{title}: {part}", seconds / plan.steps, "s", "a step", whole / plan.steps, whole / max(seconds, 1e-9))
        for part, seconds in clock.spent.items()
    ]


def _utilised(
    title: str, network: nn.Module, data: torch.Tensor, plan: Plan, device: torch.device, rate: float
) -> list[Row]:
    """Model FLOPs utilisation, where the device's peak is known."""
    peak = utilisation.peak(torch.cuda.get_device_name(device), plan.autocast) if device.type == "cuda" else None
    if peak is None:
        return []
    x0, timestep = data[:1].to(device), torch.zeros(1, dtype=torch.int64, device=device)
    still = copy.deepcopy(network).to(device).eval()
    used = rate * utilisation.operations(lambda: still(x0, timestep), 1)
    return [_row(f"{title}: model FLOPs", used / 1e12, "TFLOP/s", "the GPU's peak", peak / 1e12, used / peak)]


def _row(name: str, value: float, unit: str, baseline: str, baseline_value: float, ratio: float) -> Row:
    digits = SECONDS_DIGITS if unit == "s" else DIGITS
    row = {"name": name, "value": round(value, digits), "unit": unit, "baseline": baseline}
    return row | {"baseline_value": round(baseline_value, digits), "ratio": round(ratio, RATIO_DIGITS)}


class _Clock:
    """Times at which steps end, the first fifth of them warm-up; or the seconds of each part of a step."""

    def __init__(self, device: torch.device, parts: bool = False) -> None:
        self.device, self.parts = device, parts
        self.times: list[float] = []
        self.spent: dict[str, float] = defaultdict(float)
        self.last = 0.0

    def tick(self) -> None:
        if not self.parts:
            self._wait()
            self.times.append(time.perf_counter())

    def part_done(self, part: str) -> None:
        if self.parts:
            self._wait()
            now = time.perf_counter()
            self.spent[part] += now - self.last if self.last else 0.0
            self.last = now

    def rate(self, batch: int) -> float:
        counted = self.times[len(self.times) // WARM_UP :]
        return batch * (len(counted) - 1) / (counted[-1] - counted[0])

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
