"""The loss of a network that has learned nothing, as a plain number without torch: what a healthy curve starts from."""

from __future__ import annotations

from collections.abc import Sequence

PLANE_STD = 0.5  # of planes in the networks' units, as of ADM's images in [-1, 1]
LATENT_STD = 1.0  # of latents in the networks' units (R39)


def untrained_loss(
    alpha_bar: Sequence[float], predicts: str, std: float, min_snr: float | None = None, low: bool = False
) -> float:
    """Expected `diffusion_loss` of a network that gives 0, over all timesteps of a schedule.

    The targets are eps, x0 and v = √alpha_bar eps − √(1 − alpha_bar) x0, with x0 of mean 0.

    Args:
        alpha_bar: of each timestep, in (0, 1).
        predicts: "eps", "x0" or "v".
        std: standard deviation of x0.
        min_snr: gamma of the min-SNR weights; None: all timesteps weigh the same.
        low: the network gives x0 itself, as the upsampler nearly does: it starts as the low planes enlarged.
    """
    total = 0.0
    for share in alpha_bar:
        given = std**2 * low
        of_x0 = (1 + (1 - share) ** 0.5) ** 2 if low else 1 - share
        square = {"eps": 1 + given, "x0": std**2 - given, "v": share + of_x0 * std**2}[predicts]
        snr = share / (1 - share)
        weight = 1.0 if min_snr is None else min(snr, min_snr) / {"eps": snr, "x0": 1, "v": snr + 1}[predicts]
        total += weight * square
    return total / len(alpha_bar)
