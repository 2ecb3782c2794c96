"""What a run is: every scientific choice of a run, as frozen records with checked types and ranges.

A field's docstring says its unit and its source: an id such as (R13) is a requirement of the paper, (ours) is our
decision where the paper is silent. Values live in `rodin/presets/`; resources live in `jobs/`, not here.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
Real = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen part of the config; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


class Data(Section):
    """The people and their views (R21-R24)."""

    source: Literal["avatars", "import"] = "avatars"
    """where views come from: rendered by our Blender scene, or brought in by `rodin import` (ours)"""
    subjects: Positive = 100_000
    """training people (R21: 100K)"""
    held_out: Count = 1_000
    """people no training stage sees; Table 1 is measured on them (R48: 1K)"""
    views: Annotated[int, Field(ge=4)] = 300
    """pictures of each person (R22: 300)"""
    reference_views: Positive = 24
    """the first views of a person are near frontal; view 0 is exactly frontal (ours)"""
    resolution: Annotated[int, Field(ge=16)] = 256
    """height and width of a picture in pixels (R23: 256)"""
    samples: Positive = 32
    """Cycles samples a pixel (ours)"""
    camera_radius: Real = 4.0
    """distance of the cameras from the origin, world units (ours)"""
    fov_degrees: Annotated[float, Field(gt=1, lt=120)] = 30.0
    """full field of view of a camera, degrees (ours)"""
    elevation: tuple[float, float] = (-20.0, 40.0)
    """lowest and highest camera, degrees over the horizon (ours)"""
    shard_subjects: Positive = 64
    """people packed into one shard, one array element's work (ours)"""
    device: Literal["CPU", "CUDA", "OPTIX"] = "CPU"
    """what Cycles renders on (ours)"""
    captions: Positive = 8
    """captions of each person: the full one, then partial ones (ours)"""


class TriPlane(Section):
    """The tri-plane and its decoder (R25, R26)."""

    channels: Positive = 32
    """features of each plane (R25: 32)"""
    resolution: Annotated[int, Field(ge=8)] = 256
    """side of a fitted plane (R25: 256)"""
    base_resolution: Annotated[int, Field(ge=8)] = 64
    """side of the planes the base model makes (R5: 64)"""
    box: Real = 1.0
    """half the side of the cube that is fitted, world units (ours)"""
    decoder_width: Positive = 64
    """width of the decoder's hidden layers (ours)"""
    decoder_layers: Annotated[int, Field(ge=2)] = 4
    """fully connected layers of the decoder (R26: 4)"""
    view_directions: bool = False
    """whether colour depends on the view direction (ours: no)"""


class FitLosses(Section):
    """Weights of the fitting losses (R31-R34; the weights are ours). 0 switches a loss off."""

    mse: Real = 1.0
    """squared error of rendered pixels (R31)"""
    opacity: Weight = 0.1
    """squared error of rendered opacity against the picture's alpha (ours)"""
    sparse: Weight = 1e-3
    """l1 of the density (R32)"""
    smooth: Weight = 1e-3
    """density at nearby points alike (R33)"""
    distortion: Weight = 1e-3
    """mip-NeRF 360's distortion: compact weights along a ray (R34)"""
    planes_tv: Weight = 1e-3
    """total variation of the planes: keeps them learnable (ours)"""
    planes_l2: Weight = 1e-4
    """squared size of the features (ours)"""


class SharedDecoder(Section):
    """Learning the shared decoder with the first people (R29)."""

    subjects: Positive = 1_000
    """people the decoder is learned with (R29: 1,000)"""
    steps: Positive = 100_000
    """optimiser steps (ours)"""
    subjects_per_step: Positive = 4
    """people in one step on one rank, drawn at random: replay (ours)"""
    rays: Positive = 4096
    """rays of each person in a step (ours)"""
    planes_lr: Real = 2e-2
    """Adam's step size for planes (ours)"""
    decoder_lr: Real = 2e-3
    """Adam's step size for the decoder (ours)"""


