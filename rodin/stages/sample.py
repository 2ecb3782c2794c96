"""Stage `sample`: unconditional, interpolated and text-conditioned avatars, and one avatar's reverse process.

An array over items (`config.sample_count()`); a shard is a store of kind `samples`, with `meshes/<name>.glb` of the
unconditional avatars beside it. The avatars follow from the run's config and data alone; none is selected by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.shards import shard_of
from rodin.evaluation.prompts import Prompt, prompts_of
from rodin.field.glb import write_glb
from rodin.field.mesh import shade
from rodin.generate.cascade import Avatars
from rodin.generate.latents import interpolate, sampling_seed
from rodin.generate.mesh import front, surface_mesh
from rodin.generate.reranking import drawn_from_text
from rodin.hooks import Hooks, Stopped
from rodin.marks.tags import MESH, glb_extras
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

UNCONDITIONAL, PROMPT, PAIR = 1, 2, 3  # part of a seed: the noise of these kinds is independent


@dataclass(frozen=True)
class PlannedSample:
    """One avatar that the stage samples.

    Args:
        name: its id in the store.
        kind: unconditional, interpolation, prompt or trajectory.
        seed: of its noise.
        meta: further metadata to store.
    """

    name: str
    kind: str
    seed: int
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def latent_seeds(self) -> list[int]:
        """Seeds of the unconditional latents that its latent is made from."""
        return self.meta.get("ends", [self.seed])


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Sample, render and mesh one shard's avatars.

    Args:
        config: the run's config.
        folder: the run.
        shard: number of the shard, of `config.sample.shard_samples` items each.
        hooks: progress callback and stop request.
    """
    if manifest.complete(folder.manifest("sample", shard)):
        return
    items = planned_items(config, prompts_of(config, Shards(folder.stage("render"), "views")))
    samples = [sample for item in shard_of(items, shard, config.sample.shard_samples) for sample in item]
    avatars, plane, side = Avatars(config, folder), config.triplane, config.sample.resolution
    shapes = {
        "planes": (3, plane.channels, plane.resolution, plane.resolution),
        "latent": (avatars.latent_width,),
        "rgba": (config.sample.views, side, side, 4),
        "mesh": (side, side, 3),
    }
    names = [sample.name for sample in samples]
    with ShardWriter(folder.stage("sample"), shard, "samples", names, shapes) as writer:
        for batch in batches(samples, set(writer.missing()), config.sample.batch):
            if hooks.should_stop():
                raise Stopped()
            hooks.progress(len(names) - len(writer.missing()), len(names), batch[0].name)
            for sample, latent, planes in zip(batch, *drawn_samples(avatars, batch), strict=True):
                fields = rendered_fields(avatars, folder, sample, planes)
                writer.add(sample.name, stored_meta(config, sample), latent=latent.cpu().numpy(), **fields)
        writer.publish()


