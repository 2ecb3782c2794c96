"""Export of one avatar to a folder: views, a turntable, a mesh, its planes, and metadata of its origin.

Everything written is marked as generated: the images in their text chunks, the folder in its metadata.json (R60).
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save as tensors

from rodin.field.glb import METRES, write_glb
from rodin.generate.cascade import Avatars
from rodin.generate.look import TURNTABLE, Look, cameras_along, render_samples
from rodin.generate.mesh import surface_mesh
from rodin.generate.pictures import save_animation, save_png
from rodin.hooks import Progress
from rodin.marks.tags import COMPOSITE, GENERATOR, OF_CAPTURED, glb_extras, mesh_origin, picture_origin
from rodin.store import manifest
from rodin.store.atomic import make_folder, sha256_of
from rodin.store.errors import disk_error
from rodin.store.outputs import LEFTOVER, check_output, replace_folder
from rodin.store.reading import read_record
from rodin.store.run_folder import RunFolder

METADATA = "metadata.json"
MODELS = ("clip", "decoder", "base", "upsample", "refine", "latent", "prior")
PLANES = "avatar.safetensors"
NOT_ASKED = (
    "files",
    "models",
    "run",
    "generator",
    "metres_per_unit",
    "settings",
    "cut",
    "measured",
    OF_CAPTURED,
)  # keys of metadata that no request sets
FOUND_OUT = ("measured", OF_CAPTURED)  # keys of metadata that are not known before the work
SHOWN = 60  # characters of a value in metadata that a message quotes


def metadata_of(avatars: Avatars, source: Mapping[str, Any], look: Look | None = None) -> dict[str, Any]:
    """Metadata of an avatar, without its files: that it is generated, by which models, of what, how shown and marked.

    Args:
        avatars: the run's models.
        source: what it was made of.
        look: of its pictures; None: there are none.
    """
    folder, source = avatars.folder, dict(source)
    if look is not None:
        look = look.of(avatars.config)
        source |= {"size": look.size, "views": look.views, "format": look.format, **avatars.marking.metadata()}
    metadata = {"generated": True, "generator": GENERATOR, "run": manifest.readable(folder.path.resolve()), **source}
    metadata |= {"metres_per_unit": METRES, "models": {stage: checksums(folder, stage) for stage in MODELS}}
    return json.loads(json.dumps(metadata, default=manifest.plain))  # numbers of numpy as those of Python


@contextmanager
def exporting(
    avatars: Avatars, output: Path, metadata: dict[str, Any], composites: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a temporary folder; what was written there is signed, described in metadata.json and put in place.

    Args:
        avatars: the run's models, whose marks it gets.
        output: the folder; an earlier export there is replaced.
        metadata: of the export; `files` are added.
        composites: names of pictures that show given ones beside generated ones, for the signature.

    Raises:
        StoreError: the disk refuses; nothing is left of the new export, and an earlier one is unchanged.
    """
    output = output.resolve()  # a symbolic link stays one, and what it leads to is replaced
    make_folder(output.parent)
    temporary = output.parent / f".{uuid.uuid4().hex}"
    try:
        temporary.mkdir()
        yield temporary
        avatars.marking.sign(temporary, composites, picture_origin(metadata))
        metadata["files"] = manifest.describe_files(temporary, sorted(path.name for path in temporary.iterdir()))
        text = json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"
        (temporary / METADATA).write_text(text, encoding="utf-8")
        replace_folder(temporary, output)
    except OSError as problem:
        raise disk_error(output, problem) from problem
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def export_avatar(
    avatars: Avatars,
    output: Path,
    planes_by_name: Mapping[str, torch.Tensor],
    source: Mapping[str, Any],
    *,
    latent: torch.Tensor | None = None,
    look: Look | None = None,
    pictures: Mapping[str, np.ndarray] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Export an avatar to a folder; written under a temporary name, then renamed.

    Args:
        avatars: the run's models.
        output: the folder; an earlier export there is replaced.
        planes_by_name: name -> planes [3, C, R, R]; "avatar" gets a turntable and a mesh besides the views.
        source: metadata of what the avatar was sampled from.
        latent: [D] that the avatar was made of, kept beside its planes.
        look: size, number and format of the pictures; None: the run's.
        pictures: name -> sheets [H, W, 4] uint8 of given pictures beside generated ones, written as NAME.png.
        progress: called with pictures rendered, pictures in all and what is rendered.

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata; and
        left_out, the words of each text that the text tower does not take.

    Raises:
        StoreError: the disk refuses; nothing is left of the new avatar, and an earlier export is unchanged.
    """
    look = (look or Look()).of(avatars.config)
    metadata = metadata_of(avatars, source, look)
    sheets = {f"{name}.png": picture for name, picture in (pictures or {}).items()}
    with exporting(avatars, output, metadata, sheets) as temporary:
        frames = _pictures(avatars, temporary, planes_by_name, look, metadata, progress)
        marking = avatars.marking
        for name, picture in sheets.items():
            save_png(temporary / name, picture, metadata, COMPOSITE)
        save_animation(temporary, "turntable", marking.marked(frames), look.format, metadata)
        planes = planes_by_name["avatar"]
        data, size, box = avatars.config.data, avatars.config.sample.mesh_resolution, avatars.config.triplane.box
        mesh = surface_mesh(planes.to(avatars.device), avatars.decoder, data, box=box, resolution=size)
        if len(mesh[1]):
            write_glb(temporary / "avatar.glb", *mesh, extras=glb_extras(mesh_origin(metadata), metadata))
        (temporary / PLANES).write_bytes(avatar_bytes(planes, latent))
    return exported_paths(output)


def _pictures(
    avatars: Avatars,
    folder: Path,
    planes_by_name: Mapping[str, torch.Tensor],
    look: Look,
    metadata: Mapping[str, Any],
    progress: Progress | None,
) -> np.ndarray:
    """Write the views of each avatar; the frames of the turntable of "avatar", [TURNTABLE, S, S, 4] uint8."""
    views, config, done = look.views or 1, avatars.config, 0
    shared = TURNTABLE % views == 0  # then the views are frames of the turntable
    counts = {name: TURNTABLE if name == "avatar" and shared else views for name in planes_by_name}
    total = sum(counts.values()) + (0 if shared else TURNTABLE)
    samples, frames = render_samples(config, look.side), np.zeros(0)

    def turn(planes: torch.Tensor, count: int) -> np.ndarray:
        nonlocal done
        seen, ring = [], cameras_along(config, "ring", count)
        for pose, lens in zip(ring.poses, ring.intrinsics(look.side), strict=True):
            seen.append(avatars.render(planes, pose[None], lens, look.side, samples)[0])
            done += 1
            if progress is not None:
                progress(done, total, "pictures")
        return np.stack(seen)

    for name, planes in planes_by_name.items():
        seen = turn(planes, counts[name])
        if name == "avatar":
            frames = seen if shared else turn(planes, TURNTABLE)
        for view, image in enumerate(avatars.marking.marked(seen[:: len(seen) // views])):
            save_png(folder / f"{name}-{view:02d}.png", image, metadata)
    return frames


def avatar_bytes(planes: torch.Tensor, latent: torch.Tensor | None) -> bytes:
    """Planes [3, C, R, R], as float16, and the latent [D] of an avatar, as safetensors."""
    content = {"planes": planes.detach().cpu().half().contiguous()}
    if latent is not None:
        content["latent"] = latent.detach().cpu().float().contiguous()
    return tensors(content, {"generated": "true", "generator": GENERATOR})


def check_export(output: Path) -> None:
    """Refuse, before any work, an output folder that cannot be written or holds anything but an earlier export.

    Raises:
        ValueError, StoreError: as `check_output`; or other files beside an export's.
    """
    check_output(output, METADATA)
    if not (output / METADATA).is_file():
        return
    found = _metadata_in(output)
    if found.get("generator") != GENERATOR:
        raise ValueError(
            f"{output}: holds other files, its {METADATA} is not an avatar's; wanted a new folder's name for the output"
        )
    ours = {METADATA, *found["files"]}
    others = sorted(name for path in output.iterdir() if not LEFTOVER.fullmatch(name := path.name) and name not in ours)
    if others:
        raise ValueError(
            f"{output}: holds {others[0]!r} beside an avatar's files; move it away, or give a new folder's name"
        )


def exported_paths(output: Path) -> dict[str, Any]:
    """Paths in an exported folder, as `export_avatar` returns them."""
    metadata = _metadata_in(output)
    files = metadata["files"]
    return {
        "output": output,
        "views": [output / name for name in files if name.endswith(".png") and not name.startswith("turntable")],
        "turntable": next(output / name for name in files if name.startswith("turntable")),
        "mesh": output / "avatar.glb" if "avatar.glb" in files else None,
        "metadata": output / METADATA,
        "left_out": [one["left_out"] for one in metadata.get("cut", [])],
    }


def is_exported(output: Path, metadata: Mapping[str, Any]) -> bool:
    """Whether a folder holds a complete, undamaged export with this metadata, of `metadata_of`."""
    found = _metadata_in(output)
    files = found.pop("files", {})
    for key in FOUND_OUT:
        found.pop(key, None)
    if found != metadata:
        return False
    return all((output / name).is_file() and sha256_of(output / name) == files[name]["sha256"] for name in files)


def replaced(output: Path, metadata: Mapping[str, Any]) -> str:
    """One line on the export in a folder that one of such metadata will replace; empty where there is none."""
    found = _metadata_in(output)
    if not found:
        return ""
    differing = [key for key in {**found, **metadata} if key not in NOT_ASKED and found.get(key) != metadata.get(key)]
    if not differing:
        return f"{output}: the same avatar, of other models or settings, or damaged, is replaced"
    values = ", ".join(f"{key} {str(found.get(key))[:SHOWN]!r}" for key in differing)
    return f"{output}: another avatar ({values}) is replaced"


def _metadata_in(output: Path) -> dict[str, Any]:
    """metadata.json of an export; empty where it is not there, cannot be read, or is not one of an export."""
    try:
        found = read_record(output / METADATA)
    except (OSError, ValueError):
        return {}
    files = found.get("files")
    listed = isinstance(files, dict) and all(isinstance(one, dict) and "sha256" in one for one in files.values())
    return found if listed else {}


def checksums(folder: RunFolder, stage: str) -> dict[str, str]:
    """SHA-256 of each file that a stage published; empty for a stage that has not run."""
    path = folder.manifest(stage)
    if not manifest.complete(path):
        return {}
    return {name: entry["sha256"] for name, entry in manifest.read(path).get("files", {}).items()}
