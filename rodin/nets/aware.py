"""3D-aware convolution at about the cost of a plain one.

The input of each plane includes the other two planes, each averaged along the axis that is not shared and replicated
back. The axis shared with one of them runs along the plane's columns, the axis shared with the other along its rows:

| plane | along its columns | along its rows |
|---|---|---|
| xy | x, from xz | y, from yz |
| xz | x, from xy | z, from yz |
| yz | y, from xy | z, from xz |

Letters: N samples, C channels in, O out, H = W = L the side of a plane; a `profile` is such a mean,
before replication.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn


class AwareConv(nn.Module):
    """3 × 3 convolution of three planes in which each plane also reads the other two.

    Args:
        inputs: C. outputs: O.
        roll_out: whether inputs are [N, C, H, 3W], where kernels reach over the seams between planes; else they are
            [3N, C, H, W], the planes of a sample one after another, each padded with zeros.
    """

    def __init__(self, inputs: int, outputs: int, *, roll_out: bool = True) -> None:
        super().__init__()
        bound = (3 * 9 * inputs) ** -0.5
        kernels = [torch.empty(outputs, inputs, 3, 3).uniform_(-bound, bound) for _ in range(3)]
        self.roll_out = roll_out
        self.weight = nn.Parameter(kernels[0])
        # stored line by line, the order in which `line_kernels` reads them and returns gradients: no copies are needed
        self.weight_columns = nn.Parameter(kernels[1].permute(2, 0, 1, 3).contiguous().permute(1, 2, 0, 3))
        self.weight_rows = nn.Parameter(kernels[2].permute(3, 0, 1, 2).contiguous().permute(1, 2, 3, 0))
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
    """conv2d over the channels [x, map along columns, map along rows], without building the two maps.

    A 3 × 3 convolution of a map that is constant along an axis equals a 1-D convolution, broadcast along that axis. Its
    kernel is the 3 × 3 kernel summed over the axis. At borders and seams some terms of that sum are missing; only those
    lines are corrected. The result is exact.

    Args:
        x: [N, C, H, 3W] if `roll_out`, else [3N, C, H, W]; H = W >= 2.
        weight, weight_columns, weight_rows: [O, C, 3, 3], the kernel's three parts.
        bias: [O].

    Returns:
        [N, O, H, 3W] or [3N, O, H, W].

    Source: paper B.1 (R6, R7). Ours: the factored form.
    """
    planes = _split_planes(x, roll_out)
    if planes.shape[2] != planes.shape[4] or planes.shape[2] < 2:
        raise ValueError(f"x: got shape {list(x.shape)}, wanted three square planes of side 2 or more")
    tensors = [x, weight, weight_columns, weight_rows, bias]
    if not torch.amp.is_autocast_available(x.device.type):  # such as meta tensors
        return _AwareConv.apply(*tensors, roll_out)  # type: ignore[return-value]
    if torch.is_autocast_enabled(x.device.type):
        dtype = torch.get_autocast_dtype(x.device.type)
        tensors = [None if tensor is None else tensor.to(dtype) for tensor in tensors]
    with torch.autocast(x.device.type, enabled=False):
        return _AwareConv.apply(*tensors, roll_out)  # type: ignore[return-value]


def profiles(planes: torch.Tensor, roll_out: bool) -> torch.Tensor:
    """Means of the other two planes along the axis that is not shared, before replication, with padding.

    Args:
        planes: [N, C, H, 3, W].

    Returns:
        [N, 2, C, 3, 1 + L + 1]: along columns, along rows. The padding is zero; along the columns of a roll-out it
        is the neighbour's value across the seam.
    """
    r, c = planes.mean(dim=2), planes.mean(dim=4).transpose(2, 3)
    xy, xz, yz = (slice(p, p + 1) for p in range(3))
    six = torch.cat([r[:, :, xz], r[:, :, xy], c[:, :, xy], r[:, :, yz], c[:, :, yz], c[:, :, xz]], dim=2)
    padded = F.pad(six.unflatten(2, (2, 3)).transpose(1, 2), (1, 1))
    if roll_out:
        columns = padded[:, 0]
        columns[:, :, 1:, 0] = columns[:, :, :-1, -2]
        columns[:, :, :-1, -1] = columns[:, :, 1:, 1]
    return padded


def _of_profiles(grad: torch.Tensor, roll_out: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Transpose of `profiles` without the replication: gradients of the means over rows and over columns."""
    inner = grad[..., 1:-1]
    if roll_out:
        columns = grad[:, 0]
        columns[:, :, :-1, -2] += columns[:, :, 1:, 0]
        columns[:, :, 1:, 1] += columns[:, :, :-1, -1]
    inner = inner / inner.shape[-1]
    columns, rows = inner[:, 0], inner[:, 1]
    xy, xz, yz = (slice(p, p + 1) for p in range(3))
    of_r = torch.cat([columns[:, :, xz], columns[:, :, xy], rows[:, :, xy]], dim=2)
    of_c = torch.cat([columns[:, :, yz], rows[:, :, yz], rows[:, :, xz]], dim=2)
    return of_r, of_c.transpose(2, 3)


