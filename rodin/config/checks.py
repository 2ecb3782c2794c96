"""Whether the values of a config fit together, so that no stage finds out after hours.

`faults`: nothing of the run may begin with these. `faults_of_stages`: those of stages that only some runs have.
`notes`: values that have less effect than they say. Each is one line that names key, value and what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING

from rodin.config.shards import shard_count
from rodin.diffusion.curves import fault, shape_of

if TYPE_CHECKING:
    from rodin.config import Config

MODELS = ("base", "upsample", "latent", "prior")
MOST_SUBJECTS = 1_000_000  # ids have six digits
MOST_SHARDS = 100_000  # names of shards have five digits
LPIPS_SIDE = 32  # pixels; AlexNet's pooling leaves nothing of a smaller picture, see rodin.metrics.lpips
VIT_B_32 = {"ViT-B-32-quickgelu": (512, 224), "ViT-B-32": (512, 224)}  # pretrained CLIP -> its width, side of pictures


def faults(config: Config) -> list[str]:
    """Reasons why a run of this config would fail; an empty list: none that can be known before it begins."""
    checks: tuple[Callable[[Config], Iterator[str]], ...] = (_data, _planes, _clip, _base, _models, _uses, _counts)
    return [fault for check in checks for fault in check(config)]


def _data(config: Config) -> Iterator[str]:
    data, fit = config.data, config.fit
    fitted = data.views - fit.held_out_views
    if fitted < 1:
        yield f"fit.held_out_views {fit.held_out_views} leaves none of data.views {data.views} to fit"
    elif data.reference_views + 1 > fitted:
        yield f"data.reference_views {data.reference_views} must be under the {fitted} fitted views"
    low, high = data.elevation
    if not -90 < low <= high < 90:
        yield (
            f"data.elevation is {_numbers(data.elevation)}, wanted the lowest angle, then the highest, both over -90 "
            "and under 90 degrees"
        )
    corner = math.sqrt(3) * config.triplane.box
    if data.camera_radius <= corner:
        yield (
            f"data.camera_radius {data.camera_radius:g} puts cameras inside the fitted box, whose corners are at "
            f"{corner:.3g} (triplane.box {config.triplane.box:g}); wanted more"
        )
    if data.subjects + data.held_out > MOST_SUBJECTS:
        yield f"data.subjects and data.held_out are {data.subjects + data.held_out}, wanted {MOST_SUBJECTS} at most"


def _planes(config: Config) -> Iterator[str]:
    plane, fit = config.triplane, config.fit
    factor, rest = divmod(plane.resolution, plane.base_resolution)
    if rest:
        yield f"triplane.resolution {plane.resolution} is not a multiple of base_resolution {plane.base_resolution}"
    elif config.upsample.channels % factor:
        yield (
            f"upsample.channels {config.upsample.channels} is not a multiple of {factor}, triplane.resolution over "
            "base_resolution"
        )
    if fit.min_rescale > plane.resolution:
        yield f"fit.min_rescale {fit.min_rescale} is over triplane.resolution {plane.resolution}"
    if fit.target_psnr is not None and fit.target_psnr < fit.floor_psnr:
        yield f"fit.target_psnr {fit.target_psnr:g} is under fit.floor_psnr {fit.floor_psnr:g}: every fit would fail"


def _clip(config: Config) -> Iterator[str]:
    clip = config.clip
    if clip.pretrained is None:
        if clip.image_size % clip.patch and not clip.image_channels:
            yield f"clip.image_size {clip.image_size} is not a multiple of clip.patch {clip.patch}"
        if clip.subjects == 1:
            yield "clip.subjects is 1: CLIP learns to tell people apart; wanted 2 or more, or 0 for the run's own"
        if clip.subjects > MOST_SUBJECTS:
            yield f"clip.subjects is {clip.subjects}, wanted {MOST_SUBJECTS} at most"
    elif clip.pretrained not in VIT_B_32:
        yield f"clip.pretrained is '{clip.pretrained}', wanted {' or '.join(VIT_B_32)}, or none to train a small one"
    elif (clip.width, clip.image_size) != VIT_B_32[clip.pretrained]:
        width, side = VIT_B_32[clip.pretrained]
        yield (
            f"clip.width {clip.width} and clip.image_size {clip.image_size} are not those of clip.pretrained "
            f"{clip.pretrained}: wanted {width} and {side}"
        )


def _base(config: Config) -> Iterator[str]:
    base, side, halvings = config.base, config.triplane.base_resolution, len(config.base.multipliers) - 1
    if base.mirror and config.triplane.view_directions:
        yield f"base.mirror {base.mirror:g} needs triplane.view_directions false: colours by direction do not mirror"
    side, rest = divmod(side, base.patch)
    if rest:
        yield f"base.patch {base.patch} does not divide triplane.base_resolution {config.triplane.base_resolution}"
        return
    if side % 2**halvings:
        patches = f" over base.patch {base.patch}" if base.patch > 1 else ""
        yield (
            f"triplane.base_resolution {side * base.patch}{patches} cannot be halved {halvings} times, once for each "
            "of base.multipliers but the last"
        )
        return
    sides = [side // 2**level for level in range(halvings + 1)]
    if absent := [attended for attended in base.attention if attended not in sides]:
        yield f"base.attention {absent[0]} is the side of no level of the base model; it has {_numbers(sides)}"
    for multiplier, level in zip(base.multipliers, sides, strict=True):
        channels = base.channels * multiplier
        if level in (sides[-1], *base.attention) and channels % base.head_channels:  # the middle always has attention
            yield (
                f"base.head_channels {base.head_channels} does not divide the {channels} channels of the level with "
                f"attention at side {level} (base.channels times its multiplier)"
            )


def _models(config: Config) -> Iterator[str]:
    upsample, patch, pairs = config.upsample, config.upsample.patch, config.prior.pairs
    if pairs is not None and not PurePath(pairs).is_absolute():
        yield f"prior.pairs '{pairs}' is no absolute path: jobs may begin in another folder"
    if config.prior.width % config.prior.heads:
        yield f"prior.width {config.prior.width} is not a multiple of prior.heads {config.prior.heads}"
    if patch.used and upsample.diffusion.predicts != "x0":
        yield (
            f"upsample.patch renders x0, but upsample.diffusion.predicts is {upsample.diffusion.predicts}; set it to "
            "x0, or upsample.patch.pixel and .perceptual to 0"
        )
    if patch.perceptual and min(patch.side, config.data.resolution) < LPIPS_SIDE:
        yield (
            f"upsample.patch.side: got {patch.side} of pictures of {config.data.resolution}, wanted {LPIPS_SIDE} or "
            "more for LPIPS, or upsample.patch.perceptual=0"
        )
    for key, (low, high), least in (
        ("downscale", upsample.degrade.downscale, 1),
        ("blur", upsample.degrade.blur, 0),
        ("noise", upsample.degrade.noise, 0),
    ):
        if not least <= low <= high < math.inf:
            yield (
                f"upsample.degrade.{key} is {_numbers((low, high))}, wanted the least value, {least} or more, then the "
                "greatest"
            )
    for name in MODELS:
        diffusion = getattr(config, name).diffusion
        if diffusion.sampling_steps > diffusion.timesteps:
            yield (
                f"{name}.diffusion.sampling_steps {diffusion.sampling_steps} is over {name}.diffusion.timesteps "
                f"{diffusion.timesteps}"
            )
        shape = shape_of(diffusion.schedule, diffusion.schedule_start, diffusion.schedule_end, diffusion.schedule_tau)
        if problem := fault(diffusion.schedule, shape):
            yield f"{name}.diffusion.schedule {diffusion.schedule}: schedule_{problem}"
        if diffusion.guidance_interval and not diffusion.guidance_interval[0] < diffusion.guidance_interval[1]:
            yield (
                f"{name}.diffusion.guidance_interval is {_numbers(diffusion.guidance_interval)}, wanted the lowest "
                "noise level, then the highest"
            )


def _uses(config: Config) -> Iterator[str]:
    sample, sweeps = config.sample, config.sweeps
    if sample.interpolations and sample.unconditional < 2:
        yield f"sample.interpolations {sample.interpolations} need two avatars, sample.unconditional is 1"
    elif sample.interpolations > sample.unconditional:
        yield (
            f"sample.interpolations {sample.interpolations} is over sample.unconditional {sample.unconditional}: pairs "
            "would repeat"
        )
    for key in ("guidance_scales", "plane_resolutions", "view_counts"):
        values = getattr(sweeps, key)
        if len(set(values)) < len(values):
            yield f"sweeps.{key} is {_numbers(values)}: a value is there twice"


def _counts(config: Config) -> Iterator[str]:
    sizes = {
        "data.shard_subjects": shard_count(config.data.subjects + config.data.held_out, config.data.shard_subjects),
        "clip.shard_subjects": config.shards("portraits"),
        "sample.shard_samples": config.shards("sample"),
        "sweeps.shard_subjects": config.shards("sweep-cfg"),
        "sweeps.fit_subjects": max(config.shards("sweep-resolution"), config.shards("sweep-views")),
    }
    for key, shards in sizes.items():
        if shards > MOST_SHARDS:
            yield f"{key} makes {shards} shards of a stage, wanted {MOST_SHARDS} at most"


def faults_of_stages(config: Config, stages: Collection[str]) -> list[str]:
    """Reasons why one of some stages would fail or repeat itself; of stages that only some runs have."""
    found = []
    fits = [name for name in ("sweep-resolution", "sweep-views") if name in stages]
    if fits and config.sweeps.fit_subjects > config.data.subjects:
        found.append(
            f"{fits[0]}: sweeps.fit_subjects {config.sweeps.fit_subjects} is over data.subjects {config.data.subjects}"
        )
    fitted = config.data.views - config.fit.held_out_views
    over = [count for count in config.sweeps.view_counts if count >= fitted]
    if "sweep-views" in stages and len(over) > 1:
        found.append(
            f"sweep-views: {' and '.join(map(str, over))} of sweeps.view_counts all mean the {fitted} fitted views "
            f"(data.views less fit.held_out_views); keep one"
        )
    return found


def notes(config: Config, stages: Collection[str]) -> list[str]:
    """Values that have less effect on some stages than they say, one line each."""
    data, evaluate, found = config.data, config.evaluate, []
    fitted, most_views = data.views - config.fit.held_out_views, max(config.sweeps.view_counts, default=0)
    at_most = [
        ("decoder.subjects", config.decoder.subjects, "data.subjects", data.subjects, ("decoder",)),
        ("evaluate.subjects", evaluate.subjects, "data.held_out", data.held_out, ("evaluate", "sweep-cfg")),
        ("evaluate.views", evaluate.views, "data.views", data.views, ("evaluate", "sweep-cfg")),
        ("evaluate.neighbours", evaluate.neighbours, "data.subjects", data.subjects, ("evaluate",)),
        ("sweeps.view_counts", most_views, "data.views less fit.held_out_views", fitted, ("sweep-views",)),
        (
            *("sample.trajectory_steps", config.sample.trajectory_steps),
            *("base.diffusion.sampling_steps", config.base.diffusion.sampling_steps, ("sample",)),
        ),
    ]
    for key, asked, limit, there, readers in at_most:
        if asked > there and any(name in stages for name in readers):
            found.append(f"{key} is {asked:,}, but {limit} is {there:,}: {there:,} it is")
    if "base" in stages and config.base.keep_averages and not config.base.training.picture_every:
        found.append("base.keep_averages has no effect: base.training.picture_every is 0")
    if "prior" in stages and config.prior.portraits and not config.portrait_count():
        found.append("prior.portraits has no effect: CLIP has no people of its own")
    if config.clip.subjects and config.clip.pretrained is None and data.source == "import" and "clip" in stages:
        found.append(
            f"clip.subjects {config.clip.subjects:,} has no effect: people are imported, so CLIP learns from the run's "
            "training people"
        )
    for name in (*MODELS, "refine"):
        training = getattr(config, name).training
        if name in stages and training.warmup >= training.steps:
            found.append(
                f"{name}.training.warmup {training.warmup:,} is no less than its {training.steps:,} steps: the step "
                "size never reaches lr"
            )
    return [*found, *(line for name in MODELS if name in stages for line in _without_effect(config, name))]


def _without_effect(config: Config, name: str) -> Iterator[str]:
    """Keys of a model's diffusion that change nothing."""
    diffusion, key = getattr(config, name).diffusion, f"{name}.diffusion"
    if diffusion.sampler == "ddim" and diffusion.noise_scale != 1:
        yield f"{key}.noise_scale {diffusion.noise_scale:g} has no effect: ddim adds no noise"
    if name in ("latent", "prior") and diffusion.clip in ("range", "texel"):
        yield f"{key}.clip {diffusion.clip} has no effect: latents have no range; std or dynamic would clip them"
    if name in ("upsample", "latent") and diffusion.guidance_interval is not None:
        yield f"{key}.guidance_interval {_numbers(diffusion.guidance_interval)} has no effect: {name} is not guided"
    if diffusion.min_snr is None and diffusion.min_snr_after:
        yield f"{key}.min_snr_after {diffusion.min_snr_after:,} has no effect: {key}.min_snr is none"
    curve = (diffusion.schedule_start, diffusion.schedule_end, diffusion.schedule_tau)
    if diffusion.schedule == "linear" and any(value is not None for value in curve):
        yield f"{key}.schedule_start, _end and _tau have no effect: they are of cosine and sigmoid, not of linear"


def _numbers(values: Collection[float]) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
