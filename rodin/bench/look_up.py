"""Speed of feature look-ups, forward and backward, against grid_sample."""

from typing import Any

import torch

from rodin.field.planes import look_up, look_up_sampled
from rodin.timing import medians

POINTS = 1 << 16  # looked up at once, about as many as in a step of a fit
RUN = 16  # consecutive points on one ray
STRIDE = 0.013  # world units between two points of a ray; about two texels of the paper's planes
REACH = 0.8  # world units; rays begin in the cube of this half side, so that most points lie in the box
ROUNDS = 5  # measurements; the median counts


def look_up_row(device: torch.device, channels: int = 32, resolution: int = 256) -> dict[str, Any]:
    """Row in the format of `bench_fit`, for points along rays as in a step of a fit, on planes of the paper's size."""
    generator = torch.Generator().manual_seed(0)
    planes = torch.randn(1, 3, channels, resolution, resolution, generator=generator).to(device).requires_grad_()
    begin = torch.rand(POINTS // RUN, 1, 3, generator=generator) * 2 * REACH - REACH
    ways = torch.nn.functional.normalize(torch.randn(POINTS // RUN, 1, 3, generator=generator), dim=-1)
    points = (begin + STRIDE * torch.arange(RUN)[:, None] * ways).view(1, -1, 3).to(device)
    weights = torch.randn(1, POINTS, channels, generator=generator).to(device)
    runs = {
        name: lambda looked_up=looked_up: torch.autograd.grad(looked_up(planes, points, 1.0), planes, weights)
        for name, looked_up in (("ours", look_up), ("theirs", look_up_sampled))
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
