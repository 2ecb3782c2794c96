"""Export of one avatar to a folder: views, a turntable, a mesh, and metadata of its origin.

Everything written is marked as generated: the images in their text chunks, the folder in its metadata.json (R60).
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from rodin.field.glb import METRES, write_glb
from rodin.generate.cascade import Avatars
from rodin.generate.mesh import front, surface_mesh
from rodin.marks.marking import Marking
from rodin.marks.tags import AVATAR, GENERATOR, MESH, gif_comment, glb_extras, png_chunks
from rodin.store import manifest
from rodin.store.atomic import make_folder, sha256_of
from rodin.store.errors import disk_error
from rodin.store.outputs import replace_folder
from rodin.store.run_folder import RunFolder

METADATA = "metadata.json"
MODELS = ("clip", "decoder", "base", "upsample", "latent", "prior")
TURNTABLE_FRAMES = 24  # 15 degrees a frame
FRAME_MILLISECONDS = 90  # a full turn in 2.2 s
NOT_ASKED = ("files", "models", "run", "generator", "metres_per_unit", "cut")  # keys of metadata that no request sets
SHOWN = 60  # characters of a value in metadata that a message quotes


def metadata_of(avatars: Avatars, source: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata of an avatar, without its files: that it is generated, by which models, and from which source."""
    folder = avatars.folder
    metadata = {"generated": True, "generator": GENERATOR, "run": readable(folder.path.resolve()), **source}
    return metadata | {"metres_per_unit": METRES, "models": {stage: checksums(folder, stage) for stage in MODELS}}


def readable(path: Path | str) -> str:
    """A path as text that can be stored: bytes in it that are not UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", errors="backslashreplace")


def export_avatar(
    avatars: Avatars,
    output: Path,
    planes_by_name: Mapping[str, torch.Tensor],
    source: Mapping[str, Any],
    marking: Marking,
) -> dict[str, Any]:
    """Export an avatar to a folder; written under a temporary name, then renamed.

    Args:
        avatars: the run's models.
        output: the folder; an earlier export there is replaced.
        planes_by_name: name -> planes [3, C, R, R]; "avatar" gets a turntable and a mesh besides the views.
        source: metadata of what the avatar was sampled from.
        marking: the watermark and the credentials that its pictures get.

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata; and
        left_out, the words of each text that the text tower does not take.

    Raises:
        StoreError: the disk refuses; nothing is left of the new avatar, and an earlier export is unchanged.
    """
    config, metadata = avatars.config, metadata_of(avatars, source)
    make_folder(output.parent)
    temporary = output.parent / f".{uuid.uuid4().hex}"
    try:
        temporary.mkdir()
        for name, planes in planes_by_name.items():
            images = avatars.turn(planes, config.sample.views, config.sample.resolution)
            for view, image in enumerate(marking.marked(images)):
                save_png(temporary / f"{name}-{view:02d}.png", image, metadata)
        planes = planes_by_name["avatar"]
        frames = avatars.turn(planes, TURNTABLE_FRAMES, config.sample.resolution)
        save_turntable(temporary / "turntable.gif", marking.marked(frames), metadata)
        camera, size = front(config.data, config.sample.resolution), config.sample.mesh_resolution
        box = config.triplane.box
        mesh = surface_mesh(planes, avatars.decoder, frames[0], *camera, box=box, resolution=size)
        if len(mesh[1]):
            write_glb(temporary / "avatar.glb", *mesh, extras=glb_extras(MESH, metadata))
        marking.sign(temporary)
        metadata["files"] = manifest.describe_files(temporary, sorted(path.name for path in temporary.iterdir()))
        text = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
        (temporary / METADATA).write_text(text, encoding="utf-8")
        replace_folder(temporary, output)
    except OSError as problem:
        raise disk_error(output, problem) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return exported_paths(output)


def exported_paths(output: Path) -> dict[str, Any]:
    """Paths in an exported folder, as `export_avatar` returns them."""
    metadata = _metadata_in(output)
    files = metadata["files"]
    return {
        "output": output,
        "views": [output / name for name in files if name.endswith(".png")],
        "turntable": output / "turntable.gif",
        "mesh": output / "avatar.glb" if "avatar.glb" in files else None,
        "metadata": output / METADATA,
        "left_out": [one["left_out"] for one in metadata.get("cut", [])],
    }


def is_exported(output: Path, metadata: Mapping[str, Any]) -> bool:
    """Whether a folder holds a complete, undamaged export with this metadata."""
    found = _metadata_in(output)
    files = found.pop("files", {})
    if found != json.loads(json.dumps(metadata)):
        return False
    return all((output / name).is_file() and sha256_of(output / name) == files[name]["sha256"] for name in files)


def replaced(output: Path, metadata: Mapping[str, Any]) -> str:
    """One line on the export in a folder that one with this metadata will replace; empty where there is none."""
    found = _metadata_in(output)
    if not found:
        return ""
    new = json.loads(json.dumps(metadata))
    differing = [key for key in (found | new) if key not in NOT_ASKED and found.get(key) != new.get(key)]
    if not differing:
        return f"{output}: the same avatar, of other models or damaged, is replaced"
    values = ", ".join(f"{key} {str(found.get(key))[:SHOWN]!r}" for key in differing)
    return f"{output}: another avatar ({values}) is replaced"


def _metadata_in(output: Path) -> dict[str, Any]:
    """metadata.json of an export; empty where it is not there or cannot be read."""
    try:
        found = json.loads((output / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def checksums(folder: RunFolder, stage: str) -> dict[str, str]:
    """SHA-256 of each file that a stage published; empty for a stage that has not run."""
    path = folder.manifest(stage)
    if not manifest.complete(path):
        return {}
    return {name: entry["sha256"] for name, entry in manifest.read(path).get("files", {}).items()}


def save_png(path: Path, rgba: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Write an image [H, W, 4] uint8 with text chunks that say that it is generated, by what and from what."""
    Image.fromarray(rgba, "RGBA").save(path, "PNG", pnginfo=png_chunks(AVATAR, metadata=metadata))


def save_turntable(path: Path, frames: np.ndarray, metadata: Mapping[str, Any]) -> None:
    """Write images [V, H, W, 4] uint8 over white as an endless animation, marked as generated."""
    images = []
    for frame in frames:
        white = Image.new("RGBA", (frame.shape[1], frame.shape[0]), "white")
        white.alpha_composite(Image.fromarray(frame, "RGBA"))
        images.append(white.convert("RGB"))
    images[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=images[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        comment=gif_comment(AVATAR, metadata),
    )
