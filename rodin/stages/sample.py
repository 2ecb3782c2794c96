"""Stage `sample`: avatars from nothing, on the way between two, from text, and one as it comes out of the noise.

An array over items (`config.sample_count()`); a shard is a store of kind `samples`, and beside it `meshes/<name>.glb`
of the avatars from nothing. Which avatars a run draws follows from its config and data alone: nobody curates them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.config.shards import shard_of
from rodin.evaluation.prompts import Prompt, prompts_of
from rodin.field.mesh import shade, write_glb
from rodin.generate.cascade import Avatars
from rodin.generate.latents import interpolate, seed_for
from rodin.generate.mesh import front, surface_mesh
from rodin.hooks import Hooks, Stopped
from rodin.store import manifest
from rodin.store.atomic import publishing
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

FROM_NOTHING, FROM_TEXT = 1, 2


@dataclass(frozen=True)
class Row:
    """One avatar of the stage.

    Args:
        name: its id in the store.
        kind: unconditional, interpolation, prompt or trajectory.
        seed: of its noise.
        meta: what else is kept with it.
    """

    name: str
    kind: str
    seed: int
    meta: dict[str, Any] = field(default_factory=dict)


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Draw one shard's avatars, render them and take their meshes.

    Args:
        config: the run's config.
        folder: the run.
        shard: which `config.sample.shard_samples` items.
        hooks: progress and the wish to stop.
    """
    if manifest.complete(folder.manifest("sample", shard)):
        return
    everything = items(config, prompts_of(config, Shards(folder.stage("render"), "views")))
    wanted = shard_of(everything, shard, config.sample.shard_samples)
    rows = [row for item in wanted for row in item]
    avatars, plane, picture = Avatars(config, folder), config.triplane, config.sample.resolution
    shapes = {
        "planes": (3, plane.channels, plane.resolution, plane.resolution),
        "latent": (avatars.latent_width,),
        "rgba": (config.sample.views, picture, picture, 4),
        "mesh": (picture, picture, 3),
    }
    with ShardWriter(folder.stage("sample"), shard, "samples", [row.name for row in rows], shapes) as writer:
        for batch in batches(rows, set(writer.missing()), config.sample.batch):
            if hooks.should_stop():
                raise Stopped()
            hooks.progress(len(rows) - len(writer.missing()), len(rows), batch[0].name)
            latents = latents_of(avatars, batch)
            for row, planes, latent in zip(batch, planes_of(avatars, batch, latents), latents, strict=True):
                writer.add(
                    row.name, known(config, row), latent=latent.cpu().numpy(), **shown(avatars, folder, row, planes)
                )
        writer.publish()


