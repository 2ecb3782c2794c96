"""What is drawn from the trained models, and what is measured."""

from typing import Annotated, Literal

from pydantic import Field

from rodin.config.section import LARGEST_SIDE, Count, Positive, Real, Section, Side

MOST_CELLS = 1_024  # a side of the grid of marching cubes: 4 GB of densities
SweptSide = Annotated[int, Field(ge=4, le=LARGEST_SIDE)]


class Sample(Section):
    """What the `sample` stage draws."""

    guidance_scale: Real = 1.5
    """classifier-free guidance (R50); 1 is without"""
    precision: Literal["float32", "bfloat16"] = "float32"
    """what the networks compute in while sampling; on a CPU bfloat16 is slow. On GPUs from Ampere on convolutions
    of float32 multiply in TF32, 10 bits of 23, unless the environment has NVIDIA_TF32_OVERRIDE=0 (ours)"""
    unconditional: Positive = 64
    """avatars drawn from nothing (R54)"""
    interpolations: Count = 4
    """pairs of avatars interpolated (R57)"""
    interpolation_steps: Annotated[int, Field(ge=2)] = 7
    """avatars on the way from one to the other, ends included (ours)"""
    prompts: Positive = 24
    """text prompts naming a hair or shirt colour (ours)"""
    attribute_prompts: Count = 0
    """further prompts asking for glasses, a hat or a beard; each is drawn again without asking, as a control (ours)"""
    trajectory_steps: Annotated[int, Field(ge=2)] = 8
    """points of the reverse process that are rendered (R45)"""
    views: Positive = 8
    """pictures of each sample, around it; the first is frontal (ours)"""
    resolution: Side = 256
    """side of those pictures, pixels (ours)"""
    render_samples: Positive = 128
    """samples on a ray when rendering (ours)"""
    main_body: bool = False
    """pictures show only the largest connected solid and what lies within two texels of it: no specks or fog (ours)"""
    watermark: bool = False
    """`rodin sample` and `edit` hide a watermark in their pictures, which `rodin watermark check` finds (R60, ours)"""
    mesh_resolution: Annotated[int, Field(ge=16, le=MOST_CELLS)] = 256
    """grid of marching cubes (R55)"""
    shard_samples: Positive = 16
    """avatars packed into one array element (ours)"""
    batch: Positive = 8
    """avatars drawn together (ours)"""


class Evaluate(Section):
    """Measuring conditional reconstruction and neighbours (R47-R49)."""

    subjects: Positive = 1_000
    """held-out people measured at most (R48: 1K)"""
    views: Positive = 300
    """views of each compared (R48: 300)"""
    neighbours: Positive = 5
    """nearest training people shown of each sample (R47)"""
    cascade: Count = 0
    """people of either kind, training and held-out, measured after each step of the cascade; 0: not measured (ours)"""


class Sweeps(Section):
    """The paper's ablations."""

    guidance_scales: Annotated[tuple[Real, ...], Field(min_length=1)] = (1.0, 1.2, 1.5, 3.0, 6.0)
    """Table 1's columns; 1 is 'w/o CFG' (R49)"""
    plane_resolutions: Annotated[tuple[SweptSide, ...], Field(min_length=1)] = (64, 128, 256, 384, 512)
    """Figure 3's planes (R43)"""
    view_counts: Annotated[tuple[Positive, ...], Field(min_length=1)] = (10, 25, 50, 100, 200, 300)
    """Figure 4's numbers of views (R44)"""
    fit_subjects: Positive = 8
    """people fitted at each point of Figures 3 and 4 (ours)"""
    shard_subjects: Positive = 16
    """people measured in one array element (ours)"""
