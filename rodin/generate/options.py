"""Sampling options that override a run's config."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodin.config import Config
from rodin.marks.credentials import Credentials
from rodin.marks.keys import key_of
from rodin.marks.marking import Marking
from rodin.shapes import check_whole
from rodin.store.manifest import canonical

MOST_GUIDANCE = 100.0  # over it an avatar is noise clipped to the ends of its range; the paper tries up to 6
MOST_SEED = 2**63 - 1  # what readers of metadata.json hold in a whole number
DIGEST_LENGTH = 12
MOST_STRENGTH = 5.0  # of an edit: over it every avatar becomes the same caricature
MOST_BETWEEN = 1000  # avatars from one to the next: a film of half a minute
MOST_AVATARS = 10_000  # of one request: their folders have names of four digits


@dataclass(frozen=True)
class SamplingOptions:
    """Sampling options that override the run's config; None keeps the config's value.

    Args:
        guidance_scale: of the base model, over 0 and at most 100; 1: no guidance.
        steps: DDIM steps of base model and upsampler.
        precision: of the networks, float32 or bfloat16.
        watermark: whether pictures get the invisible watermark.
        watermark_key: file whose bytes are its key; None: the public one.
        c2pa: files of a certificate chain and its private key, PEM, to sign pictures with.

    Raises:
        ValueError: guidance scale or precision out of range, or a key without a watermark.
    """

    guidance_scale: float | None = None
    steps: int | None = None
    precision: str | None = None
    watermark: bool | None = None
    watermark_key: Path | None = None
    c2pa: tuple[Path, Path] | None = None

    def __post_init__(self) -> None:
        scale, precision = self.guidance_scale, self.precision
        if scale is not None and not 0 < scale <= MOST_GUIDANCE:
            wanted = f"a number over 0 and up to {MOST_GUIDANCE:g} (1 is without guidance)"
            raise ValueError(f"guidance scale: got {scale}, wanted {wanted}")
        if precision not in (None, "float32", "bfloat16"):
            raise ValueError(f"precision: got {precision!r}, wanted float32 or bfloat16")

    def marking(self, config: Config) -> Marking:
        """The marks of an avatar's files, as a run's config and these options say.

        Raises:
            ValueError: a key without a watermark, or a certificate that cannot be used.
            FileNotFoundError: the key or the certificate is missing.
        """
        wanted = config.sample.watermark if self.watermark is None else self.watermark
        if self.watermark_key is not None and not wanted:
            raise ValueError(f"watermark key {self.watermark_key} without a watermark; give --watermark too")
        key = key_of(self.watermark_key) if wanted else None
        return Marking(key, None if self.c2pa is None else Credentials.read(*self.c2pa))

    def config(self, config: Config) -> Config:
        """A run's config with these options applied.

        Raises:
            ValueError: more steps than the base model has; names the range.
        """
        sample, changes = config.sample, {}
        if self.guidance_scale is not None:
            sample = sample.model_copy(update={"guidance_scale": float(self.guidance_scale)})
        if self.precision is not None:
            sample = sample.model_copy(update={"precision": self.precision})
        if self.steps is not None:
            most = config.base.diffusion.timesteps
            check_whole("steps", self.steps, 1, most, ", the base model's timesteps")
            for name in ("base", "upsample"):
                part = getattr(config, name)
                ddim = part.diffusion.model_copy(update={"sampler": "ddim", "sampling_steps": int(self.steps)})
                changes[name] = part.model_copy(update={"diffusion": ddim})
        return config.model_copy(update=changes | {"sample": sample})


UNNAMED = {  # other settings of a config that change an avatar or its pictures
    "base": {"diffusion"},
    "upsample": {"diffusion"},
    "refine": {"enabled"},
    "latent": {"diffusion"},
    "prior": {"diffusion", "guidance_scale", "best_of", "rerank"},
    "sample": {"main_body", "render_samples", "mesh_resolution"},
}


def sampling_metadata(config: Config) -> dict[str, Any]:
    """Sampling settings of a config, for an avatar's metadata; of those without a name there, one digest."""
    base, sample = config.base.diffusion, config.sample
    others = canonical(config.model_dump(mode="json", include=UNNAMED))
    return {
        "guidance_scale": sample.guidance_scale,
        "sampler": base.sampler,
        "steps": base.sampling_steps,
        "precision": sample.precision,
        "settings": hashlib.sha256(others.encode()).hexdigest()[:DIGEST_LENGTH],
    }
