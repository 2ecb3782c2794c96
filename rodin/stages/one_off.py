"""One avatar on request: from nothing, a text or a picture, or changed by words; a folder one can hand on.

Everything written says of itself that it was generated: the pictures in their text chunks, the folder in its
metadata.json (R60).
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rodin.config import Config
from rodin.field import cameras
from rodin.field.mesh import write_glb
from rodin.presets.toml import from_toml
from rodin.stages.generate import Avatars
from rodin.stages.latents import edited
from rodin.stages.pictures import read_picture
from rodin.stages.solid import solid
from rodin.store import manifest
from rodin.store.atomic import fsync_folder, make_folder
from rodin.store.run_folder import RunFolder

Progress = Callable[[int, int, str], None]

GENERAL_TEXTS = ("a photo of a person", "a portrait of a person")
METADATA = "metadata.json"
TURNTABLE = 24
FRAME_MILLISECONDS = 90


def sample_command(
    run: Path,
    *,
    text: str | None = None,
    image: Path | None = None,
    seed: int = 0,
    output: Path,
    guidance_scale: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Make one avatar: from a text, from a picture, or from nothing but a seed.

    Args:
        run: a run folder with trained models.
        text: what it shall look like.
        image: a picture to make it from; at most one of both is given.
        seed: the same makes the same avatar.
        output: folder to write, made anew; one of ours that is there already is replaced.
        guidance_scale: of the base model, over 0; None: the run's own.
        progress: told (done, total, note).

    Returns:
        paths of what was written: output, views, turntable, mesh (None where the avatar has no surface), metadata.

    Raises:
        ValueError: text and image both given, an empty text, no picture in the file, a scale that is not over 0, or
            an output folder with something else in it.
        FileNotFoundError: no such run, picture or trained model.
    """
    if text is not None and image is not None:
        raise ValueError("got both a text and an image, wanted at most one of them")
    given = _words("text", [text]) if text is not None else []
    avatars, scale = _open(run, guidance_scale), guidance_scale
    check_output(output)
    latent, told = _source(avatars, given[0] if given else None, image, seed)
    made = avatars.planes(latent, [seed], _scale(avatars.config, scale), _steps(avatars.config, progress))[0]
    return _write(
        avatars, output, {"avatar": made}, told | {"seed": seed, "guidance_scale": _scale(avatars.config, scale)}
    )


def edit_command(
    run: Path,
    *,
    image: Path | None = None,
    text: str | None = None,
    target: str,
    source: str | Sequence[str] | None = None,
    seed: int = 0,
    output: Path,
    guidance_scale: float | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Change an avatar by words: its latent moves by E(target) - mean E(source), its noise stays.

    Args:
        run, seed, output, guidance_scale, progress: as in `sample_command`.
        image: a picture of the avatar to change.
        text: a text it is made from instead; neither: an avatar from nothing.
        target: what it shall become.
        source: what it is, one text or several; None: general descriptions of a person.

    Returns:
        as `sample_command`; the views of the avatar before the change are written too.

    Raises:
        ValueError: as `sample_command`, and where target and source say the same.
        FileNotFoundError: as `sample_command`.

    Source: R35-R37.
    """
    if text is not None and image is not None:
        raise ValueError("got both a text and an image to start from, wanted at most one of them")
    sources = _words("source text", [source] if isinstance(source, str) else list(source or GENERAL_TEXTS))
    (wanted,) = _words("target text", [target])
    given = _words("text", [text])[0] if text is not None else None
    avatars = _open(run, guidance_scale)
    check_output(output)
    embeddings = avatars.clip.text([wanted, *sources])[0]
    latent, told = _source(avatars, given, image, seed)
    changed = edited(latent[0], embeddings[1:].to(latent), embeddings[0].to(latent))
    scale = _scale(avatars.config, guidance_scale)
    both = torch.stack([changed, latent[0]])
    after, before = avatars.planes(both, [seed, seed], scale, _steps(avatars.config, progress))
    told |= {"target": wanted, "source": sources, "seed": seed, "guidance_scale": scale}
    return _write(avatars, output, {"avatar": after, "before": before}, told)


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


def _words(what: str, texts: Sequence[str | None]) -> list[str]:
    for text in texts:
        if text is None or not text.strip():
            raise ValueError(f"{what}: got an empty one, wanted words such as 'a person with red hair'")
    return [str(text).strip() for text in texts]


def _open(run: Path, scale: float | None) -> Avatars:
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"guidance scale: got {scale}, wanted a number over 0 (1 is without guidance)")
    folder = RunFolder(run)
    if not folder.config_file.is_file():
        raise FileNotFoundError(f"{run}: not a run folder (it has no {folder.config_file.name}); `rodin run` makes one")
    return Avatars(from_toml(folder.config_file), folder)


def _scale(config: Config, scale: float | None) -> float:
    return config.sample.guidance_scale if scale is None else scale


def _source(avatars: Avatars, text: str | None, image: Path | None, seed: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """The latent [1, D] that an avatar starts from, and where it came from."""
    if image is not None:
        picture = read_picture(image, avatars.config.data.resolution)
        return avatars.latent_from_image(picture), {"from": "image", "image": image.name}
    if text is not None:
        return avatars.latents_from_text([text], [seed]), {"from": "text", "prompt": text}
    return avatars.latents_unconditional([seed]), {"from": "nothing"}


def _steps(config: Config, progress: Progress | None) -> Callable[[int, int, torch.Tensor], None] | None:
    if progress is None:
        return None
    total = config.base.diffusion.sampling_steps
    return lambda step, timestep, x0: progress(step + 1, total, "base model")


def _write(avatars: Avatars, output: Path, made: dict[str, torch.Tensor], told: dict[str, Any]) -> dict[str, Any]:
    """Write everything into a folder of another name, then give it its own."""
    config, folder = avatars.config, avatars.folder
    about = {"generated": True, "generator": "rodin-suite", "run": str(folder.path.resolve()), **told}
    about["models"] = {
        stage: checksums(folder, stage) for stage in ("clip", "decoder", "base", "upsample", "latent", "prior")
    }
    make_folder(output.parent)
    temporary = output.parent / f".{uuid.uuid4().hex}.{output.name}"
    temporary.mkdir()
    try:
        names = []
        for name, planes in made.items():
            for view, picture in enumerate(avatars.turn(planes, config.sample.views, config.sample.resolution)):
                names.append(f"{name}-{view:02d}.png")
                save_png(temporary / names[-1], picture, about)
        frames = avatars.turn(made["avatar"], TURNTABLE, config.sample.resolution)
        save_turntable(temporary / "turntable.gif", frames, about)
        camera = cameras.ring(1, radius=config.data.camera_radius)[0]
        lens, grid = cameras.pinhole(config.sample.resolution, config.data.fov_degrees), config.sample.mesh_resolution
        box = config.triplane.box
        found = solid(made["avatar"], avatars.decoder, frames[0], camera, lens, box=box, resolution=grid)
        if len(found[1]):
            write_glb(temporary / "avatar.glb", *found)
        about["files"] = manifest.describe_files(temporary, sorted(path.name for path in temporary.iterdir()))
        (temporary / METADATA).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        put_folder(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return {
        "output": output,
        "views": [output / name for name in names],
        "turntable": output / "turntable.gif",
        "mesh": output / "avatar.glb" if len(found[1]) else None,
        "metadata": output / METADATA,
    }


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
