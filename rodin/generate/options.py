"""Sampling options that override a run's config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rodin.config import Config


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling options that override the run's config; None keeps the config's value.

    Args:
        guidance_scale: of the base model, over 0; 1: no guidance.
        steps: DDIM steps of base model and upsampler.
        precision: of the networks, float32 or bfloat16.
    """

    guidance_scale: float | None = None
    steps: int | None = None
    precision: str | None = None

    def config(self, config: Config) -> Config:
        """A run's config with these options applied.

        Raises:
            ValueError: an option out of range; names the range.
        """
        sample, changes = config.sample, {}
        if (scale := self.guidance_scale) is not None:
            if not 0 < scale < float("inf"):
                raise ValueError(f"guidance scale: got {scale}, wanted a number over 0 (1 is without guidance)")
            sample = sample.model_copy(update={"guidance_scale": scale})
        if self.precision is not None:
            if self.precision not in ("float32", "bfloat16"):
                raise ValueError(f"precision: got '{self.precision}', wanted float32 or bfloat16")
            sample = sample.model_copy(update={"precision": self.precision})
        if self.steps is not None:
            most = config.base.diffusion.timesteps
            if not 1 <= self.steps <= most:
                raise ValueError(f"steps: got {self.steps}, wanted 1 to {most}, the base model's timesteps")
            for name in ("base", "upsample"):
                part = getattr(config, name)
                ddim = part.diffusion.model_copy(update={"sampler": "ddim", "sampling_steps": self.steps})
                changes[name] = part.model_copy(update={"diffusion": ddim})
        return config.model_copy(update=changes | {"sample": sample})


def sampling_metadata(config: Config) -> dict[str, Any]:
    """Sampling settings of a config, for an avatar's metadata."""
    base, sample = config.base.diffusion, config.sample
    return {
        "guidance_scale": sample.guidance_scale,
        "sampler": base.sampler,
        "steps": base.sampling_steps,
        "precision": sample.precision,
    }
