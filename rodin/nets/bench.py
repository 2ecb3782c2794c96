"""How fast this machine runs the networks and the samplers, against doing it plainly."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from rodin.nets.aware import AwareConv, profiles
from rodin.nets.base import BaseUNet


def bench_conv(
    channels: int, resolution: int, repeats: int = 20, *, batch: int = 4, device: str = "cpu"
) -> list[dict[str, Any]]:
    """Time the factored 3D-aware convolution, forward and backward, against a plain one and the concatenation.

    Args:
        channels: C = O. resolution: R. repeats: rounds, the three in turn; each one's fastest counts.

    Returns:
        one row for forward, one for forward and backward; `ratio` over 1 means ours is faster, while `over_plain` and
        `over_naive` are cost ratios: under 1 is cheaper.
    """
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
    sampler: Callable[..., torch.Tensor],
    schedule: Any,
    guide: Callable[[BaseUNet, float], Any],
    *,
    plane_channels: int,
    resolution: int,
    channels: int,
    multipliers: tuple[int, ...],
    blocks: int,
    attention: tuple[int, ...],
    head_channels: int,
    latent_width: int,
    batch: int = 4,
    steps: int = 5,
    repeats: int = 3,
    device: str = "cpu",
) -> list[dict[str, Any]]:
    """Time guided sampling of a base model, both guidance halves in one batch, against one after the other.

    Args:
        sampler: `rodin.diffusion.samplers.ddim` or `ancestral`. schedule: a `Schedule`. guide: `guided`.
        steps: denoising steps timed. The others are those of `BaseUNet`.

    Returns:
        one row: samples × steps a second; `ratio` over 1 means one batch is faster.
    """
    torch.manual_seed(0)
    model = BaseUNet(
        plane_channels=plane_channels,
        resolution=resolution,
        channels=channels,
        multipliers=multipliers,
        blocks=blocks,
        attention=attention,
        head_channels=head_channels,
        dropout=0.0,
        latent_width=latent_width,
    )
    model = model.to(device).eval()
    latent = F.normalize(torch.randn(batch, latent_width, device=device), dim=1)
    shape = [batch, 3, plane_channels, resolution, resolution]

    def twice(x_t: torch.Tensor, timestep: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        c, u = model(x_t, timestep, z), model(x_t, timestep, None)
        return u + 1.5 * (c - u)

    def draw(denoise: Any) -> torch.Tensor:
        return sampler(denoise, schedule, shape, predicts="eps", steps=steps, seeds=range(batch), latent=latent)

    runs = {"batched": partial(draw, guide(model, 1.5)), "apart": partial(draw, twice)}
    seconds = _fastest(runs, repeats, device)
    rate = {key: batch * steps / value for key, value in seconds.items()}
    return [
        {
            "name": f"guided sampling {channels} channels {resolution}²",
            "value": rate["batched"],
            "unit": "samples x steps/s",
            "baseline": "halves one after the other",
            "baseline_value": rate["apart"],
            "ratio": rate["batched"] / rate["apart"],
        }
    ]


def _forward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    with torch.no_grad():
        run(x)


def _backward(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> None:
    x = x.detach().requires_grad_()
    run(x).sum().backward()


def _fastest(runs: dict[str, Callable[[], Any]], repeats: int, device: str) -> dict[str, float]:
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


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
