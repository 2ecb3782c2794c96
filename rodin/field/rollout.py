"""Roll-out: the three planes side by side as one wide image, so that one 2-D network processes all of them."""

import torch

from rodin.shapes import check_shape


def roll_out(planes: torch.Tensor) -> torch.Tensor:
    """Lay the planes side by side: [N, 3, C, R, R] -> [N, C, R, 3R], xy then xz then yz.

    Source: paper B.1 (R5-R7).
    """
    check_shape("planes", planes, "N 3 C R R")
    return planes.permute(0, 2, 3, 1, 4).flatten(3, 4)


def roll_in(image: torch.Tensor) -> torch.Tensor:
    """Split the wide image: [N, C, R, 3R] -> [N, 3, C, R, R], the inverse of `roll_out`."""
    sizes = check_shape("image", image, "N C R W")
    if sizes["W"] != 3 * sizes["R"]:
        raise ValueError(f"image: got shape {list(image.shape)}, wanted [N C R 3R], three square planes side by side")
    return image.unflatten(3, (3, sizes["R"])).permute(0, 3, 1, 2, 4)
