"""Images of a model's samples during its training: a few subjects, a few sampling steps, seen from the front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from rodin.config import Config, Diffusion
from rodin.data.pictures import images_over_white, to_bytes
from rodin.data.shared_decoder import load_decoder
from rodin.field.render import render_views
from rodin.generate.drawing import draw_samples
from rodin.generate.latents import sampling_seed
from rodin.generate.mesh import front
from rodin.store.run_folder import RunFolder
from rodin.train.data.normaliser import Normaliser

PREVIEWED = 4  # subjects in one image; together with the steps, it keeps the pause of the training short
STEPS = 10  # DDIM steps at most
SIDE = 128  # pixels at most, of one subject


def preview(
    config: Config,
    folder: RunFolder,
    kind: Callable[..., nn.Module],
    settings: Mapping[str, Any],
    normaliser: Normaliser,
    diffusion: Diffusion,
    condition: tuple[torch.Tensor, ...],
) -> Callable[[Mapping[str, torch.Tensor]], np.ndarray]:
    """Function that samples the same subjects from a model at each stage of its training.

    Args:
        config: the run's config.
        folder: the run, with its decoder.
        kind, settings: class and keyword arguments of the network; the network in training is not touched.
        normaliser: between planes and the network's units; its mean is the planes [3, C, R, R] of one subject.
        diffusion: noising that the network is trained with; sampled by DDIM in a few steps.
        condition: [N, ...] each, further arguments of the network, on its device.

    Returns:
        (state dict of the average) -> [S, N S, 3] uint8: N avatars side by side, over white.
    """
    sampling = diffusion.model_copy(update={"sampler": "ddim", "sampling_steps": min(STEPS, diffusion.sampling_steps)})
    size, normaliser = min(SIDE, config.sample.resolution), normaliser.mirrored() if config.base.mirror else normaliser

    @torch.no_grad()
    def picture(average: Mapping[str, Any]) -> np.ndarray:
        device = condition[0].device
        network = kind(**settings).to(device).eval()
        network.load_state_dict(average)
        seeds = [sampling_seed(number, 0) for number in range(len(condition[0]))]
        shape = tuple(normaliser.mean.shape)
        samples = draw_samples(
            lambda x_t, timestep, latent: network(x_t, timestep, *latent),
            *(normaliser, sampling, shape, seeds),
            latent=condition,
            device=device,
        )
        decoder, (pose, intrinsics) = load_decoder(folder, device), map(torch.from_numpy, front(config.data, size))
        box, count = config.triplane.box, config.sample.render_samples
        rendered = [
            render_views(planes, decoder, pose[None], intrinsics, size, size, box=box, samples=count)
            for planes in samples.clamp(-1, 1)
        ]
        rgb = to_bytes(images_over_white(to_bytes(torch.cat(rendered))))
        return np.concatenate(list(rgb.transpose(0, 2, 3, 1)), axis=1)

    return picture
