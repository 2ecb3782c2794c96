"""How fast features are looked up here, forward and backward, against grid_sample."""

from typing import Any

import torch

from rodin.field.planes import look_up, look_up_sampled
from rodin.timing import medians

POINTS = 1 << 16
RUN = 16
STRIDE = 0.013
ROUNDS = 5


def look_up_row(device: torch.device, channels: int = 32, resolution: int = 256) -> dict[str, Any]:
    """A row as `bench_fit` gives them: points along rays, as a step of a fit looks them up; the paper's planes."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(1, 3, channels, resolution, resolution, generator=generator).to(device).requires_grad_()
    begin = torch.rand(POINTS // RUN, 1, 3, generator=generator) * 1.6 - 0.8
    ways = torch.nn.functional.normalize(torch.randn(POINTS // RUN, 1, 3, generator=generator), dim=-1)
    points = (begin + STRIDE * torch.arange(RUN)[:, None] * ways).view(1, -1, 3).to(device)
    weights = torch.randn(1, POINTS, channels, generator=generator).to(device)
    runs = {
        name: lambda how=how: torch.autograd.grad(how(planes, points, 1.0), planes, weights)
        for name, how in (("ours", look_up), ("theirs", look_up_sampled))
    }
    seconds = medians(runs, ROUNDS, device)
    return {
        "name": f"look-up and its gradient, {POINTS} points, {channels} channels, {resolution}²",
        "value": seconds["ours"],
        "unit": "s",
        "baseline": "grid_sample",
        "baseline_value": seconds["theirs"],
        "ratio": seconds["theirs"] / seconds["ours"],
    }
