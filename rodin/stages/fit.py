"""Stage `fit`: one tri-plane for each training person of a shard, the decoder frozen (R25-R34, R30)."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.field.decoder import Decoder
from rodin.field.fit import Diverged, fit_planes, over_white, quality
from rodin.field.planes import resize
from rodin.field.scene import Scene
from rodin.metrics.ssim import ssim
from rodin.stages.decoder import fit_settings, read_scene
from rodin.stages.hooks import Hooks, Stopped
from rodin.stages.shared_decoder import load_decoder, load_mean
from rodin.store.run_folder import RunFolder
from rodin.store.shard import Shards, ShardWriter
from rodin.train.draws import bits


@dataclass(frozen=True)
class Fitted:
    """One person's planes [3, C, R, R] as they are stored, float16, and what is known of them."""

    planes: torch.Tensor
    meta: dict[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """The pictures that are not fitted: rgba [V, H, W, 4] uint8, poses [V, 4, 4], lenses [V, 4]."""

    rgba: torch.Tensor
    poses: torch.Tensor
    lenses: torch.Tensor


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Fit the people of one shard; those already fitted by a killed attempt are kept.

    Args:
        config: the run's config.
        folder: the run.
        shard: which part of the training people.
        hooks: progress and the wish to stop.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plane, subjects = config.triplane, config.subjects_of("fit", shard)
    shapes = {
        "planes": (3, plane.channels, plane.resolution, plane.resolution),
        "base": (3, plane.channels, plane.base_resolution, plane.base_resolution),
    }
    with ShardWriter(folder.stage("fit"), shard, "planes", subjects, shapes) as writer:
        if not (missing := writer.missing()):
            writer.publish()
            return
        views = Shards(folder.stage("render"), "views")
        decoder, mean = load_decoder(folder, device), load_mean(folder, device)
        for subject in missing:
            if hooks.should_stop():
                raise Stopped()
            if subject in views.failed:
                writer.fail(subject, f"has no views: {views.failed[subject]}")
                continue
            try:
                fitted = fit_person(config, views, subject, decoder, mean)
            except Diverged as reason:
                writer.fail(subject, str(reason))
                continue
            base = resize(fitted.planes.float()[None], plane.base_resolution)[0]
            writer.add(subject, fitted.meta, planes=fitted.planes.cpu().numpy(), base=base.half().cpu().numpy())
            done = len(subjects) - len(writer.missing())
            hooks.progress(done, len(subjects), f"{subject}: {fitted.meta['psnr']:.1f} dB")
        writer.publish()


def fit_person(config: Config, views: Shards, subject: str, decoder: Decoder, start: torch.Tensor) -> Fitted:
    """Fit one person, with another seed where a try comes to nothing.

    Args:
        config: the run's config.
        views: the store of pictures.
        subject: id.
        decoder: the shared decoder, frozen.
        start: planes the fit starts from, [3, C, R, R] on the device; the mean of the decoder's people.

    Returns:
        planes float16 and their quality on pictures not fitted, rendered without the hull.

    Raises:
        Diverged: every try diverged or stayed under `fit.floor_psnr`; says which.

    Source: R25-R34. Ours: the start is the mean person: the fit is faster and people's planes are alike.
    """
    fit, reasons = config.fit, []
    began = time.perf_counter()
    scene = read_scene(views, subject, config, start.device)
    held_out = _held_out(views, subject, fit.held_out_views, start.device)
    for attempt in range(1 + fit.retries):
        seed = int(bits(config.seed, f"fit {subject}", [attempt])[0] >> np.uint64(1))
        try:
            planes, steps = _once(config, scene, held_out, decoder, start, seed)
            psnr, similarity = _measure(config, planes, decoder, held_out)
        except Diverged as reason:
            reasons.append(str(reason))
            continue
        if math.isfinite(psnr) and psnr >= fit.floor_psnr:
            meta = {"psnr": psnr, "ssim": similarity, "seconds": time.perf_counter() - began, "steps": steps}
            return Fitted(planes, meta)
        reasons.append(f"{psnr:.1f} dB on views not fitted, under fit.floor_psnr {fit.floor_psnr}")
    raise Diverged(f"{len(reasons)} tries: {'; '.join(reasons)}")


def _once(
    config: Config, scene: Scene, held_out: HeldOut, decoder: Decoder, start: torch.Tensor, seed: int
) -> tuple[torch.Tensor, int]:
    fit = config.fit
    target = fit.target_psnr

    def good_enough(_: int, planes: torch.Tensor) -> bool:
        return target is not None and _measure(config, planes, decoder, held_out)[0] >= target

    planes, steps = fit_planes(
        scene,
        decoder,
        start,
        fit_settings(config, fit.rays),
        steps=fit.steps,
        lr=fit.lr,
        seed=seed,
        anchor=start,
        stop=None if target is None else good_enough,
    )
    return planes.half(), steps


def _measure(config: Config, planes: torch.Tensor, decoder: Decoder, held_out: HeldOut) -> tuple[float, float]:
    box, samples = config.triplane.box, config.fit.samples
    psnr, made = quality(
        planes.float(), decoder, held_out.rgba, held_out.poses, held_out.lenses, box=box, samples=samples
    )
    truth = over_white(held_out.rgba.float() / 255)
    alike = ssim(made.permute(0, 3, 1, 2), truth.permute(0, 3, 1, 2))
    return psnr, float(alike.mean())


def _held_out(views: Shards, subject: str, count: int, device: torch.device) -> HeldOut:
    last = slice(views.shape("rgba")[0] - count, None)
    return HeldOut(
        torch.from_numpy(views.read(subject, "rgba", last)).to(device),
        torch.from_numpy(views.read(subject, "camera_to_world")[last]),
        torch.from_numpy(views.read(subject, "intrinsics")[last]),
    )