def line_kernels(weight_columns: torch.Tensor, weight_rows: torch.Tensor) -> torch.Tensor:
    """1-D kernels as two matrices: [O, C, 3, 3] twice -> [2, 3 · O, C · 3].

    A line is a row of the kernel for the map along columns, a column of the kernel for the map along rows. The matrices
    hold the first line, the sum of all three, the last line.
    """
    lines = torch.stack([weight_columns.permute(2, 0, 1, 3), weight_rows.permute(3, 0, 1, 2)])
    lines[:, 1] = lines.sum(1)
    return lines.flatten(3, 4).flatten(1, 2)


def _of_line_kernels(grad: torch.Tensor) -> torch.Tensor:
    """Transpose of `line_kernels`, inside `grad`: [2, 3 · O, C · 3] -> lines of both kernels [2, 3, O, C, 3]."""
    lines = grad.unflatten(2, (-1, 3)).unflatten(1, (3, -1))
    lines[:, 0] += lines[:, 1]
    lines[:, 2] += lines[:, 1]
    return lines


def _windows(profile: torch.Tensor) -> torch.Tensor:
    """Inputs of a 1-D kernel at each place: [N, 2, C, 3, 1 + L + 1] -> [2, C · 3, N · 3 · L], for a matrix product.

    A matrix product is faster than a 1-D convolution here: with many weights and few places, a convolution spends its
    time on reordering the weights.
    """
    return profile.unfold(4, 3, 1).permute(1, 2, 5, 0, 3, 4).flatten(3).flatten(1, 2)


def _of_windows(grad: torch.Tensor, count: int) -> torch.Tensor:
    """Transpose of `_windows`, for N = `count`: [N, 2, C, 3, 1 + L + 1]."""
    parts = grad.unflatten(2, (count, 3, -1)).unflatten(1, (-1, 3))  # [2, C, 3, N, 3, L]
    length = parts.shape[-1]
    profile = F.pad(parts[:, :, 0], (0, 2))
    profile[..., 1 : length + 1] += parts[:, :, 1]
    profile[..., 2:] += parts[:, :, 2]
    return profile.permute(2, 0, 1, 3, 4)


