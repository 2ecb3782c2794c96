"""Sampling by a run's trained models: latents (unconditional, from an image or a text), tri-planes, rendered views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rodin.config import Config, Diffusion
from rodin.data.pictures import images_over_white, refined, to_bytes
from rodin.data.shared_decoder import load_decoder
from rodin.device import default_device
from rodin.diffusion.guidance import guided
from rodin.diffusion.samplers import Denoise, OnStep
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.render import render_views
from rodin.generate.drawing import draw_samples, guided_timesteps
from rodin.generate.latents import sampling_seed, unit
from rodin.generate.models import (
    LoadedNetwork,
    load_base,
    load_clip,
    load_latent,
    load_prior,
    load_refiner,
    load_upsampler,
)
from rodin.marks.marking import Marking
from rodin.nets.clip import Clip
from rodin.store.run_folder import RunFolder

LATENT, PRIOR, BASE, UPSAMPLE = range(4)  # part of a seed: the models' noises are independent of each other
TextEmbeddings = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # N texts: text [N, D], tokens [N, L, E], mask [N, L]
NOISE_STEPS = 4  # of a base model that predicts noise, where planes are predicted quickly; fewer give fog


class Avatars:
    """The models of a run as one cascade; each model is loaded at its first use.

    Args:
        config: the run's config.
        folder: the run.
        device: device to compute on; None: CUDA if available.
        upsampler: folder of an upsampler to use instead of the run's own.
    """

    def __init__(
        self, config: Config, folder: RunFolder, device: torch.device | None = None, upsampler: Path | None = None
    ) -> None:
        self.config, self.folder, self.upsampler = config, folder, upsampler
        self.device = device or default_device()
        self.marking = Marking()  # of files of its avatars; `Rodin` sets the one that is asked for

    @cached_property
    def clip(self) -> Clip:
        return load_clip(self.config, self.folder, self.device)

    @cached_property
    def decoder(self) -> Decoder:
        return load_decoder(self.folder, self.device)

    @cached_property
    def base(self) -> LoadedNetwork:
        """The base model."""
        return load_base(self.folder, self.device, bool(self.config.base.mirror))

    @cached_property
    def _upsampler(self) -> LoadedNetwork:
        return load_upsampler(self.folder, self.device, self.upsampler, bool(self.config.base.mirror))

    @cached_property
    def _latent(self) -> LoadedNetwork:
        return load_latent(self.folder, self.device)

    @cached_property
    def _prior(self) -> LoadedNetwork:
        return load_prior(self.folder, self.device)

    @cached_property
    def _refiner(self) -> LoadedNetwork | None:
        return load_refiner(self.folder, self.device) if self.config.refine.enabled else None

    @property
    def latent_width(self) -> int:
        """D, the width of a latent."""
        return self.base.settings["latent_width"]

    def predicted(self, latents: torch.Tensor, seeds: Sequence[int], gradients: bool = False) -> torch.Tensor:
        """The planes [N, 3, C, R, R] that the models predict of latents in one step each, the posterior mean.

        Cheaper than `planes` by a factor of ten, and nearer on average, but softer. One step of a base model that
        predicts noise is noise itself: it takes a few.
        """
        steps = NOISE_STEPS if self.base.diffusion["predicts"] == "eps" else 1
        low = self.low_planes(latents, seeds, 1.0, steps=steps, gradients=gradients)
        return self.upsampled(low, latents, seeds, steps=1, gradients=gradients)

    @torch.no_grad()
    def latents_unconditional(self, seeds: Sequence[int]) -> torch.Tensor:
        """Unconditional latents, by latent diffusion: [N, D] of unit length.

        Source: R39.
        """
        loaded = self._latent
        return unit(
            self._draw(
                lambda x_t, timestep, _: loaded(x_t, timestep),
                loaded,
                self.config.latent.diffusion,
                (loaded.settings["latent_width"],),
                [sampling_seed(seed, LATENT) for seed in seeds],
            )
        )

    @torch.no_grad()
    def embedded(self, prompts: Sequence[str]) -> TextEmbeddings:
        """CLIP's embeddings of N texts, each by itself: text [N, D], tokens [N, L, E] and mask [N, L]."""
        each = zip(*(self.clip.text([prompt]) for prompt in prompts), strict=True)
        text, tokens, mask = (torch.cat(parts).to(self.device) for parts in each)
        return text, tokens, mask

    @torch.no_grad()
    def prior_latents(
        self, prompts: Sequence[str], seeds: Sequence[int], draw: int = 0, embedded: TextEmbeddings | None = None
    ) -> torch.Tensor:
        """Latents of texts: of `prior.best_of` samples of the prior, the one nearest to the text's embedding.

        Args:
            prompts: N texts.
            seeds: N, one for each text.
            draw: number of the draw; each has noise of its own.
            embedded: the texts' embeddings, where they are computed already.

        Returns:
            [N, D] of unit length.

        Source: R40, R41.
        """
        loaded, samples, count = self._prior, [], self.config.prior.best_of
        settings, (text, tokens, mask) = self.config.prior, embedded or self.embedded(prompts)

        def read(z_t: torch.Tensor, timestep: torch.Tensor, latent: Any, drop: torch.Tensor | None) -> torch.Tensor:
            return loaded(z_t, timestep, *latent, drop)

        denoise = self._guided(read, loaded, settings.diffusion, settings.guidance_scale)
        for attempt in range(draw * count, (draw + 1) * count):
            latents = self._draw(
                denoise,
                loaded,
                settings.diffusion,
                (loaded.settings["latent_width"],),
                [sampling_seed(seed, PRIOR, attempt) for seed in seeds],
                latent=(text, tokens, mask),
            )
            samples.append(unit(latents))
        candidates = torch.stack(samples)
        best = (candidates * text).sum(dim=-1).argmax(dim=0)
        return candidates[best, torch.arange(len(prompts), device=self.device)]

    @torch.no_grad()
    def latent_from_image(self, rgba: np.ndarray) -> torch.Tensor:
        """CLIP's embedding of an image [H, W, 4] uint8: [1, D] of unit length (R8)."""
        return self.clip.image(images_over_white(rgba[None]).to(self.device))

    @torch.no_grad()
    def planes(
        self, latents: torch.Tensor, seeds: Sequence[int], guidance_scale: float, on_step: OnStep | None = None
    ) -> torch.Tensor:
        """Sample the tri-planes of latents by base model and upsampler.

        Args:
            latents: [N, D] of unit length.
            seeds: N; an avatar depends on its own latent and seed only, not on its batch.
            guidance_scale: classifier-free guidance of the base model; 1: no guidance.
            on_step: called with (step, timestep, x0_hat of the base model [N, 3, C, r, r]).

        Returns:
            [N, 3, C, R, R] in [-1, 1].
        """
        low = self.low_planes(latents, seeds, guidance_scale, on_step)
        return self.upsampled(low, latents, seeds)

    def low_planes(
        self,
        latents: torch.Tensor,
        seeds: Sequence[int],
        guidance_scale: float,
        on_step: OnStep | None = None,
        model: Callable[..., torch.Tensor] | None = None,
        steps: int | None = None,
        gradients: bool = False,
    ) -> torch.Tensor:
        """Tri-planes of latents at the base model's resolution, [N, 3, C, r, r]; arguments as `planes`.

        Args:
            model: network to call instead of `base`.
            steps: sampling steps instead of the config's; 1 gives x0_hat at the last timestep, the posterior mean.
            gradients: whether the result can be differentiated, in the latents.
        """
        plane, loaded, settings = self.config.triplane, self.base, self.config.base.diffusion
        settings = settings if steps is None else settings.model_copy(update={"sampling_steps": steps})
        shape = (3, plane.channels, plane.base_resolution, plane.base_resolution)
        seeds = [sampling_seed(seed, BASE) for seed in seeds]
        denoise = self._guided(model or loaded, loaded, settings, guidance_scale)
        named = {"latent": latents.to(self.device), "on_step": on_step, "gradients": gradients}
        return self._draw(denoise, loaded, settings, shape, seeds, **named)

    def upsampled(
        self,
        low: torch.Tensor,
        latents: torch.Tensor,
        seeds: Sequence[int],
        steps: int | None = None,
        gradients: bool = False,
    ) -> torch.Tensor:
        """Upsample tri-planes [N, 3, C, r, r] to [N, 3, C, R, R], in [-1, 1].

        Args:
            low: of the base model's resolution.
            latents: [N, D] of unit length; without effect on an upsampler that learned without them.
            seeds: N, as in `planes`.
            steps, gradients: as in `low_planes`.
        """
        plane, loaded, settings = self.config.triplane, self._upsampler, self.config.upsample.diffusion
        settings = settings if steps is None else settings.model_copy(update={"sampling_steps": steps})
        condition = [loaded.normaliser.resized(plane.base_resolution).to_model(low.clamp(-1, 1))]
        if loaded.settings.get("latent_width") is not None:
            condition.append(latents.to(self.device))
        planes = self._draw(
            lambda x_t, timestep, latent: loaded(x_t, timestep, *latent),
            loaded,
            settings,
            (3, plane.channels, plane.resolution, plane.resolution),
            [sampling_seed(seed, UPSAMPLE) for seed in seeds],
            latent=tuple(condition),
            gradients=gradients,
        )
        return planes.clamp(-1, 1)

    def _guided(
        self, model: Callable[..., torch.Tensor], loaded: LoadedNetwork, settings: Diffusion, scale: float
    ) -> Denoise:
        """`guided` at the noise levels of the config, by the schedule that the model was trained with."""
        where = guided_timesteps(settings.model_copy(update=loaded.diffusion), self.device)
        return guided(model, scale, where)

    def _draw(
        self, model: Denoise, loaded: LoadedNetwork, settings: Diffusion, *arguments: Any, **named: Any
    ) -> torch.Tensor:
        """`draw_samples` with the config's sampling and the noising that the model was trained with."""
        named |= {"device": self.device, "precision": self.config.sample.precision}
        return draw_samples(model, loaded.normaliser, settings.model_copy(update=loaded.diffusion), *arguments, **named)

    @torch.no_grad()
    def render(
        self,
        planes: torch.Tensor,
        camera_to_world: np.ndarray,
        intrinsics: np.ndarray,
        resolution: int,
        samples: int | None = None,
    ) -> np.ndarray:
        """Render one avatar; the views are refined where `refine.enabled` is set.

        Args:
            planes: [3, C, R, R].
            camera_to_world: [V, 4, 4], OpenCV axes.
            intrinsics: [V, 4] or [4] fx, fy, cx, cy in pixels of an image of `resolution`.
            resolution: side of an image, pixels.
            samples: of a ray; None: the config's.

        Returns:
            [V, resolution, resolution, 4] uint8, straight alpha.
        """
        rgba = render_views(
            planes.to(self.device),
            self.decoder,
            torch.from_numpy(camera_to_world),
            torch.from_numpy(intrinsics),
            resolution,
            resolution,
            box=self.config.triplane.box,
            samples=samples or self.config.sample.render_samples,
            alone=self.config.sample.main_body,
        )
        return to_bytes(rgba if self._refiner is None else refined(self._refiner, rgba))

    def turn(self, planes: torch.Tensor, views: int, resolution: int) -> np.ndarray:
        """Render one avatar from a ring of cameras at eye level, the first frontal: [V, S, S, 4] uint8."""
        data = self.config.data
        poses = cameras.ring(views, radius=data.camera_radius)
        return self.render(planes, poses, cameras.pinhole(resolution, data.fov_degrees), resolution)