class Fit(Section):
    """Fitting one person's tri-plane with the decoder frozen (R25-R34)."""

    steps: Positive = 5_000
    """optimiser steps at most (ours)"""
    rays: Positive = 8192
    """rays in a step (ours)"""
    samples: Positive = 128
    """samples on a ray through the whole box (ours)"""
    lr: Real = 2e-2
    """Adam's step size for planes (ours)"""
    rescale: bool = True
    """random rescaling while fitting (R28)"""
    min_rescale: Annotated[int, Field(ge=4)] = 64
    """smallest resolution of the random rescaling; the largest is the plane's own (R28: 64)"""
    held_out_views: Positive = 8
    """the last views of a person are not fitted; quality is measured there (ours)"""
    target_psnr: float | None = None
    """stop early once the held-out views reach this, dB (ours)"""
    floor_psnr: float = 12.0
    """a fit under this is retried with another seed, then recorded as failed, dB (ours)"""
    retries: Count = 1
    """tries after the first (ours)"""
    losses: FitLosses = FitLosses()
    """weights of the losses"""


class SmallClip(Section):
    """The CLIP that conditions the models: pretrained where configured, else a small one trained on our captions."""

    pretrained: str | None = "ViT-B-32-quickgelu"
    """open_clip model whose weights `rodin weights fetch` brought; none: stage `clip` trains a small one (R8: ViT-B/32)"""
    width: Positive = 512
    """width of the shared embedding, D (R8: 512)"""
    image_size: Positive = 224
    """side of the pictures it sees (ViT-B/32: 224)"""
    image_layers: Positive = 4
    """transformer layers of the small image tower (ours)"""
    text_layers: Positive = 2
    """transformer layers of the small text tower (ours)"""
    tower_width: Positive = 128
    """hidden width of both small towers (ours)"""
    patch: Positive = 8
    """patch side of the small image tower, pixels (ours)"""
    steps: Positive = 1_000
    """training steps of the small CLIP (ours)"""
    batch: Positive = 64
    """picture-caption pairs in a step (ours)"""
    lr: Real = 5e-4
    """AdamW's step size (ours)"""


class Diffusion(Section):
    """Noising and sampling (R1-R4, R16-R19)."""

    timesteps: Positive = 1_000
    """T (R16: 1000; upsampler R17: 100)"""
    schedule: Literal["linear", "cosine", "sigmoid"] = "linear"
    """noise schedule; linear betas are scaled by 1000/T (R18)"""
    predicts: Literal["eps", "x0"] = "eps"
    """what the network predicts (R3: eps; ours for the upsampler and prior: x0)"""
    sampler: Literal["ancestral", "ddim"] = "ancestral"
    """ancestral steps of equation 3, or DDIM (R4)"""
    sampling_steps: Positive = 100
    """steps of a sample (R19: 100)"""
    clip: float | None = 1.0
    """clip x0_hat to [-clip, clip] while sampling; none: do not (ours)"""
    noise_scale: Real = 1.0
    """scale of the noise added while sampling (ours)"""


class Training(Section):
    """How a network is trained (R12-R15, R39, R42)."""

    batch: Positive = 48
    """samples in a step over all ranks (R14: 48 base, 16 upsampler, 96 latent and prior)"""
    steps: Positive = 500_000
    """optimiser steps (ours)"""
    lr: Real = 5e-5
    """AdamW's step size (R13: 5e-5; R39, R42: 4e-5)"""
    warmup: Count = 1_000
    """steps over which the step size rises (ours)"""
    weight_decay: Weight = 0.0
    """AdamW's weight decay (ours)"""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.9999
    """rate of the exponential moving average (R15: 0.9999)"""
    clip_norm: Real = 1.0
    """largest norm of the gradient (ours)"""
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    """autocast precision; weights stay float32 (ours)"""
    accumulate: Positive = 1
    """gradient accumulation: parts of a rank's batch (ours)"""
    checkpoint_every: Positive = 2_000
    """steps between checkpoints (ours)"""


