"""The people and their pictures."""

from typing import Annotated, Literal

from pydantic import Field

from rodin.config.section import Count, Finite, Fraction, Positive, Real, Section, Side

MOST_VIEWS = 10_000  # of a person: over that, one person does not fit into memory


class Data(Section):
    """The people and their views (R21-R24)."""

    source: Literal["avatars", "import"] = "avatars"
    """where views come from: rendered by our Blender scene, or brought in by `rodin import` (ours)"""
    subjects: Positive = 100_000
    """training people (R21: 100K)"""
    held_out: Count = 1_000
    """people no training stage sees; Table 1 is measured on them (R48: 1K)"""
    views: Annotated[int, Field(ge=4, le=MOST_VIEWS)] = 300
    """pictures of each person (R22: 300)"""
    reference_views: Positive = 24
    """the first views of a person are near frontal; view 0 is exactly frontal (ours)"""
    resolution: Side = 256
    """height and width of a picture in pixels (R23: 256)"""
    samples: Positive = 32
    """Cycles samples a pixel; 8 are 38.8 dB from a picture of 512, 16 are 42, 32 are 45, denoised, 256² (ours)"""
    denoise: bool = True
    """clean the pictures with Open Image Denoise (ours)"""
    camera_radius: Real = 4.0
    """distance of the cameras from the origin, world units (ours)"""
    fov_degrees: Annotated[float, Field(gt=1, lt=120)] = 31.0
    """full field of view of a camera, degrees (ours)"""
    elevation: tuple[Finite, Finite] = (-20.0, 40.0)
    """lowest and highest camera, degrees over the horizon (ours)"""
    shard_subjects: Positive = 64
    """people packed into one shard, one array element's work (ours)"""
    allow_missing: Fraction = 0.0
    """share of the people that may be missing, after their pictures or fits failed for good, before all waits (ours)"""
    device: Literal["CPU", "CUDA", "OPTIX"] = "CPU"
    """what Cycles renders on (ours)"""
    captions: Positive = 8
    """captions of each person: the full one, then partial ones (ours)"""
