"""What a run is: every scientific choice of a run, as frozen records with checked types and ranges.

A field's docstring says its unit and its source: an id such as (R13) is a requirement of the paper, (ours) is our
decision where the paper is silent. Values live in `rodin/presets/`; resources live in `jobs/`, not here.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationInfo, model_validator

from rodin.config.checks import faults
from rodin.config.data import Data
from rodin.config.fitting import Fit, FitLosses, SharedDecoder, TriPlane
from rodin.config.models import Base, Degrade, Diffusion, Latent, Patch, Prior, Refine, SmallClip, Training, Upsample
from rodin.config.section import Section, Seed
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


UNCHECKED = "unchecked"  # key of pydantic's context: the values need not fit together, as they belong to a run


class Config(Section):
    """All of a run."""

    preset: str
    """the preset this started from (ours)"""
    seed: Seed = 0
    """everything random follows from it (ours)"""
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
    def _fits_together(self, info: ValidationInfo) -> Config:
        if not (info.context or {}).get(UNCHECKED) and (found := faults(self)):
            raise ValueError("; ".join(found))
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

    def portrait_subjects(self) -> list[str]:
        """Ids of the people that only the small CLIP sees; none where it is pretrained or people are captured.

        They never collide with ids of the run's people, which are numbers.
        """
        return [f"c{number:06d}" for number in range(self.portrait_count())]

    def portrait_count(self) -> int:
        """Number of people that only the small CLIP sees."""
        return self.clip.subjects if self.clip.pretrained is None and self.data.source == "avatars" else 0

    def shards(self, stage: str) -> int:
        """Number of shards of a stage: independent parts of its work; 1 for a stage that is no array."""
        views = shard_count(self.data.subjects + self.data.held_out, self.data.shard_subjects)
        measured = shard_count(max(self.measured_count(), 1), self.sweeps.shard_subjects)
        return {
            "render": views,
            "import": views,
            "portraits": max(1, shard_count(self.portrait_count(), self.clip.shard_subjects)),
            "fit": shard_count(self.data.subjects, self.data.shard_subjects),
            "sample": shard_count(self.sample_count(), self.sample.shard_samples),
            "sweep-cfg": len(self.sweeps.guidance_scales) * measured,
            "sweep-resolution": len(self.sweeps.plane_resolutions) * self.sweeps.fit_subjects,
            "sweep-views": len(self.sweeps.view_counts) * self.sweeps.fit_subjects,
            "sweep-convolution": 4,
        }.get(stage, 1)

    def subjects_of(self, stage: str, shard: int) -> list[str]:
        """Ids of the subjects in one shard of a store: of `render`, `import`, `embed`, `fit` or `portraits`."""
        if stage == "portraits":
            return shard_of(self.portrait_subjects(), shard, self.clip.shard_subjects)
        count = self.data.subjects + (0 if stage == "fit" else self.data.held_out)
        return _ids(shard_of(range(count), shard, self.data.shard_subjects))

    def measured_count(self) -> int:
        """Held-out subjects that `evaluate` and `sweep-cfg` measure."""
        return min(self.evaluate.subjects, self.data.held_out)

    def sample_count(self) -> int:
        """Work items of the `sample` stage: an interpolation is one item, so is the one trajectory."""
        sample = self.sample
        return sample.unconditional + sample.interpolations + sample.prompts + 2 * sample.attribute_prompts + 1


def _ids(numbers: Iterable[int]) -> list[str]:
    return [f"{number:06d}" for number in numbers]
