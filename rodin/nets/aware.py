"""3D-aware convolution at the price of a plain one.

Each plane also sees the other two, mean-pooled along the axis it does not share and replicated back. A plane's shared
axis with one of them runs along its columns, with the other along its rows:

| plane | along its columns | along its rows |
|---|---|---|
| xy | x, from xz | y, from yz |
| xz | x, from xy | z, from yz |
| yz | y, from xy | z, from xz |

Letters: N samples, C channels in, O out, H = W the side of a plane, P = 3 planes; `profile` is a map before it is
replicated: `along_columns` [N, C, 3, W], `along_rows` [N, C, H, 3].
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
    planes = x.unflatten(3, (3, -1)) if roll_out else x.unflatten(0, (-1, 3)).permute(0, 2, 3, 1, 4)
    if planes.shape[2] != planes.shape[4] or planes.shape[2] < 2:
        raise ValueError(f"x: got shape {list(x.shape)}, wanted three square planes of side 2 or more")
    along_columns, along_rows = profiles(planes)
    inside_c, top, bottom = _columns_term(along_columns, weight_columns, roll_out)
    inside_r, left, right = _rows_term(along_rows, weight_rows, roll_out)
    own = F.conv2d(x, weight, bias, padding=1)
    own = own.unflatten(3, (3, -1)) if roll_out else own.unflatten(0, (-1, 3)).permute(0, 2, 3, 1, 4)
    both: torch.Tensor = _Spread.apply(own, inside_c, top, bottom, inside_r, left, right)  # type: ignore[assignment]
    return both.flatten(3) if roll_out else both.permute(0, 3, 1, 2, 4).flatten(0, 1)


def profiles(planes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each plane learns of the other two, before it is replicated.

    Args:
        planes: [N, C, H, 3, W].

    Returns:
        along_columns [N, C, 3, W], along_rows [N, C, H, 3].
    """
    over_rows, over_columns = planes.mean(dim=2), planes.mean(dim=4)
    along_columns = torch.stack([over_rows[:, :, 1], over_rows[:, :, 0], over_columns[..., 0]], dim=2)
    along_rows = torch.stack([over_rows[:, :, 2], over_columns[..., 2], over_columns[..., 1]], dim=3)
    return along_columns, along_rows


def _columns_term(profile: torch.Tensor, weight: torch.Tensor, roll_out: bool) -> tuple[torch.Tensor, ...]:
    """[N, O, 3, W]: in every row; to add in the first row; to add in the last row."""
    kernels = torch.cat([weight.sum(dim=2), -weight[:, :, 0], -weight[:, :, 2]])
    if roll_out:
        return F.conv1d(profile.flatten(2), kernels, padding=1).unflatten(2, (3, -1)).chunk(3, dim=1)
    apart = F.conv1d(profile.transpose(1, 2).flatten(0, 1), kernels, padding=1)
    return apart.unflatten(0, (-1, 3)).transpose(1, 2).chunk(3, dim=1)


def _rows_term(profile: torch.Tensor, weight: torch.Tensor, roll_out: bool) -> tuple[torch.Tensor, ...]:
    """[N, O, H, 3]: in every column; to add in each plane's first column; to add in its last."""
    kernels = torch.cat([weight.sum(dim=3), weight[..., 0], weight[..., 2]])
    apart = F.conv1d(profile.permute(0, 3, 1, 2).flatten(0, 1), kernels, padding=1)
    inside, left, right = apart.unflatten(0, (-1, 3)).permute(0, 2, 3, 1).chunk(3, dim=1)
    if not roll_out:
        return inside, -left, -right
    # over a seam the kernel sees the neighbour's profile instead of this plane's
    return inside, F.pad(left[..., :-1], (1, 0)) - left, F.pad(right[..., 1:], (0, 1)) - right


class _Spread(torch.autograd.Function):
    """own + all terms broadcast; by hand, because autograd would copy the whole gradient for each border line."""

    @staticmethod
    def forward(  # type: ignore[override]
        own: torch.Tensor,
        inside_c: torch.Tensor,
        top: torch.Tensor,
        bottom: torch.Tensor,
        inside_r: torch.Tensor,
        left: torch.Tensor,
        right: torch.Tensor,
    ) -> torch.Tensor:
        out = own + inside_c[:, :, None]
        out += inside_r[..., None]
        out[:, :, 0] += top
        out[:, :, -1] += bottom
        out[..., 0] += left
        out[..., -1] += right
        return out

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, ...]:  # type: ignore[override]
        return (
            grad,
            grad.sum(dim=2),
            grad[:, :, 0],
            grad[:, :, -1],
            grad.sum(dim=4),
            grad[..., 0],
            grad[..., -1],
        )
