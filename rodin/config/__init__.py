"""What a run is: every scientific choice of a run, as frozen records with checked types and ranges.

A field's docstring says its unit and its source: an id such as (R13) is a requirement of the paper, (ours) is our
decision where the paper is silent. Values live in `rodin/presets/`; resources live in `jobs/`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import model_validator

from rodin.config.data import Data
from rodin.config.fitting import Fit, FitLosses, SharedDecoder, TriPlane
from rodin.config.models import Base, Degrade, Diffusion, Latent, Patch, Prior, Refine, SmallClip, Training, Upsample
from rodin.config.section import Count, Section
from rodin.config.shards import shard_count, shard_of
from rodin.config.uses import Evaluate, Sample, Sweeps

__all__ = [
    "Base",
    "Config",
    "Data",
    "Degrade",
    "Diffusion",
    "Evaluate",
    "Fit",
    "FitLosses",
    "Latent",
    "Patch",
    "Prior",
    "Refine",
    "Sample",
    "Section",
    "SharedDecoder",
    "SmallClip",
    "Sweeps",
    "Training",
    "TriPlane",
    "Upsample",
]


class Config(Section):
    """All of a run."""

    preset: str
    """the preset this started from"""
    seed: Count = 0
    """everything random follows from it"""
    data: Data = Data()
    triplane: TriPlane = TriPlane()
    clip: SmallClip = SmallClip()
    decoder: SharedDecoder = SharedDecoder()
    fit: Fit = Fit()
    base: Base = Base()
    upsample: Upsample = Upsample()
    latent: Latent = Latent()
    prior: Prior = Prior()
    refine: Refine = Refine()
    sample: Sample = Sample()
    evaluate: Evaluate = Evaluate()
    sweeps: Sweeps = Sweeps()

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        plane, data, fit = self.triplane, self.data, self.fit
        if plane.resolution % plane.base_resolution:
            raise ValueError(
                f"triplane.resolution {plane.resolution} is not a multiple of base_resolution {plane.base_resolution}"
            )
        if fit.min_rescale > plane.resolution:
            raise ValueError(f"fit.min_rescale {fit.min_rescale} is over triplane.resolution {plane.resolution}")
        if fit.held_out_views >= data.views:
            raise ValueError(f"fit.held_out_views {fit.held_out_views} leaves none of data.views {data.views} to fit")
        if data.reference_views + 1 > data.views - fit.held_out_views:
            fitted = data.views - fit.held_out_views
            raise ValueError(f"data.reference_views {data.reference_views} must be under the {fitted} fitted views")
        if self.clip.patch > self.clip.image_size or self.clip.image_size % self.clip.patch:
            raise ValueError(
                f"clip.image_size {self.clip.image_size} is not a multiple of clip.patch {self.clip.patch}"
            )
        if self.upsample.patch.used and self.upsample.diffusion.predicts != "x0":
            raise ValueError(
                f"upsample.patch renders x0, but upsample.diffusion.predicts is {self.upsample.diffusion.predicts}; "
                "set it to x0, or upsample.patch.pixel and .perceptual to 0"
            )
        return self

    @model_validator(mode="after")
    def _networks_can_be_built(self) -> Config:
        base, plane = self.base, self.triplane
        halvings = len(base.multipliers) - 1
        if plane.base_resolution % 2**halvings:
            raise ValueError(
                f"triplane.base_resolution {plane.base_resolution} cannot be halved {halvings} times, once for each of "
                "base.multipliers but the last"
            )
        sides = [plane.base_resolution // 2**level for level in range(halvings + 1)]
        attended = [sides[-1], *base.attention]  # the middle always has attention
        for multiplier, side in zip(base.multipliers, sides, strict=True):
            channels = base.channels * multiplier
            if side in attended and channels % base.head_channels:
                raise ValueError(
                    f"base.head_channels {base.head_channels} does not divide the {channels} channels of the level "
                    f"with attention at side {side} (base.channels times its multiplier)"
                )
        factor = plane.resolution // plane.base_resolution
        if self.upsample.channels % factor:
            raise ValueError(
                f"upsample.channels {self.upsample.channels} is not a multiple of {factor}, triplane.resolution over "
                "base_resolution"
            )
        if self.prior.width % self.prior.heads:
            raise ValueError(f"prior.width {self.prior.width} is not a multiple of prior.heads {self.prior.heads}")
        return self

    def train_subjects(self) -> list[str]:
        """Ids of the training people."""
        return _ids(range(self.data.subjects))

    def held_out_subjects(self) -> list[str]:
        """Ids of the people no training stage sees."""
        return _ids(range(self.data.subjects, self.data.subjects + self.data.held_out))

    def all_subjects(self) -> list[str]:
        """Ids of all people, training people first."""
        return _ids(range(self.data.subjects + self.data.held_out))

    def shards(self, stage: str) -> int:
        """Number of shards of a stage: independent parts of its work; 1 for a stage that is no array."""
        views = shard_count(self.data.subjects + self.data.held_out, self.data.shard_subjects)
        measured = shard_count(max(self.measured_count(), 1), self.sweeps.shard_subjects)
        return {
            "render": views,
            "import": views,
            "fit": shard_count(self.data.subjects, self.data.shard_subjects),
            "sample": shard_count(self.sample_count(), self.sample.shard_samples),
            "sweep-cfg": len(self.sweeps.guidance_scales) * measured,
            "sweep-resolution": len(self.sweeps.plane_resolutions) * self.sweeps.fit_subjects,
            "sweep-views": len(self.sweeps.view_counts) * self.sweeps.fit_subjects,
            "sweep-convolution": 4,
        }.get(stage, 1)

    def subjects_of(self, stage: str, shard: int) -> list[str]:
        """Ids of the subjects in one shard of a store: of `render`, `import`, `embed` (all subjects) or `fit`."""
        count = self.data.subjects + (0 if stage == "fit" else self.data.held_out)
        return _ids(shard_of(range(count), shard, self.data.shard_subjects))

    def measured_count(self) -> int:
        """Held-out subjects that `evaluate` and `sweep-cfg` measure."""
        return min(self.evaluate.subjects, self.data.held_out)

    def sample_count(self) -> int:
        """Work items of the `sample` stage: an interpolation is one item, so is the one trajectory."""
        return self.sample.unconditional + self.sample.interpolations + self.sample.prompts + 1


def _ids(numbers: Iterable[int]) -> list[str]:
    return [f"{number:06d}" for number in numbers]