class _AwareConv(torch.autograd.Function):
    """Plain convolution plus the broadcast 1-D convolutions, with an explicit backward pass.

    Autograd would copy the whole gradient for each border line and read it once for every mean.
    `lines` [2, 3, O, N, 3, L] are the 1-D convolutions of the profiles, in the order of `line_kernels`. The sum of the
    lines along columns is added to every row; its first line does not reach into the first row, nor its last line into
    the last. Lines along rows are added to columns in the same way; across a seam the kernel reads the line of the
    neighbouring plane.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        columns: torch.Tensor,
        rows: torch.Tensor,
        bias: torch.Tensor | None,
        roll_out: bool,
    ) -> torch.Tensor:
        kernels = line_kernels(columns, rows)
        profile = profiles(_split_planes(x, roll_out), roll_out)
        product = torch.bmm(kernels, _windows(profile))
        lines = product.unflatten(2, (len(profile), 3, -1)).unflatten(1, (3, -1))
        picture = F.conv2d(x, weight, bias, padding=1)
        ctx.save_for_backward(x, weight, kernels, profile)
        ctx.roll_out, ctx.biased = roll_out, bias is not None
        out = _split_planes(picture, roll_out).transpose(0, 1)  # [O, N, H, 3, W], a view
        out += lines[0, 1, :, :, None]
        out += lines[1, 1].transpose(2, 3).contiguous()[..., None]
        out[:, :, 0] -= lines[0, 0]
        out[:, :, -1] -= lines[0, 2]
        first, last = lines[1, 0].transpose(2, 3), lines[1, 2].transpose(2, 3)  # [O, N, H, 3]
        out[..., 0] -= first
        out[..., -1] -= last
        if roll_out:
            out[..., 1:, 0] += first[..., :-1]
            out[..., :-1, -1] += last[..., 1:]
        return picture

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # type: ignore[override]
        x, weight, kernels, profile = ctx.saved_tensors
        needs = [ctx.needs_input_grad[0], True, ctx.biased]
        of_x, of_weight, of_bias = _conv2d_backward(grad, x, weight, needs)  # first, as it needs the most memory
        of_out = _split_planes(grad, ctx.roll_out).transpose(0, 1)
        outputs, count, side = of_out.shape[:3]
        of_lines = grad.new_empty(2, 3, outputs, count, 3, side)
        of_lines[0, 1] = of_out.sum(dim=2)
        of_lines[0, 0] = -of_out[:, :, 0]
        of_lines[0, 2] = -of_out[:, :, -1]
        of_rows = of_lines[1].transpose(3, 4)  # [3, O, N, H, 3], a view
        of_rows[1] = of_out.sum(dim=4)
        of_rows[0] = -of_out[..., 0]
        of_rows[2] = -of_out[..., -1]
        if ctx.roll_out:
            of_rows[0, ..., :-1] += of_out[..., 1:, 0]
            of_rows[2, ..., 1:] += of_out[..., :-1, -1]
        of_product = of_lines.flatten(3).flatten(1, 2)
        of_columns, of_rows = _of_line_kernels(torch.bmm(of_product, _windows(profile).transpose(1, 2)))
        if of_x is not None:
            of_profile = _of_windows(torch.bmm(kernels.transpose(1, 2), of_product), count)
            of_r, of_c = _of_profiles(of_profile, ctx.roll_out)
            of_planes = _split_planes(of_x, ctx.roll_out)
            of_planes += of_r[:, :, None]
            of_planes += of_c.contiguous()[..., None]
        return of_x, of_weight, of_columns.permute(1, 2, 0, 3), of_rows.permute(1, 2, 3, 0), of_bias, None


def _conv2d_backward(
    grad: torch.Tensor, x: torch.Tensor, weight: torch.Tensor, needs: list[bool]
) -> tuple[Any, Any, Any]:
    sizes, ones = [weight.shape[0]], [1, 1]
    return torch.ops.aten.convolution_backward(grad, x, weight, sizes, ones, ones, ones, False, [0, 0], 1, needs)


def _split_planes(picture: torch.Tensor, roll_out: bool) -> torch.Tensor:
    """View of an image of three planes as [N, C, H, 3, W]."""
    if roll_out:
        return picture.unflatten(3, (3, -1))
    return picture.unflatten(0, (-1, 3)).permute(0, 2, 3, 1, 4)
