"""Cost of 3D-aware convolution on this machine, against a plain one and against the paper's concatenation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from rodin.device import default_device
from rodin.nets.aware import AwareConv, profiles
from rodin.timing import medians, peak_bytes

PEAKS = 5  # memory measurements, the least of which counts: on a busy CPU about one in four is too high


def bench_conv(
    channels: int = 192,
    resolution: int = 64,
    repeats: int = 7,
    *,
    batch: int = 2,
    device: torch.device | None = None,
) -> list[dict[str, Any]]:
    """Time and memory of the factored 3D-aware convolution, against a plain one and the concatenation.

    Args:
        channels: C = O. resolution: R, so images are R × 3R. repeats: rounds, all three in turn; medians count.
        batch: N. device: None: the GPU if there is one.

    Returns:
        rows of seconds forward, of seconds forward and backward, and of the peak memory of the latter if the system
        reports it. `ratio` over 1 means ours is cheaper than the concatenation; `over_plain` and `over_naive` are cost
        ratios: under 1 is cheaper.
    """
    device = device or default_device()
    layer = AwareConv(channels, channels).to(device)
    picture = torch.randn(batch, channels, resolution, 3 * resolution, device=device)
    runs = {
        "factored": layer,
        "plain": lambda x: F.conv2d(x, layer.weight, layer.bias, padding=1),
        "naive": lambda x: concatenated(x, layer),
    }
    what = f"{channels} channels {resolution}x{3 * resolution}"
    rows = []
    for name, step in {"forward": _forward, "forward+backward": _backward}.items():
        seconds = medians({key: partial(step, run, picture) for key, run in runs.items()}, repeats, device)
        rows.append(_row(f"conv {name} {what}", seconds, "s"))
    peaks = {key: _least_peak(partial(_backward, run, picture), device) for key, run in runs.items()}
    megabytes = {key: value / 1e6 for key, value in peaks.items() if value}
    return rows if len(megabytes) < len(runs) else [*rows, _row(f"conv peak memory {what}", megabytes, "MB")]


def _least_peak(run: Callable[[], None], device: torch.device) -> int:
    """Least peak memory of some runs, bytes; 0: unknown. One run may count a freed tensor that is still resident."""
    return min(peak_bytes(run, device) or 0 for _ in range(PEAKS))


def concatenated(picture: torch.Tensor, layer: AwareConv) -> torch.Tensor:
    """3D-aware convolution as in the paper, with concatenated maps: [N, C, H, 3W] -> [N, O, H, 3W]."""
    planes = picture.unflatten(3, (3, -1))
    columns, rows = profiles(planes, False)[..., 1:-1].unbind(1)
    maps = [columns[:, :, None].expand_as(planes), rows.transpose(2, 3)[..., None].expand_as(planes)]
    kernel = torch.cat([layer.weight, layer.weight_columns, layer.weight_rows], dim=1)
    return F.conv2d(torch.cat([picture, *[one.flatten(3) for one in maps]], dim=1), kernel, layer.bias, padding=1)


def _row(name: str, cost: dict[str, float], unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": cost["factored"],
        "unit": unit,
        "baseline": "concatenation",
        "baseline_value": cost["naive"],
        "ratio": cost["naive"] / cost["factored"],
        "over_plain": cost["factored"] / cost["plain"],
        "over_naive": cost["factored"] / cost["naive"],
    }


def _forward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    with torch.no_grad():
        run(x)


def _backward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    x = x.detach().requires_grad_()
    run(x).sum().backward()
