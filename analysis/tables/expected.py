"""What a healthy loss of each network is: how it starts, by its target and data, and how it ends."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rodin.config import Diffusion
from rodin.diffusion.curves import alpha_bars
from rodin.diffusion.untrained import LATENT_STD, PLANE_STD, untrained_loss
from rodin.presets import preset

STD = {"base": PLANE_STD, "upsample": PLANE_STD, "latent": LATENT_STD, "prior": LATENT_STD}
LEARNED = (0.02, 0.7)  # of the loss at the start: what trained networks have reached, a guess
KNOWS = {"eps": "it predicts no noise at all", "x0": "it predicts the mean", "v": "it predicts neither x0 nor noise"}


def expected_losses(stage: str, config: Mapping[str, Any]) -> tuple[str, str]:
    """Description of a healthy loss: (at the start, at the end).

    Args:
        stage: a network that is trained: clip, decoder, refine, or a diffusion model.
        config: the run's config as plain data; what it leaves out is the paper's.

    Raises:
        ValueError: a diffusion model's settings that are none.
    """
    if stage == "clip":
        batch = config.get("clip", {}).get("batch", 64)
        return f"about ln {batch} = {math.log(batch):.2f} or more: a guess", "well under that"
    if stage == "decoder":
        return "0.05 to 0.3: grey pictures", "under 0.02: more than 17 dB"
    if stage == "refine":
        return "0.01 to 0.1: the renders as they are", "under the first: pixels nearer to the true ones"
    diffusion = _diffusion(stage, config)
    first = _untrained(stage, diffusion, None if diffusion.min_snr_after else diffusion.min_snr)
    stuck = _untrained(stage, diffusion, diffusion.min_snr)
    if stage == "upsample" and diffusion.predicts == "x0":
        patch = config.get("upsample", {}).get("patch", {})
        more = ", and the loss of pictures" if patch.get("pixel") or patch.get("perceptual") else ""
        return f"under {first:.2g}: the low planes enlarged{more}", "clearly under the first"
    least, most = (f"{share * stuck:.2g}" for share in LEARNED)
    known = "it predicts the low planes enlarged" if stage == "upsample" else KNOWS[diffusion.predicts]
    return f"about {first:.2g}: {known}", f"{least} to {most}; stuck near {stuck:.2g} means a fault"


def _diffusion(stage: str, config: Mapping[str, Any]) -> Diffusion:
    """The noising of a diffusion model; keys of other versions are passed over."""
    own: Diffusion = getattr(preset("paper"), stage).diffusion
    given = config.get(stage, {}).get("diffusion", {})
    known = {key: None if value == "none" else value for key, value in given.items() if key in Diffusion.model_fields}
    return Diffusion.model_validate(own.model_dump() | known)


def _untrained(stage: str, diffusion: Diffusion, min_snr: float | None) -> float:
    shape = (diffusion.schedule_start, diffusion.schedule_end, diffusion.schedule_tau)
    alpha_bar = alpha_bars(diffusion.schedule, diffusion.timesteps, *shape)
    low = stage == "upsample" and diffusion.predicts != "x0"  # x0: the least that is surely not reached at first
    return untrained_loss(alpha_bar, diffusion.predicts, STD[stage], min_snr, low)
