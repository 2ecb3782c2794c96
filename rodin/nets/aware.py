"""3D-aware convolution at the price of a plain one.

Each plane also sees the other two, mean-pooled along the axis it does not share and replicated back. A plane's shared
axis with one of them runs along its columns, with the other along its rows:

| plane | along its columns | along its rows |
|---|---|---|
| xy | x, from xz | y, from yz |
| xz | x, from xy | z, from yz |
| yz | y, from xy | z, from xz |

Letters: N samples, C channels in, O out, H = W the side of a plane; a `profile` is a map before it is replicated,
`along_columns` [N, C, 3, W] and `along_rows` [N, C, 3, H].
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class AwareConv(nn.Module):
    """A 3 × 3 convolution in which each plane sees the other two.

    Args:
        inputs: C. outputs: O.
        roll_out: pictures are [N, C, H, 3W], and kernels reach over the seams between planes; else [3N, C, H, W],
            samples first, and each plane is padded with zeros on its own.
    """

    def __init__(self, inputs: int, outputs: int, *, roll_out: bool = True) -> None:
        super().__init__()
        bound = (3 * 9 * inputs) ** -0.5
        self.roll_out = roll_out
        self.weight = nn.Parameter(torch.empty(outputs, inputs, 3, 3).uniform_(-bound, bound))
        self.weight_columns = nn.Parameter(torch.empty(outputs, inputs, 3, 3).uniform_(-bound, bound))
        self.weight_rows = nn.Parameter(torch.empty(outputs, inputs, 3, 3).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return aware_conv(x, self.weight, self.weight_columns, self.weight_rows, self.bias, roll_out=self.roll_out)


def aware_conv(
    x: torch.Tensor,
    weight: torch.Tensor,
    weight_columns: torch.Tensor,
    weight_rows: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    roll_out: bool = True,
) -> torch.Tensor:
    """conv2d over the channels [x, the map along columns, the map along rows], without ever building the two maps.

    A map replicated along an axis, convolved 3 × 3, is a 1-D convolution broadcast back: inside, it sees the kernel
    summed over that axis; at a border or a seam, a part of that sum, put right on the border lines alone. Exact.

    Args:
        x: [N, C, H, 3W] if `roll_out`, else [3N, C, H, W]; H = W >= 2.
        weight, weight_columns, weight_rows: [O, C, 3, 3], the kernel's three parts.
        bias: [O].

    Returns:
        [N, O, H, 3W] or [3N, O, H, W].

    Source: paper B.1 (R6, R7). Ours: the factored form.
    """
    planes = _taken_apart(x, roll_out)
    if planes.shape[2] != planes.shape[4] or planes.shape[2] < 2:
        raise ValueError(f"x: got shape {list(x.shape)}, wanted three square planes of side 2 or more")
    along_columns, along_rows = profiles(planes)
    # T_c[:, i] is what kernel row i sees of the map along columns; T_r[:, j] kernel column j, of the map along rows
    kernel_rows, kernel_columns = weight_columns.permute(2, 0, 1, 3), weight_rows.permute(3, 0, 1, 2)
    if roll_out:
        T_c = _lines(along_columns.flatten(2)[:, :, None], kernel_rows).unflatten(4, (3, -1)).squeeze(3)
    else:
        T_c = _lines(along_columns, kernel_rows)
    T_r = _lines(along_rows, kernel_columns)
    own = _taken_apart(F.conv2d(x, weight, bias, padding=1), roll_out)
    both: torch.Tensor = _Spread.apply(own, T_c, T_r, roll_out)  # type: ignore[assignment]
    return both.flatten(3) if roll_out else both.permute(0, 3, 1, 2, 4).flatten(0, 1)


def profiles(planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each plane learns of the other two, before it is replicated.

    Args:
        planes: [N, C, H, 3, W].

    Returns:
        along_columns [N, C, 3, W], along_rows [N, C, 3, H].
    """
    over_rows, over_columns = _Means.apply(planes)  # type: ignore[misc]
    along_columns = torch.stack([over_rows[:, :, 1], over_rows[:, :, 0], over_columns[..., 0]], dim=2)
    along_rows = torch.stack([over_rows[:, :, 2], over_columns[..., 2], over_columns[..., 1]], dim=2)
    return along_columns, along_rows


def _taken_apart(picture: torch.Tensor, roll_out: bool) -> torch.Tensor:
    """A picture -> [N, C, H, 3, W], a view."""
    if roll_out:
        return picture.unflatten(3, (3, -1))
    return picture.unflatten(0, (-1, 3)).permute(0, 2, 3, 1, 4)


def _lines(profile: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """profile [N, C, P, L] with three 1-D kernels, [3, O, C, 3] -> [N, 3, O, P, L]."""
    lines = F.conv2d(profile, kernels.flatten(0, 1)[:, :, None], padding=(0, 1))
    return lines.unflatten(1, (3, -1))


class _Means(torch.autograd.Function):
    """planes [N, C, H, 3, W] -> mean over rows, mean over columns; by hand, to give both gradients in one pass."""

    @staticmethod
    def forward(planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        return planes.mean(dim=2), planes.mean(dim=4)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, of_rows: torch.Tensor, of_columns: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        side = of_columns.shape[2]
        return (of_rows / side)[:, :, None] + (of_columns / side)[..., None]


class _Spread(torch.autograd.Function):
    """own + both terms broadcast, each line of the kernel where it lies inside the plane or the picture.

    By hand, because autograd would copy the whole gradient for each border line.

    Args:
        own: [N, O, H, 3, W]. T_c: [N, 3, O, 3, W], to every row: but line 0 not to the first, line 2 not to the last.
        T_r: [N, 3, O, 3, H], to every column of its plane: but line 0 not to the first, line 2 not to the last; over a
            seam these see the neighbour's.
    """

    @staticmethod
    def forward(own: torch.Tensor, T_c: torch.Tensor, T_r: torch.Tensor, roll_out: bool) -> torch.Tensor:  # type: ignore[override]
        out = own + T_c.sum(dim=1)[:, :, None]
        out[:, :, 0] -= T_c[:, 0]
        out[:, :, -1] -= T_c[:, 2]
        T_r = T_r.transpose(3, 4)
        out += T_r.sum(dim=1)[..., None]
        out[..., 0] -= T_r[:, 0]
        out[..., -1] -= T_r[:, 2]
        if roll_out:
            out[..., 1:, 0] += T_r[:, 0, ..., :-1]
            out[..., :-1, -1] += T_r[:, 2, ..., 1:]
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.roll_out = inputs[3]

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        to_rows = grad.sum(dim=2)
        of_c = torch.stack([to_rows - grad[:, :, 0], to_rows, to_rows - grad[:, :, -1]], dim=1)
        to_columns, first, last = grad.sum(dim=4), grad[..., 0], grad[..., -1]
        of_r = torch.stack([to_columns - first, to_columns, to_columns - last], dim=1)
        if ctx.roll_out:
            of_r[:, 0, ..., :-1] += first[..., 1:]
            of_r[:, 2, ..., 1:] += last[..., :-1]
        return grad, of_c, of_r.transpose(3, 4), None
