"""Renders the larger pictures of avatars that figures and the report show, see `shown`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import evenly
from rodin.evaluation.reconstruction import measured_subjects, reconstruct
from rodin.evaluation.shown import (
    AROUND,
    INVERSION,
    INVERTED,
    LERP,
    MESH,
    PARTS,
    due_parts,
    names_of_kind,
    part_folder,
    picture_side,
)
from rodin.field import cameras
from rodin.field.mesh import shade
from rodin.generate.cascade import Avatars
from rodin.generate.mesh import surface_mesh
from rodin.hooks import Hooks, Stopped
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter

GRID = 96  # points a side of the density grid: three times finer than the pictures of a mesh can show less of
Shown = tuple[str, dict[str, Any], Callable[[], torch.Tensor]]
"""name of an avatar, its metadata, and what gives its planes [3, C, R, R]"""


def show(config: Config, folder: RunFolder, parts: Sequence[str], hooks: Hooks) -> None:
    """Render the pictures of some parts that are not there; those of earlier results are removed.

    A part goes on where it was killed. Parts whose stages have left nothing, or no planes, are left out.

    Args:
        config: the run's config.
        folder: the run.
        parts: keys of PARTS.
        hooks: progress callback and stop request.
    """
    avatars = Avatars(config, folder)
    planned = {part: list(_planned(avatars, part)) for part in due_parts(folder, parts)}
    total = sum(len(shown) * (1 + PARTS[part].meshes) for part, shown in planned.items())
    done = 0
    for part, shown in planned.items():
        path = part_folder(folder, part)
        if path is None or not shown:
            continue
        done += _write(avatars, path, part, shown, _counted(hooks, done, total))
        for other in path.parent.glob(f"{part}-*"):
            if other != path:
                shutil.rmtree(other, ignore_errors=True)


def _counted(hooks: Hooks, before: int, total: int) -> Hooks:
    return Hooks(lambda done, _, note: hooks.progress(before + done, total, note), hooks.should_stop)


def _write(avatars: Avatars, path: Path, part: str, shown: Sequence[Shown], hooks: Hooks) -> int:
    side, kind = picture_side(avatars.config), PARTS[part]
    poses = cameras.ring(AROUND, radius=avatars.config.data.camera_radius)[list(kind.cameras)]
    lens = cameras.pinhole(side, avatars.config.data.fov_degrees)
    names = [row for name, _, _ in shown for row in ([name, MESH + name] if kind.meshes else [name])]
    with ShardWriter(path, 0, "samples", names, {"rgba": (len(poses), side, side, 4)}) as writer:
        for name, meta, planes_of in shown:
            missing = set(writer.missing())
            if hooks.should_stop():
                raise Stopped()
            if not missing & {name, MESH + name}:
                continue
            planes = planes_of()
            pictures = avatars.render(planes, poses, lens, side)
            if name in missing:
                writer.add(name, meta | {"generated": True}, rgba=pictures)
            if MESH + name in missing:
                writer.add(MESH + name, {"kind": "mesh", "generated": True}, rgba=_shaded(avatars, planes, poses, lens))
            hooks.progress(len(names) - len(writer.missing()), len(names), name)
        writer.publish()
    return len(names)


def _shaded(avatars: Avatars, planes: torch.Tensor, poses: np.ndarray, lens: np.ndarray) -> np.ndarray:
    """The mesh of an avatar seen by each camera, without colours: [V, S, S, 4] uint8, opaque."""
    config, side = avatars.config, picture_side(avatars.config)
    resolution, box = max(GRID, config.sample.mesh_resolution), config.triplane.box
    planes = planes.to(avatars.device)
    vertices, faces, _ = surface_mesh(planes, avatars.decoder, config.data, box=box, resolution=resolution)
    pictures = np.stack([shade(vertices, faces, pose, lens, side) for pose in poses])
    return np.concatenate([pictures, np.full_like(pictures[..., :1], 255)], axis=-1)


def _planned(avatars: Avatars, part: str) -> Iterator[Shown]:
    """The avatars of a part whose stages are done."""
    if part == "inverted":
        yield from _inverted(avatars)
        return
    store = Shards(avatars.folder.stage("sample"), "samples")
    if "planes" not in store.fields():  # of an earlier rodin
        return
    metas = {name: store.meta(name) for name in store.subjects}
    for name in names_of_kind(metas, part):
        meta = dict(metas[name])
        if part == "prompts":
            meta["clip_score"] = _clip_score(avatars, meta["prompt"], store.read(name, "rgba", 0))
        yield name, meta, lambda name=name: torch.from_numpy(store.read(name, "planes")).float()
    if part == "paths":
        yield from _straight(avatars, store, metas)


def _clip_score(avatars: Avatars, prompt: str, picture: np.ndarray) -> float | None:
    """Cosine of CLIP's embeddings of a prompt and a picture [H, W, 4]; None where CLIP's weights are missing."""
    try:
        text = avatars.clip.text([prompt])[0]
    except FileNotFoundError:
        return None
    return float((avatars.latent_from_image(picture) * text.to(avatars.device)).sum())


def _straight(avatars: Avatars, store: Shards, metas: dict[str, dict[str, Any]]) -> Iterator[Shown]:
    """Avatars of latents on the straight line between those of two avatars, at the points of the stored great circle.

    z = (1 - u) first + u last, shorter than 1 between the ends.
    """
    inner = {name: meta for name, meta in metas.items() if meta.get("blend") is not None}
    for name, meta in sorted(inner.items()):
        if meta["blend"] in (0, 1):
            continue
        ends = [
            next(one for one, of in inner.items() if (of["pair"], of["blend"]) == (meta["pair"], end)) for end in (0, 1)
        ]

        def planes(ends: list[str] = ends, meta: dict[str, Any] = meta) -> torch.Tensor:
            first, last = (torch.from_numpy(store.read(end, "latent")) for end in ends)
            straight = (1 - meta["blend"]) * first + meta["blend"] * last
            return avatars.planes(straight[None].to(avatars.device), [meta["seed"]], meta["guidance_scale"])[0]

        yield LERP + name, meta | {"kind": "lerp"}, planes


def _inverted(avatars: Avatars) -> Iterator[Shown]:
    """Avatars of held-out people's portraits, evenly chosen, as stage `evaluate` makes them."""
    config, folder = avatars.config, avatars.folder
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    people = measured_subjects(config, views, latents)
    for subject in [people[place] for place in evenly(len(people), min(INVERTED, len(people)))]:

        def planes(subject: str = subject) -> torch.Tensor:
            made = reconstruct(avatars, latents, [subject], config.sample.guidance_scale, Hooks())
            return next(made)[1]

        yield INVERSION + subject, {"kind": "inversion", "reference": subject}, planes
