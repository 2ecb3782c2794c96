"""How fast this machine runs the networks, against running them plainly."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from rodin.nets.aware import AwareConv, profiles
from rodin.nets.base import BaseUNet


def bench_conv(
    channels: int = 64,
    resolution: int = 64,
    repeats: int = 10,
    *,
    batch: int = 2,
    device: torch.device | None = None,
) -> list[dict[str, Any]]:
    """Time the factored 3D-aware convolution, forward and backward, against a plain one and the concatenation.

    Args:
        channels: C = O. resolution: R. repeats: rounds, the three in turn; each one's fastest counts.
        device: where; None: the GPU where there is one.

    Returns:
        one row for forward, one for forward and backward; `ratio` over 1 means ours is faster, while `over_plain` and
        `over_naive` are cost ratios: under 1 is cheaper.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    layer = AwareConv(channels, channels).to(device)
    picture = torch.randn(batch, channels, resolution, 3 * resolution, device=device)
    runs = {
        "factored": layer,
        "plain": lambda x: F.conv2d(x, layer.weight, layer.bias, padding=1),
        "naive": lambda x: concatenated(x, layer),
    }
    rows = []
    for name, step in {"forward": _forward, "forward+backward": _backward}.items():
        seconds = _fastest({key: partial(step, run, picture) for key, run in runs.items()}, repeats, device)
        rows.append(
            {
                "name": f"conv {name} {channels} channels {resolution}²",
                "value": seconds["factored"],
                "unit": "s",
                "baseline": "concatenation",
                "baseline_value": seconds["naive"],
                "ratio": seconds["naive"] / seconds["factored"],
                "over_plain": seconds["factored"] / seconds["plain"],
                "over_naive": seconds["factored"] / seconds["naive"],
            }
        )
    return rows


def concatenated(picture: torch.Tensor, layer: AwareConv) -> torch.Tensor:
    """3D-aware convolution as the paper writes it: the maps built and concatenated, [N, C, H, 3W] -> [N, O, H, 3W]."""
    planes = picture.unflatten(3, (3, -1))
    columns, rows = profiles(planes, False)[..., 1:-1].unbind(1)
    maps = [columns[:, :, None].expand_as(planes), rows.transpose(2, 3)[..., None].expand_as(planes)]
    kernel = torch.cat([layer.weight, layer.weight_columns, layer.weight_rows], dim=1)
    return F.conv2d(torch.cat([picture, *[one.flatten(3) for one in maps]], dim=1), kernel, layer.bias, padding=1)


def bench_sample(
    channels: int = 32, resolution: int = 32, repeats: int = 5, *, batch: int = 4, device: torch.device | None = None
) -> list[dict[str, Any]]:
    """Time guided denoising by a base model: both halves of the guidance in one batch, against one after the other.

    A sampler does this once a step, and little besides.

    Args:
        channels: of the first of three levels. resolution: of planes with 8 channels. The others as in `bench_conv`.

    Returns:
        one row: denoised samples a second; `ratio` over 1 means one batch is faster.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = BaseUNet(
        plane_channels=8,
        resolution=resolution,
        channels=channels,
        multipliers=(1, 2, 2),
        blocks=1,
        attention=(resolution // 4,),
        head_channels=channels,
        dropout=0.0,
        latent_width=64,
    )
    model = model.to(device).eval()
    x_t = torch.randn(batch, 3, 8, resolution, resolution, device=device)
    timestep = torch.full((batch,), 500, device=device)
    latent = F.normalize(torch.randn(batch, 64, device=device), dim=1)
    dropped = torch.arange(2 * batch, device=device) >= batch

    @torch.no_grad()
    def together() -> torch.Tensor:
        return model(x_t.repeat(2, 1, 1, 1, 1), timestep.repeat(2), latent.repeat(2, 1), dropped)

    @torch.no_grad()
    def apart() -> torch.Tensor:
        return torch.cat([model(x_t, timestep, latent), model(x_t, timestep, None)])

    seconds = _fastest({"together": together, "apart": apart}, repeats, device)
    rate = {key: batch / value for key, value in seconds.items()}
    return [
        {
            "name": f"guided denoising {channels} channels {resolution}²",
            "value": rate["together"],
            "unit": "samples/s",
            "baseline": "guidance halves apart",
            "baseline_value": rate["apart"],
            "ratio": rate["together"] / rate["apart"],
        }
    ]


def _forward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    with torch.no_grad():
        run(x)


def _backward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    x = x.detach().requires_grad_()
    run(x).sum().backward()


def _fastest(runs: dict[str, Callable[[], Any]], repeats: int, device: torch.device) -> dict[str, float]:
    times: dict[str, list[float]] = {key: [] for key in runs}
    for number in range(repeats + 1):
        for key, run in runs.items():
            _wait(device)
            start = time.perf_counter()
            run()
            _wait(device)
            if number:  # the first round warms up
                times[key].append(time.perf_counter() - start)
    return {key: min(values) for key, values in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
