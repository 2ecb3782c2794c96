"""Larger pictures of avatars for figures and the report: which there are, and where they lie in a run folder.

They are in `show/PART-DIGEST/`, a store of kind `samples` for each part; the digest is of what the pictures are made
of, so that those of an earlier state are never taken for the present ones. `showing` renders them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rodin.config import Config
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths

FOLDER = "show"
VERSION = "2"  # of the pictures; another one makes all anew
LARGEST, TIMES = 256, 4  # px, the paper's side; times the data's side: planes of small pictures hold no more detail
AROUND = 24  # cameras of a full turn, the first frontal: 15 degrees apart turn without jerks
TURNED, DRAWN, PROMPTS, INVERTED = 4, 24, 64, 6  # avatars at most: turned; drawn from nothing; of texts; of portraits
FRONT, BETWEEN, SIDE, BACK = 0, AROUND // 8, AROUND // 4, AROUND // 2  # numbers of cameras: 0, 45, 90 and 180 degrees
MESH, LERP, INVERSION = "mesh of ", "lerp of ", "inversion of "  # before the name of the avatar that a row shows


@dataclass(frozen=True)
class Part:
    """Pictures that are made together.

    Args:
        stages: those whose results the pictures are made of.
        cameras: numbers of a turn's cameras that see each avatar.
        meshes: whether the mesh of each avatar is shaded as well.
    """

    stages: tuple[str, ...]
    cameras: tuple[int, ...]
    meshes: bool = False


PARTS = {
    "turned": Part(("decoder", "sample"), tuple(range(AROUND)), meshes=True),
    "drawn": Part(("decoder", "sample"), (FRONT, BETWEEN), meshes=True),
    "paths": Part(("decoder", "base", "upsample", "sample"), (FRONT,)),
    "prompts": Part(("decoder", "sample"), (FRONT,)),
    "inverted": Part(("decoder", "base", "upsample", "evaluate"), (FRONT, BETWEEN, SIDE, BACK), meshes=True),
}
"""part -> what it is made of: the first avatars drawn from nothing, the others, interpolations and the reverse process,
avatars of texts, and avatars of held-out people's portraits"""


def picture_count(config: Config) -> int:
    """Pictures of all parts, those of meshes too."""
    sample = config.sample
    turned = min(TURNED, sample.unconditional)
    counts = {
        "turned": turned,
        "drawn": min(DRAWN, sample.unconditional) - turned,
        "paths": sample.interpolations * sample.interpolation_steps + lerp_count(config) + sample.trajectory_steps,
        "prompts": min(PROMPTS, sample.prompts + 2 * sample.attribute_prompts),
        "inverted": inverted_count(config),
    }
    return sum(counts[name] * len(part.cameras) * (1 + part.meshes) for name, part in PARTS.items())


def drawn_count(config: Config) -> int:
    """Avatars that the diffusion models draw for the pictures; all others are stored with their planes."""
    return lerp_count(config) + inverted_count(config)


def lerp_count(config: Config) -> int:
    """Avatars of latents on straight lines: the inner points of interpolations."""
    return config.sample.interpolations * max(config.sample.interpolation_steps - 2, 0)


def inverted_count(config: Config) -> int:
    """Held-out people whose avatars are shown."""
    return min(INVERTED, config.measured_count())


def picture_side(config: Config) -> int:
    """Side of the pictures, px."""
    return max(config.sample.resolution, min(LARGEST, TIMES * config.data.resolution))


def part_folder(run: RunFolder, part: str) -> Path | None:
    """Folder of a part of the present results; None where a stage that it is made of has left nothing."""
    digest = hashlib.sha256(VERSION.encode())
    for stage in PARTS[part].stages:
        paths = manifest_paths(run.stage(stage))
        if not paths:
            return None
        for path in paths:
            digest.update(path.read_bytes())
    return run.path / FOLDER / f"{part}-{digest.hexdigest()[:12]}"


def shown_folder(run: RunFolder, part: str) -> Path | None:
    """Folder of a part whose pictures are there; None if they are not."""
    folder = part_folder(run, part)
    return folder if folder is not None and manifest.complete(folder / "00000.json") else None


def due_parts(run: RunFolder, parts: Sequence[str]) -> list[str]:
    """Those parts that can be made and are not there."""
    return [part for part in parts if part_folder(run, part) is not None and shown_folder(run, part) is None]


def names_of_kind(metas: dict[str, dict[str, Any]], part: str) -> list[str]:
    """Names of the samples that a part shows, in order of their ids; none of people's portraits.

    Args:
        metas: sample -> its metadata.
        part: a key of PARTS.
    """
    kinds = {"turned": ("unconditional",), "drawn": ("unconditional",), "prompts": ("prompt",)}
    kinds |= {"paths": ("interpolation", "trajectory")}
    names = [name for name in sorted(metas) if metas[name].get("kind") in kinds.get(part, ())]
    start, end = {"turned": (0, TURNED), "drawn": (TURNED, DRAWN), "prompts": (0, PROMPTS)}.get(part, (0, None))
    return names[start:end]