class Base(Section):
    """The base model (R5-R8)."""

    channels: Positive = 192
    """channels at the first level (R5: 192)"""
    multipliers: tuple[Positive, ...] = (1, 2, 3, 4)
    """channel multiplier of each level (ours)"""
    blocks: Positive = 3
    """residual blocks a level (ours)"""
    attention: tuple[Positive, ...] = (32, 16, 8)
    """resolutions with attention (ours)"""
    head_channels: Positive = 64
    """channels of an attention head (ours)"""
    dropout: Fraction = 0.1
    """dropout in residual blocks (ours)"""
    drop_latent: Fraction = 0.2
    """share of training samples whose condition is dropped (R50)"""
    diffusion: Diffusion = Diffusion()
    """noising and sampling"""
    training: Training = Training()
    """how it is trained"""


class Degrade(Section):
    """Condition augmentation: a random mix of downscale, blur and noise (R11; ranges ours)."""

    downscale: tuple[float, float] = (1.0, 2.0)
    """least and greatest factor under the base resolution"""
    blur: tuple[float, float] = (0.0, 1.0)
    """least and greatest standard deviation of the Gaussian blur, low-resolution pixels"""
    noise: tuple[float, float] = (0.0, 0.1)
    """least and greatest standard deviation of the Gaussian noise, feature units"""


class Upsample(Section):
    """The upsampling model (R9-R11)."""

    channels: Positive = 192
    """channels at the low resolution (ours)"""
    blocks: Positive = 4
    """residual blocks on either side of the middle (ours)"""
    dropout: Fraction = 0.0
    """dropout in residual blocks (ours)"""
    roll_out: bool = True
    """the three planes side by side (R6); off for Figure 6's ablation"""
    aware: bool = True
    """3D-aware convolution (R7); off for Figure 6's ablation"""
    degrade: Degrade = Degrade()
    """condition augmentation"""
    diffusion: Diffusion = Diffusion(timesteps=100, predicts="x0")
    """noising and sampling (R17: T = 100)"""
    training: Training = Training(batch=16)
    """how it is trained (R14: batch 16)"""


class Latent(Section):
    """Latent diffusion for unconditional sampling (R39)."""

    layers: Positive = 20
    """layers of the MLP (R39: 20)"""
    hidden: Positive = 2048
    """hidden width (R39: 2048)"""
    diffusion: Diffusion = Diffusion(clip=None)
    """noising and sampling"""
    training: Training = Training(batch=96, lr=4e-5)
    """how it is trained"""


class Prior(Section):
    """Text prior: text embedding to image embedding (R40-R42)."""

    layers: Positive = 12
    """transformer layers (ours)"""
    width: Positive = 512
    """transformer width (ours)"""
    heads: Positive = 8
    """attention heads (ours)"""
    drop_text: Fraction = 0.1
    """share of training samples whose text is dropped (ours)"""
    best_of: Positive = 2
    """samples drawn, the best kept by dot product with the text (R41: 2)"""
    diffusion: Diffusion = Diffusion(predicts="x0", clip=None)
    """noising and sampling"""
    training: Training = Training(batch=96, lr=4e-5)
    """how it is trained"""


class Refine(Section):
    """Convolution refinement of rendered pictures (R63): off unless asked for."""

    enabled: bool = False
    """whether the stage is part of the run"""
    channels: Positive = 64
    """channels of the network (ours)"""
    blocks: Positive = 4
    """residual blocks (ours)"""
    training: Training = Training(batch=16, lr=1e-4, steps=50_000)
    """how it is trained"""


