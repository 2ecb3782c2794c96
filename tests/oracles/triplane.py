"""Look-up in a tri-plane, one point and one texel at a time."""

import math

import torch

NAMES = ("xy", "xz", "yz")


def feature(planes: torch.Tensor, point: list[float], box: float) -> torch.Tensor:
    """The feature [C] of one point; planes [3, C, R, R], first letter along columns, second along rows."""
    resolution = planes.shape[-1]
    total = torch.zeros(planes.shape[1], dtype=planes.dtype)
    for plane, name in zip(planes, NAMES, strict=True):
        column, row = ((point["xyz".index(letter)] / box + 1) / 2 * resolution - 0.5 for letter in name)
        column, row = (min(max(place, 0.0), resolution - 1.0) for place in (column, row))
        for i in (math.floor(row), math.floor(row) + 1):
            for j in (math.floor(column), math.floor(column) + 1):
                weight = max(0.0, 1 - abs(row - i)) * max(0.0, 1 - abs(column - j))
                if weight > 0:
                    total = total + weight * plane[:, i, j]
    return total / 3
