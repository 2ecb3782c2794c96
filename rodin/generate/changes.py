"""Avatars made of others and of pictures: inverted, edited, interpolated. `Rodin` is how to call them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rodin.compositing import bytes_over_white
from rodin.data.portraits import read_cut_out, why_no_person
from rodin.field.cameras import Cameras
from rodin.generate.avatar import Avatar
from rodin.generate.condition import AvatarRequest
from rodin.generate.edits import GENERAL_TEXTS, moved
from rodin.generate.inversion import Inversion, InversionSettings, Inverted
from rodin.generate.latents import interpolate, unit
from rodin.generate.look import shown_side
from rodin.generate.models import check_models
from rodin.generate.options import MOST_BETWEEN, MOST_STRENGTH, sampling_metadata
from rodin.generate.pictures import labelled
from rodin.generate.taken import taken
from rodin.generate.texts import checked_text
from rodin.hooks import Progress, no_progress
from rodin.marks.tags import OF_CAPTURED
from rodin.metrics import lpips as perceptual
from rodin.metrics.psnr import psnr
from rodin.shapes import check_whole
from rodin.store.weights import lpips_file

if TYPE_CHECKING:
    from rodin.generate.api import Rodin


HOW = ("slerp", "lerp")


def inverted_avatar(rodin: Rodin, request: AvatarRequest, settings: InversionSettings) -> Avatar:
    """The avatar of `Rodin.invert`, of a request with an image."""
    if request.image is None:
        raise ValueError("got no image to invert, wanted a picture of a person")
    image, models = request.image, rodin.models
    rgba = read_cut_out(image, rodin.config.data.resolution, request.background)
    whole = request.background == "none" and bool((rgba[..., 3] == 255).all())
    if not whole and (why := why_no_person(rgba[..., 3])):
        name = image if isinstance(image, str | Path) else "image"
        raise ValueError(
            f"{name}: nobody can be there: {why}; crop the picture to head and shoulders, or say --background"
        )
    check_models(rodin.config, models.folder, "image")
    lpips, reason = perceptual.load(lpips_file(), models.device)
    if lpips is None and rodin.tell:
        rodin.tell(f"{reason}; the picture is compared without it")
    inversion = Inversion(models, rgba, request.seed, lpips, not whole, rodin.progress)
    found = inversion.run(settings)
    about = request.metadata() | {"inverted": inversion_metadata(settings)} | sampling_metadata(rodin.config)
    before = Avatar(models, found.first, inversion.start, request.seed, request.metadata())
    after = Avatar(models, found.planes, found.latent, request.seed, about)
    shown = [_seen(one, found.view, len(rgba)) for one in (before, after)]
    measured: dict[str, Any] = {"camera": camera_metadata(found)}
    for name, picture in zip(("before", "after"), shown, strict=True):
        measured[name] = _likeness(bytes_over_white(picture), rgba[..., :3], inversion.lpips)
    side = shown_side(rodin.config)
    large = models.marking.marked(np.stack([_seen(one, found.view, side) for one in (before, after)]))
    labels = [
        "the picture",
        f"of CLIP alone: {measured['before']['psnr']:.1f} dB",
        f"inverted: {measured['after']['psnr']:.1f} dB",
    ]
    comparison = labelled([rgba[..., :3], *large], labels, side)
    return replace(after, provenance=about | {"measured": measured}, before=before, pictures={"comparison": comparison})


def inversion_metadata(settings: InversionSettings) -> dict[str, Any]:
    """Settings of an inversion for an avatar's metadata."""
    known = {name: value for name in ("yaw", "pitch") if (value := getattr(settings, name)) is not None}
    if settings.camera is not None:
        known |= {"pose": settings.camera.poses[0].tolist(), "lens": settings.camera.lenses[0].tolist()}
    return {"latent_steps": settings.latent_steps, "planes_steps": settings.planes_steps} | known


def camera_metadata(found: Inverted) -> dict[str, float] | str:
    """The camera that an inversion found, for an avatar's metadata."""
    if found.pose is None:
        return "given"
    return dict(zip(("yaw_degrees", "pitch_degrees", "distance"), found.pose, strict=True))


def checked_edit(to: str, source: str | Sequence[str] | None, strength: float) -> tuple[str, list[str]]:
    """The text after an edit, and those before it, which may be none.

    Raises:
        ValueError: a text that cannot be read, or a strength out of range.
    """
    given = [source] if isinstance(source, str) else list(source or [])
    target, sources = checked_text("target text", to), [checked_text("source text", one) for one in given]
    if not 0 < strength <= MOST_STRENGTH:
        raise ValueError(f"strength: got {strength:g}, wanted a number over 0 and up to {MOST_STRENGTH:g}")
    return target, sources


