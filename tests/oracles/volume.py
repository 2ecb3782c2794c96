"""Volume rendering of one ray, one sample at a time."""

import torch
from oracles import triplane


def enter_and_leave(origin: list[float], direction: list[float], box: float) -> tuple[float, float]:
    """Distances at which a ray is first and last in the box, found face by face."""
    hits = [0.0] if all(abs(o) <= box for o in origin) else []
    for axis in range(3):
        for face in (-box, box):
            if direction[axis] != 0:
                t = (face - origin[axis]) / direction[axis]
                place = [o + t * d for o, d in zip(origin, direction, strict=True)]
                if t > 0 and all(abs(p) <= box + 1e-9 for k, p in enumerate(place) if k != axis):
                    hits.append(t)
    return (min(hits), max(hits)) if hits else (0.0, 0.0)


def trace(
    planes: torch.Tensor,
    decoder: torch.nn.Module,
    origin: list[float],
    direction: list[float],
    box: float,
    samples: int,
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Colour [3] premultiplied, light that is left, and the weights; density constant on each of the bins."""
    near, far = enter_and_leave(origin, direction, box)
    delta = (far - near) / samples
    light = torch.ones((), dtype=planes.dtype)
    colour = torch.zeros(3, dtype=planes.dtype)
    weights = []
    for k in range(samples):
        t = near + (k + 0.5) * delta
        point = [o + t * d for o, d in zip(origin, direction, strict=True)]
        sigma, paint = decoder(triplane.feature(planes, point, box))
        alpha = 1 - torch.exp(-sigma * delta)
        weights.append(light * alpha)
        colour = colour + light * alpha * paint
        light = light * (1 - alpha)
    return colour, light, weights
