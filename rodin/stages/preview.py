"""Pictures of what a model makes while it is trained: a few people, a few steps, seen from the front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from rodin.config import Config, Diffusion
from rodin.data.pictures import over_white, to_bytes
from rodin.data.shared_decoder import load_decoder
from rodin.field.render import render_image
from rodin.generate.cascade import draw
from rodin.generate.latents import sampling_seed
from rodin.generate.mesh import front
from rodin.store.run_folder import RunFolder
from rodin.train.data.normaliser import Normaliser

PEOPLE, STEPS, SIDE = 4, 10, 128


def preview(
    config: Config,
    folder: RunFolder,
    kind: Callable[..., nn.Module],
    settings: Mapping[str, Any],
    normaliser: Normaliser,
    diffusion: Diffusion,
    condition: torch.Tensor,
) -> Callable[[Mapping[str, torch.Tensor]], np.ndarray]:
    """What draws the same people again and again out of a model that is in training.

    Args:
        config: the run's config.
        folder: the run, with its decoder.
        kind, settings: what makes a network like the one in training, which is not touched.
        normaliser: between planes and the network's units; its mean is a person's planes [3, C, R, R].
        diffusion: noising the network is trained with; sampled by DDIM in a few steps.
        condition: [N, ...] what the network is given beside x_t and the timestep, on its device.

    Returns:
        (state dict of the average) -> [S, N S, 3] uint8: N avatars beside each other, over white.
    """
    sampling = diffusion.model_copy(
        update={"sampler": "ddim", "sampling_steps": min(STEPS, diffusion.sampling_steps), "clip": True}
    )
    size = min(SIDE, config.sample.resolution)

    @torch.no_grad()
    def picture(average: Mapping[str, Any]) -> np.ndarray:
        device = condition.device
        network = kind(**settings).to(device).eval()
        network.load_state_dict(average)
        seeds = [sampling_seed(number, 0) for number in range(len(condition))]
        shape = tuple(normaliser.mean.shape)
        planes = draw(network, normaliser, sampling, shape, seeds, latent=condition, device=device).clamp(-1, 1)
        decoder, (pose, lens) = load_decoder(folder, device), map(torch.from_numpy, front(config.data, size))
        box, samples = config.triplane.box, config.sample.render_samples
        seen = [render_image(one, decoder, pose, lens, size, size, box=box, samples=samples) for one in planes]
        rgb = to_bytes(over_white(to_bytes(torch.stack(seen))))
        return np.concatenate(list(rgb.transpose(0, 2, 3, 1)), axis=1)

    return picture
