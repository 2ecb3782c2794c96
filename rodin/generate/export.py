"""One avatar as a folder one can hand on: pictures, a turntable, a mesh, and what it is and came from.

Everything written says of itself that it was generated: the pictures in their text chunks, the folder in its
metadata.json (R60).
"""

from __future__ import annotations

import json
import shutil
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rodin.field.mesh import write_glb
from rodin.generate.cascade import Avatars
from rodin.generate.mesh import front, surface_mesh
from rodin.store import manifest
from rodin.store.atomic import fsync_folder, make_folder
from rodin.store.run_folder import RunFolder

METADATA = "metadata.json"
MODELS = ("clip", "decoder", "base", "upsample", "latent", "prior")
TURNTABLE = 24
FRAME_MILLISECONDS = 90


def origin(avatars: Avatars, told: dict[str, Any]) -> dict[str, Any]:
    """What metadata.json says besides the files: that it was generated, by which models, from what."""
    folder = avatars.folder
    about = {"generated": True, "generator": "rodin-suite", "run": str(folder.path.resolve()), **told}
    return about | {"models": {stage: checksums(folder, stage) for stage in MODELS}}


def export_avatar(
    avatars: Avatars, output: Path, made: dict[str, torch.Tensor], told: dict[str, Any]
) -> dict[str, Any]:
    """Write everything into a folder of another name, then give it its own.

    Args:
        avatars: the run's models.
        output: the folder; one of ours that is there already is replaced.
        made: name -> planes [3, C, R, R]; "avatar" gets a turntable and a mesh too.
        told: what it was made from.

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata.
    """
    config, about = avatars.config, origin(avatars, told)
    make_folder(output.parent)
    temporary = output.parent / f".{uuid.uuid4().hex}.{output.name}"
    temporary.mkdir()
    try:
        for name, planes in made.items():
            for view, picture in enumerate(avatars.turn(planes, config.sample.views, config.sample.resolution)):
                save_png(temporary / f"{name}-{view:02d}.png", picture, about)
        frames = avatars.turn(made["avatar"], TURNTABLE, config.sample.resolution)
        save_turntable(temporary / "turntable.gif", frames, about)
        camera, size = front(config.data, config.sample.resolution), config.sample.mesh_resolution
        box = config.triplane.box
        found = surface_mesh(made["avatar"], avatars.decoder, frames[0], *camera, box=box, resolution=size)
        if len(found[1]):
            write_glb(temporary / "avatar.glb", *found)
        about["files"] = manifest.describe_files(temporary, sorted(path.name for path in temporary.iterdir()))
        (temporary / METADATA).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        put_folder(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return contents(output)


def contents(output: Path) -> dict[str, Any]:
    """Paths in a folder that was handed on, as `export_avatar` names them."""
    files = json.loads((output / METADATA).read_text(encoding="utf-8"))["files"]
    return {
        "output": output,
        "views": [output / name for name in files if name.endswith(".png")],
        "turntable": output / "turntable.gif",
        "mesh": output / "avatar.glb" if "avatar.glb" in files else None,
        "metadata": output / METADATA,
    }


def same(output: Path, about: dict[str, Any]) -> bool:
    """Whether a folder holds, whole, the avatar that these words describe."""
    try:
        found = json.loads((output / METADATA).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    files = found.pop("files", {})
    return found == json.loads(json.dumps(about)) and all((output / name).is_file() for name in files)


def check_output(output: Path) -> None:
    """Refuse an output that would overwrite anything but a result of ours.

    Raises:
        ValueError: there is a file, or a folder with something else in it.
    """
    if not output.exists():
        return
    if not output.is_dir():
        raise ValueError(f"{output}: is a file, wanted a folder's name for the output")
    if any(output.iterdir()) and not (output / METADATA).is_file():
        raise ValueError(f"{output}: holds other files; wanted a new folder's name for the output")


def checksums(folder: RunFolder, stage: str) -> dict[str, str]:
    """SHA-256 of each file that a stage published; empty for a stage the run has not."""
    path = folder.manifest(stage)
    if not manifest.complete(path):
        return {}
    return {name: entry["sha256"] for name, entry in manifest.read(path).get("files", {}).items()}


def put_folder(temporary: Path, output: Path) -> None:
    """Give a finished folder its name, in the place of an earlier result."""
    aside = temporary.with_suffix(".old")
    if output.exists():
        output.replace(aside)
    temporary.replace(output)
    fsync_folder(output.parent)
    shutil.rmtree(aside, ignore_errors=True)


def save_png(path: Path, rgba: np.ndarray, about: dict[str, Any]) -> None:
    """Write a picture [H, W, 4] uint8 that says of itself that it was generated, by what and from what."""
    chunks = PngInfo()
    chunks.add_text("Software", str(about["generator"]))
    chunks.add_text("Source", "generated image of a synthetic person, not a photograph")
    chunks.add_itxt("generated", json.dumps(about, ensure_ascii=False))
    Image.fromarray(rgba, "RGBA").save(path, "PNG", pnginfo=chunks)


def save_turntable(path: Path, frames: np.ndarray, about: dict[str, Any]) -> None:
    """Write pictures [V, H, W, 4] uint8 over white as an animation without end, tagged as generated."""
    pictures = []
    for frame in frames:
        white = Image.new("RGBA", (frame.shape[1], frame.shape[0]), "white")
        white.alpha_composite(Image.fromarray(frame, "RGBA"))
        pictures.append(white.convert("RGB"))
    pictures[0].save(
        path,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=FRAME_MILLISECONDS,
        loop=0,
        comment=f"generated by {about['generator']}, not a photograph",
    )