class Sample(Section):
    """What the `sample` stage draws."""

    guidance_scale: Real = 1.5
    """classifier-free guidance (R50); 1 is without"""
    unconditional: Positive = 64
    """avatars drawn from nothing (R54)"""
    interpolations: Count = 4
    """pairs of avatars interpolated (R57)"""
    interpolation_steps: Annotated[int, Field(ge=2)] = 7
    """avatars on the way from one to the other, ends included"""
    prompts: Positive = 24
    """text prompts naming a hair or shirt colour"""
    trajectory_steps: Annotated[int, Field(ge=2)] = 8
    """points of the reverse process that are rendered (R45)"""
    views: Positive = 8
    """pictures of each sample, around it; the first is frontal"""
    resolution: Annotated[int, Field(ge=16)] = 256
    """side of those pictures, pixels"""
    render_samples: Positive = 128
    """samples on a ray when rendering"""
    mesh_resolution: Annotated[int, Field(ge=16)] = 256
    """grid of marching cubes (R55)"""
    shard_samples: Positive = 16
    """avatars packed into one array element"""
    batch: Positive = 8
    """avatars drawn together"""


class Evaluate(Section):
    """Measuring conditional reconstruction and neighbours (R47-R49)."""

    subjects: Positive = 1_000
    """held-out people measured at most (R48: 1K)"""
    views: Positive = 300
    """views of each compared (R48: 300)"""
    neighbours: Positive = 5
    """nearest training people shown of each sample (R47)"""


class Sweeps(Section):
    """The paper's ablations."""

    guidance_scales: tuple[Real, ...] = (1.0, 1.2, 1.5, 3.0, 6.0)
    """Table 1's columns; 1 is 'w/o CFG' (R49)"""
    plane_resolutions: tuple[Positive, ...] = (64, 128, 256, 384, 512)
    """Figure 3's planes (R43)"""
    view_counts: tuple[Positive, ...] = (10, 25, 50, 100, 200, 300)
    """Figure 4's numbers of views (R44)"""
    fit_subjects: Positive = 8
    """people fitted at each point of Figures 3 and 4 (ours)"""
    shard_subjects: Positive = 16
    """people measured in one array element (ours)"""


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
            raise ValueError(
                f"data.reference_views {data.reference_views} must be under the {data.views - fit.held_out_views} fitted views"
            )
        if self.clip.patch > self.clip.image_size or self.clip.image_size % self.clip.patch:
            raise ValueError(
                f"clip.image_size {self.clip.image_size} is not a multiple of clip.patch {self.clip.patch}"
            )
        return self

    def train_subjects(self) -> list[str]:
        """Ids of the training people."""
        return [f"{number:06d}" for number in range(self.data.subjects)]

    def held_out_subjects(self) -> list[str]:
        """Ids of the people no training stage sees."""
        return [f"{number:06d}" for number in range(self.data.subjects, self.data.subjects + self.data.held_out)]

    def all_subjects(self) -> list[str]:
        """Ids of all people, training people first."""
        return self.train_subjects() + self.held_out_subjects()

    def shards(self, stage: str) -> int:
        """How many independent pieces of work a stage has; 1 for a stage that is no array."""
        return {
            "render": _parts(self.data.subjects + self.data.held_out, self.data.shard_subjects),
            "fit": _parts(self.data.subjects, self.data.shard_subjects),
            "sample": _parts(self.sample_count(), self.sample.shard_samples),
            "sweep-cfg": len(self.sweeps.guidance_scales)
            * _parts(min(self.evaluate.subjects, max(self.data.held_out, 1)), self.sweeps.shard_subjects),
            "sweep-resolution": len(self.sweeps.plane_resolutions) * self.sweeps.fit_subjects,
            "sweep-views": len(self.sweeps.view_counts) * self.sweeps.fit_subjects,
            "sweep-convolution": 4,
        }.get(stage, 1)

    def subjects_of(self, stage: str, shard: int) -> list[str]:
        """The people in one shard of `render` or `fit`."""
        people = self.all_subjects() if stage == "render" else self.train_subjects()
        size = self.data.shard_subjects
        return people[shard * size : (shard + 1) * size]

    def sample_count(self) -> int:
        """Work items of the `sample` stage: an interpolation is one item, so is the one trajectory."""
        return self.sample.unconditional + self.sample.interpolations + self.sample.prompts + 1


def _parts(whole: int, size: int) -> int:
    return math.ceil(whole / size)