def planned_items(config: Config, prompts: Sequence[Prompt]) -> list[list[PlannedSample]]:
    """All work of the stage: the avatars of each item.

    Args:
        config: the run's config.
        prompts: `config.sample.prompts` and twice `config.sample.attribute_prompts` of them.

    Returns:
        `config.sample_count()` lists; the last is the reverse process of the first unconditional avatar.
    """
    sample, seed = config.sample, config.seed
    unconditional = [
        PlannedSample(f"unconditional-{number:04d}", "unconditional", sampling_seed(seed, UNCONDITIONAL, number))
        for number in range(sample.unconditional)
    ]
    items = [[one] for one in unconditional]
    for pair in range(sample.interpolations):
        places = pair % sample.unconditional, (pair + sample.unconditional // 2) % sample.unconditional
        first, last = (unconditional[place] for place in places)
        ends = {"pair": pair, "ends": [first.seed, last.seed]}
        blends = np.linspace(0, 1, sample.interpolation_steps).tolist()
        items.append(
            [
                PlannedSample(f"interpolation-{pair}-{step:02d}", "interpolation", first.seed, {"blend": blend} | ends)
                for step, blend in enumerate(blends)
            ]
        )
    for number, prompt in enumerate(prompts):
        meta: dict[str, Any] = {"prompt": prompt.text, "attribute": prompt.attribute, "colour": prompt.colour}
        own_seed = sampling_seed(seed, PROMPT, number)
        if prompt.pair is not None:  # a prompt and its control differ in their words alone
            meta |= {"present": dict(prompt.present or {}), "pair": prompt.pair}
            own_seed = sampling_seed(seed, PAIR, prompt.pair)
        items.append([PlannedSample(f"prompt-{number:04d}", "prompt", own_seed, meta)])
    count, first = min(sample.trajectory_steps, config.base.diffusion.sampling_steps), unconditional[0]
    steps = np.linspace(0, config.base.diffusion.sampling_steps - 1, count).round().astype(int).tolist()
    trajectory = [
        PlannedSample(f"trajectory-{number:04d}", "trajectory", first.seed, {"step": step})
        for number, step in enumerate(steps)
    ]
    return [*items, trajectory]


def batches(samples: Sequence[PlannedSample], missing: set[str], size: int) -> list[list[PlannedSample]]:
    """Missing samples in batches of `size`, prompts apart; the reverse process is one batch, as it is one avatar."""
    remaining = [sample for sample in samples if sample.name in missing]
    kinds = ("unconditional", "interpolation"), ("prompt",), ("trajectory",)
    others, prompts, steps = ([sample for sample in remaining if sample.kind in group] for group in kinds)
    parts = [part[at : at + size] for part in (others, prompts) for at in range(0, len(part), size)]
    return parts + ([steps] if steps else [])


def drawn_samples(avatars: Avatars, samples: Sequence[PlannedSample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents [N, D] of unit length and planes [N, 3, C, R, R] of a batch."""
    if samples[0].kind == "prompt":
        return drawn_from_text(
            avatars, [sample.meta["prompt"] for sample in samples], [sample.seed for sample in samples]
        )
    latents = sample_latents(avatars, samples)
    return latents, sample_planes(avatars, samples, latents)


def sample_latents(avatars: Avatars, samples: Sequence[PlannedSample]) -> torch.Tensor:
    """The latent of each sample that is of no prompt, [N, D] of unit length."""
    seeds = sorted({seed for sample in samples for seed in sample.latent_seeds})
    by_seed = dict(zip(seeds, avatars.latents_unconditional(seeds), strict=True))
    latents = []
    for sample in samples:
        ends = [by_seed[seed] for seed in sample.latent_seeds]
        blend = sample.meta["blend"] if sample.kind == "interpolation" else 0
        latents.append(interpolate(ends[0], ends[-1], blend))  # of a single one itself
    return torch.stack(latents)


def sample_planes(avatars: Avatars, samples: Sequence[PlannedSample], latents: torch.Tensor) -> torch.Tensor:
    """Tri-planes of a batch, [N, 3, C, R, R]; for the reverse process those of x0_hat at each sample's step.

    Source: R45 for the reverse process.
    """
    scale = avatars.config.sample.guidance_scale
    if samples[0].kind != "trajectory":
        return avatars.planes(latents, [sample.seed for sample in samples], scale)
    by_step = {sample.meta["step"]: sample for sample in samples}
    low: dict[int, torch.Tensor] = {}

    def store_step(step: int, timestep: int, x0: torch.Tensor) -> None:
        if step in by_step:
            by_step[step].meta["timestep"] = timestep
            low[step] = x0[0].clone()

    avatars.low_planes(latents[:1], [samples[0].seed], scale, store_step)
    stacked = torch.stack([low[sample.meta["step"]] for sample in samples])
    return avatars.upsampled(stacked, latents[:1].expand(len(samples), -1), [sample.seed for sample in samples])


def rendered_fields(
    avatars: Avatars, folder: RunFolder, sample: PlannedSample, planes: torch.Tensor
) -> dict[str, np.ndarray]:
    """Stored fields of one avatar's planes; the mesh of an unconditional avatar is published as a file as well.

    Returns:
        planes [3, C, R, R], rgba [V, S, S, 4] from a ring of cameras, mesh [S, S, 3] from the front.
    """
    config, size = avatars.config, avatars.config.sample.resolution
    rgba, box = avatars.turn(planes, config.sample.views, size), config.triplane.box
    camera = front(config.data, size)
    mesh = surface_mesh(planes, avatars.decoder, rgba[0], *camera, box=box, resolution=config.sample.mesh_resolution)
    if sample.kind == "unconditional" and len(mesh[1]):
        with publishing(folder.stage("sample") / "meshes" / f"{sample.name}.glb") as path:
            write_glb(path, *mesh, extras=glb_extras(MESH, stored_meta(config, sample)))
    return {"planes": planes.cpu().numpy(), "rgba": rgba, "mesh": shade(mesh[0], mesh[1], *camera, size)}


def stored_meta(config: Config, sample: PlannedSample) -> dict[str, Any]:
    """Metadata stored with a sample."""
    scale = config.sample.guidance_scale
    return {"kind": sample.kind, "seed": sample.seed, "guidance_scale": scale, "generated": True} | sample.meta
