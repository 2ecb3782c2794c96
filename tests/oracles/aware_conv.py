"""3D-aware convolution, the long way: build the replicated maps, put them on the channels, convolve."""

import torch
import torch.nn.functional as F

# letters of each plane: the axis along its columns, the axis along its rows
PLANES = ("xy", "xz", "yz")


def replicated(planes):
    """planes [N, 3, C, R, R] -> the maps each plane sees: along its columns and along its rows, each like planes."""
    along_columns, along_rows = torch.empty_like(planes), torch.empty_like(planes)
    for here, (column_axis, row_axis) in enumerate(PLANES):
        for there, letters in enumerate(PLANES):
            if here == there:
                continue
            shared = column_axis if column_axis in letters else row_axis
            # pool over the axis that is not shared
            pooled_dimension = -2 if letters[0] == shared else -1
            line = planes[:, there].mean(dim=pooled_dimension)  # [N, C, R] along the shared axis
            side = planes.shape[-1]
            for other in range(side):
                if shared == column_axis:
                    along_columns[:, here, :, other, :] = line
                else:
                    along_rows[:, here, :, :, other] = line
    return along_columns, along_rows


def naive(planes, weight, weight_columns, weight_rows, bias, *, roll_out):
    """[N, 3, C, R, R] -> [N, 3, O, R, R]: three times the channels through one convolution."""
    kernel = torch.cat([weight, weight_columns, weight_rows], dim=1)
    stacked = torch.cat([planes, *replicated(planes)], dim=2)
    if not roll_out:
        return torch.stack([F.conv2d(stacked[:, p], kernel, bias, padding=1) for p in range(3)], dim=1)
    wide = F.conv2d(torch.cat([stacked[:, p] for p in range(3)], dim=-1), kernel, bias, padding=1)
    return torch.stack(wide.chunk(3, dim=-1), dim=1)
