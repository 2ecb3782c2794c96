"""What a run is: every scientific choice of a run, as frozen records with checked types and ranges.

A field's docstring says its unit and its source: an id such as (R13) is a requirement of the paper, (ours) is our
decision where the paper is silent. Values live in `rodin/presets/`; resources live in `jobs/`, not here.
"""

from __future__ import annotations

import math

from pydantic import model_validator

from rodin.config.data import Data
from rodin.config.fitting import Fit, FitLosses, SharedDecoder, TriPlane
from rodin.config.models import Base, Degrade, Diffusion, Latent, Patch, Prior, Refine, SmallClip, Training, Upsample
from rodin.config.section import Count, Section
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
        """How many independent pieces of work a stage has; 1 for a stage that is no array."""
        views = _parts(self.data.subjects + self.data.held_out, self.data.shard_subjects)
        return {
            "render": views,
            "import": views,
            "fit": _parts(self.data.subjects, self.data.shard_subjects),
            "sample": _parts(self.sample_count(), self.sample.shard_samples),
            "sweep-cfg": len(self.sweeps.guidance_scales)
            * _parts(min(self.evaluate.subjects, max(self.data.held_out, 1)), self.sweeps.shard_subjects),
            "sweep-resolution": len(self.sweeps.plane_resolutions) * self.sweeps.fit_subjects,
            "sweep-views": len(self.sweeps.view_counts) * self.sweeps.fit_subjects,
            "sweep-convolution": 4,
        }.get(stage, 1)

    def subjects_of(self, stage: str, shard: int) -> list[str]:
        """The people in one shard of `render`, `import` or `fit`."""
        people = self.data.subjects + (self.data.held_out if stage in ("render", "import") else 0)
        size = self.data.shard_subjects
        return _ids(range(people)[shard * size : (shard + 1) * size])

    def sample_count(self) -> int:
        """Work items of the `sample` stage: an interpolation is one item, so is the one trajectory."""
        return self.sample.unconditional + self.sample.interpolations + self.sample.prompts + 1


def _parts(whole: int, size: int) -> int:
    return math.ceil(whole / size)


def _ids(numbers: range) -> list[str]:
    return [f"{number:06d}" for number in numbers]