def edited_avatar(
    rodin: Rodin, avatar: Avatar, target: str, sources: list[str], strength: float, told: bool = False
) -> Avatar:
    """The avatar of `Rodin.edit`, of texts that are checked."""
    latent = _latent_of(avatar)
    check_models(rodin.config, rodin.models.folder, "image", edits=True)
    cut = {} if told else rodin.read([("target text", target), *(("source text", one) for one in sources)])
    sources = sources or list(GENERAL_TEXTS)
    changed, tried = moved(rodin.models, latent, target, sources, strength)
    both = rodin.sampled(torch.stack([changed, latent]), [avatar.seed, avatar.seed])
    change = both[0] - both[1]
    change = change if tried is None else taken(both[1], change, *tried, rodin.models.decoder)
    planes = (avatar.planes.to(both) + change).clamp(-1, 1)
    about = before_edit(avatar.provenance) | edit_metadata(target, sources, strength) | cut
    about |= sampling_metadata(rodin.config)
    return Avatar(rodin.models, planes, changed, avatar.seed, about, before=avatar)


def before_edit(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What an edit keeps of the provenance before it: all but what was measured; of an earlier edit all, as `of`."""
    of = {key: value for key, value in provenance.items() if key != "measured"}
    if "target" not in of:
        return of
    return {key: of[key] for key in ("from", "seed", OF_CAPTURED) if key in of} | {"of": of}


def edit_metadata(target: str, sources: Sequence[str], strength: float) -> dict[str, Any]:
    """An edit as metadata of the avatar."""
    return {"target": target, "source": list(sources), "strength": strength}


def between(
    rodin: Rodin, ends: Sequence[Avatar], steps: int, how: str, progress: Progress | None = None
) -> list[Avatar]:
    """The avatars of `Rodin.interpolate`."""
    check_way(len(ends), steps, how)
    check_models(rodin.config, rodin.models.folder, "image")
    latents = [_latent_of(end) for end in ends]
    sampled = rodin.sampled(torch.stack(latents), [ends[0].seed] * len(ends))
    own = [end.planes.to(sampled) - planes for end, planes in zip(ends, sampled, strict=True)]
    made, total = [ends[0]], (len(ends) - 1) * (steps - 1) + 1
    for left in range(len(ends) - 1):
        for blend in np.linspace(0, 1, steps)[1:].tolist():
            if progress is not None:
                progress(len(made), total, "avatars")
            if blend == 1:
                made.append(ends[left + 1])
                continue
            latent = blended(latents[left], latents[left + 1], blend, how)
            (planes,) = rodin.sampled(latent[None], [ends[0].seed], no_progress)
            planes = (planes + (1 - blend) * own[left] + blend * own[left + 1]).clamp(-1, 1)
            about = {"from": "interpolation", "blend": blend, "how": how, "seed": ends[0].seed}
            about["ends"] = [dict(ends[one].provenance) for one in (left, left + 1)]
            about |= captured_among(ends[left : left + 2])
            made.append(Avatar(rodin.models, planes, latent, ends[0].seed, about | sampling_metadata(rodin.config)))
    return made


def captured_among(avatars: Sequence[Avatar]) -> dict[str, bool]:
    """What metadata says of captured people among avatars; empty where there are none."""
    return {OF_CAPTURED: True} if any(one.provenance.get(OF_CAPTURED) for one in avatars) else {}


def check_way(ends: int, steps: int, how: str) -> None:
    """Refuse an interpolation that cannot be.

    Raises:
        ValueError: fewer than two ends or two steps, or another way.
    """
    if ends < 2:
        raise ValueError(f"interpolation: got {ends} avatars, wanted two or more")
    check_whole("steps", steps, 2, MOST_BETWEEN, " from one avatar to the next")
    if how not in HOW:
        raise ValueError(f"how: got {how!r}, wanted {' or '.join(HOW)}")


def blended(first: torch.Tensor, last: torch.Tensor, blend: float, how: str) -> torch.Tensor:
    """A latent between two of unit length, [D] of unit length."""
    return interpolate(first, last, blend) if how == "slerp" else unit((1 - blend) * first + blend * last)


def _latent_of(avatar: Avatar) -> torch.Tensor:
    if avatar.latent is None:
        raise ValueError(f"an avatar without a latent ({avatar.provenance.get('from')}), wanted one made by the models")
    return avatar.latent.to(avatar.models.device)


def _seen(avatar: Avatar, view: Cameras, side: int) -> np.ndarray:
    return avatar.render(view, size=side)[0]


def _likeness(picture: np.ndarray, truth: np.ndarray, lpips: perceptual.Lpips | None) -> dict[str, float | None]:
    """PSNR in dB and LPIPS of a picture [S, S, 3] against another, both over white."""
    ours, theirs = (torch.from_numpy(one).permute(2, 0, 1)[None].float() / 255 for one in (picture, truth))
    return {"psnr": float(psnr(ours, theirs)), "lpips": None if lpips is None else float(lpips(ours, theirs))}