def items(config: Config, prompts: Sequence[Prompt]) -> list[list[Row]]:
    """All work of the stage: a list of the avatars that each item draws.

    Args:
        config: the run's config.
        prompts: `config.sample.prompts` of them.

    Returns:
        `config.sample_count()` lists; the last holds the reverse process of the first avatar from nothing.
    """
    sample, seed = config.sample, config.seed
    drawn = [
        [Row(f"unconditional-{number:04d}", "unconditional", seed_for(seed, FROM_NOTHING, number))]
        for number in range(sample.unconditional)
    ]
    for pair in range(sample.interpolations):
        first, last = (place % sample.unconditional for place in (pair, pair + sample.unconditional // 2))
        ends = {"pair": pair, "ends": [drawn[first][0].seed, drawn[last][0].seed]}
        blends = np.linspace(0, 1, sample.interpolation_steps)
        drawn.append(
            [
                Row(f"interpolation-{pair}-{step:02d}", "interpolation", drawn[first][0].seed, {"blend": blend} | ends)
                for step, blend in enumerate(blends.tolist())
            ]
        )
    for number, prompt in enumerate(prompts):
        about = {"prompt": prompt.text, "attribute": prompt.attribute, "colour": prompt.colour}
        drawn.append([Row(f"prompt-{number:04d}", "prompt", seed_for(seed, FROM_TEXT, number), about)])
    count, first = min(sample.trajectory_steps, config.base.diffusion.sampling_steps), drawn[0][0]
    steps = np.linspace(0, config.base.diffusion.sampling_steps - 1, count).round().astype(int).tolist()
    last = [
        Row(f"trajectory-{number:04d}", "trajectory", first.seed, {"step": step}) for number, step in enumerate(steps)
    ]
    return [*drawn, last]


def batches(rows: Sequence[Row], missing: set[str], size: int) -> list[list[Row]]:
    """Rows still to be drawn, `size` at a time; those of the reverse process, which one avatar gives, by themselves."""
    todo = [row for row in rows if row.name in missing]
    steps = [row for row in todo if row.kind == "trajectory"]
    others = [row for row in todo if row.kind != "trajectory"]
    return [others[at : at + size] for at in range(0, len(others), size)] + ([steps] if steps else [])


def latents_of(avatars: Avatars, rows: Sequence[Row]) -> torch.Tensor:
    """The latent of each row, [N, D] of unit length."""
    latents = {}
    texts = [row for row in rows if row.kind == "prompt"]
    if texts:
        found = avatars.latents_from_text([row.meta["prompt"] for row in texts], [row.seed for row in texts])
        latents |= dict(zip((row.name for row in texts), found, strict=True))
    seeds = sorted({seed for row in rows if row.kind != "prompt" for seed in ends_of(row)})
    nothing = dict(zip(seeds, avatars.latents_unconditional(seeds), strict=True)) if seeds else {}
    for row in rows:
        if row.kind == "interpolation":
            first, last = (nothing[seed] for seed in ends_of(row))
            latents[row.name] = interpolate(first, last, row.meta["blend"])
        elif row.kind != "prompt":
            latents[row.name] = nothing[row.seed]
    return torch.stack([latents[row.name] for row in rows])


def ends_of(row: Row) -> list[int]:
    """Seeds of the latents from nothing that a row's latent is made from."""
    return row.meta.get("ends", [row.seed])


def planes_of(avatars: Avatars, rows: Sequence[Row], latents: torch.Tensor) -> torch.Tensor:
    """The tri-planes of a batch, [N, 3, C, R, R]; for the reverse process those of x0_hat at each row's step.

    Source: R45 for the reverse process.
    """
    scale = avatars.config.sample.guidance_scale
    if rows[0].kind != "trajectory":
        return avatars.planes(latents, [row.seed for row in rows], scale)
    wanted = {row.meta["step"]: row for row in rows}
    seen: dict[int, torch.Tensor] = {}

    def keep(step: int, timestep: int, x0: torch.Tensor) -> None:
        if step in wanted:
            wanted[step].meta["timestep"] = timestep
            seen[step] = x0[0].clone()

    avatars.low_planes(latents[:1], [rows[0].seed], scale, keep)
    return avatars.upsampled(torch.stack([seen[row.meta["step"]] for row in rows]), [row.seed for row in rows])


def shown(avatars: Avatars, folder: RunFolder, row: Row, planes: torch.Tensor) -> dict[str, np.ndarray]:
    """What the store keeps of one avatar's looks; the mesh of one from nothing is published too.

    Returns:
        planes [3, C, R, R], rgba [V, S, S, 4] from a ring of cameras, mesh [S, S, 3] from the front.
    """
    config, size = avatars.config, avatars.config.sample.resolution
    rgba, box = avatars.turn(planes, config.sample.views, size), config.triplane.box
    camera = front(config.data, size)
    found = surface_mesh(planes, avatars.decoder, rgba[0], *camera, box=box, resolution=config.sample.mesh_resolution)
    if row.kind == "unconditional" and len(found[1]):
        with publishing(folder.stage("sample") / "meshes" / f"{row.name}.glb") as path:
            write_glb(path, *found)
    return {"planes": planes.cpu().numpy(), "rgba": rgba, "mesh": shade(found[0], found[1], *camera, size)}


def known(config: Config, row: Row) -> Mapping[str, Any]:
    """What is kept of a row besides pictures."""
    return {
        "kind": row.kind,
        "seed": row.seed,
        "guidance_scale": config.sample.guidance_scale,
        "generated": True,
    } | row.meta
