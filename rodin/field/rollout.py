"""Roll-out: the three planes side by side as one wide picture, so that one 2-D network sees them all."""

import torch

from rodin.shapes import check_shape


def roll_out(planes: torch.Tensor) -> torch.Tensor:
    """Lay the planes side by side: [N, 3, C, R, R] -> [N, C, R, 3R], xy then xz then yz.

    Source: paper B.1 (R5-R7).
    """
    check_shape("planes", planes, "N 3 C R R")
    return planes.permute(0, 2, 3, 1, 4).flatten(3, 4)


def roll_in(picture: torch.Tensor) -> torch.Tensor:
    """Take the wide picture apart: [N, C, R, 3R] -> [N, 3, C, R, R], the inverse of `roll_out`."""
    sizes = check_shape("picture", picture, "N C R W")
    if sizes["W"] != 3 * sizes["R"]:
        raise ValueError(
            f"picture: got shape {list(picture.shape)}, wanted [N C R 3R], three square planes side by side"
        )
    return picture.unflatten(3, (3, sizes["R"])).permute(0, 3, 1, 2, 4)
