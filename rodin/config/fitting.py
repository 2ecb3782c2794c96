"""The tri-plane, its decoder, and how both are fitted."""

from typing import Annotated, Literal

from pydantic import Field

from rodin.config.section import Count, Finite, PlaneSide, Positive, Real, Section, Weight


class TriPlane(Section):
    """The tri-plane and its decoder (R25, R26)."""

    channels: Positive = 32
    """features of each plane (R25: 32)"""
    resolution: PlaneSide = 256
    """side of a fitted plane (R25: 256)"""
    base_resolution: PlaneSide = 64
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
    empty: Weight = 0.0
    """log of the density where the visual hull is empty, down to what is not seen: no fog there (ours)"""
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
    memory_gb: Real = 16.0
    """planes of a rank's people in memory, else in TMPDIR; and as much of pictures; on a GPU up to 40 % of it (ours)"""


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
    start: Literal["mean", "learned"] = "mean"
    """where planes start: the mean of the decoder's people, or predicted from pictures (R27: random)"""
    rescale: bool = True
    """random rescaling while fitting (R28)"""
    min_rescale: Annotated[int, Field(ge=4)] = 64
    """smallest resolution of the random rescaling; the largest is the plane's own (R28: 64)"""
    held_out_views: Positive = 8
    """the last views of a person are not fitted; quality is measured there (ours)"""
    target_psnr: Finite | None = None
    """stop early once the held-out views reach this, dB (ours)"""
    floor_psnr: Finite = 12.0
    """a fit under this is retried with another seed, then recorded as failed, dB (ours)"""
    retries: Count = 1
    """tries after the first (ours)"""
    together: Positive = 1
    """people fitted at once in one process, which keeps a GPU busy; a CPU core is busy with one (ours)"""
    compile: bool = False
    """torch.compile the decoder and the sums along rays; needs a C++ compiler on compute nodes; slow on a CPU (ours)"""
    losses: FitLosses = FitLosses()
    """weights of the losses"""
