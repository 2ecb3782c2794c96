"""Held-out people made again from one picture, and how like them the avatars are (R48, R49)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import evenly, over_white
from rodin.generate.cascade import Avatars
from rodin.generate.latents import seed_for
from rodin.hooks import Hooks, Stopped
from rodin.metrics import lpips as perceptual
from rodin.metrics.psnr import psnr
from rodin.metrics.ssim import ssim
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.store.weights import LPIPS_FILE, weights_folder

REBUILD = 4

Baselines = Mapping[str, Callable[[str], tuple[torch.Tensor, dict[str, Any]]]]


class Judge:
    """Measures how like a person's pictures an avatar's are.

    Args:
        avatars: the run's models.
        views: the store of pictures.
        count: pictures compared of each person, evenly chosen.
    """

    def __init__(self, avatars: Avatars, views: Shards, count: int) -> None:
        self.avatars, self.views = avatars, views
        total, side = views.shape("rgba")[0], views.shape("rgba")[1]
        self.chosen = evenly(total, count)
        self.lpips, self.reason = perceptual.load(weights_folder() / LPIPS_FILE, avatars.device)
        if side < perceptual.SMALLEST:
            self.lpips, self.reason = None, f"LPIPS: pictures of {side} pixels are too small for it"

    def __call__(self, subject: str, planes: torch.Tensor) -> tuple[dict[str, Any], np.ndarray]:
        """Compare an avatar with a person, both seen by the person's own cameras, over white.

        Args:
            subject: id of the person.
            planes: [3, C, R, R] of the avatar.

        Returns:
            psnr (dB), ssim and lpips, means over the pictures (lpips null and why, where its weights are missing);
            the avatar's pictures [V, H, W, 4] uint8.

        Ours: Table 1 compares pictures over white, at 8 bit, with the conditioning view among those compared.
        """
        rgba = self.views.read(subject, "rgba", self.chosen)
        poses, lenses = (self.views.read(subject, name)[self.chosen] for name in ("camera_to_world", "intrinsics"))
        made = self.avatars.render(planes, poses, lenses, rgba.shape[1])
        device = self.avatars.device
        ours, truth = over_white(made).to(device), over_white(rgba).to(device)
        values = {"psnr": float(psnr(ours, truth).mean()), "ssim": float(ssim(ours, truth).mean())}
        if self.lpips is None:
            return values | {"lpips": None, "lpips_reason": self.reason}, made
        return values | {"lpips": float(self.lpips(ours, truth).mean())}, made


def rebuild(
    avatars: Avatars, latents: Shards, subjects: Sequence[str], scale: float, hooks: Hooks
) -> Iterator[tuple[str, torch.Tensor]]:
    """Make avatars of people from the latent of their frontal picture alone.

    Args:
        avatars: the run's models.
        latents: the store of latents.
        subjects: ids; an avatar depends on its own person only, not on who else is asked for.
        scale: guidance scale; the noise is the same for all scales.
        hooks: the wish to stop.

    Yields:
        id, planes [3, C, R, R].

    Source: R48.
    """
    size = avatars.config.sample.batch
    for at in range(0, len(subjects), size):
        if hooks.should_stop():
            raise Stopped()
        batch = subjects[at : at + size]
        z = torch.from_numpy(np.stack([latents.read(subject, "image", 0) for subject in batch]))
        seeds = [seed_for(avatars.config.seed, REBUILD, int.from_bytes(subject.encode(), "big")) for subject in batch]
        yield from zip(batch, avatars.planes(z.to(avatars.device), seeds, scale), strict=True)


def measured_subjects(config: Config, *stores: Shards) -> list[str]:
    """The held-out people who are measured: at most `evaluate.subjects`, with a row in every store."""
    people = [subject for subject in config.held_out_subjects() if all(subject in store for store in stores)]
    return people[: config.evaluate.subjects]


def measure_shard(
    folder: RunFolder,
    stage: str,
    number: int,
    subjects: Sequence[str],
    *,
    avatars: Avatars,
    scale: float,
    hooks: Hooks,
    baselines: Baselines | None = None,
    said: Mapping[str, Any] | None = None,
    more: Sequence[Mapping[str, Any]] | None = (),
) -> None:
    """Rebuild and measure some people: their result rows, and a shard of kind `samples` with what was rendered.

    Args:
        folder: the run.
        stage: whose folder the shard goes to; also the name of the rows.
        number: the shard.
        subjects: ids.
        avatars: the run's models.
        scale: guidance scale.
        hooks: progress and the wish to stop; people measured before a stop are kept.
        baselines: method -> (id -> planes, what else the row says), measured beside ours.
        said: what else the rows say.
        more: rows written with these; None: publish neither rows nor shard yet.
    """
    views, latents = Shards(folder.stage("render"), "views"), Shards(folder.stage("embed"), "latents")
    judge = Judge(avatars, views, avatars.config.evaluate.views)
    kept = evenly(len(judge.chosen), avatars.config.sample.views)
    shown = [judge.chosen[place] for place in kept]
    about = {"kind": "reconstruction", "guidance_scale": scale, "views": shown, "generated": True}
    shapes = {"rgba": (len(kept), *views.shape("rgba")[1:])}
    with ShardWriter(folder.stage(stage), number, "samples", subjects, shapes) as writer:
        for subject, planes in rebuild(avatars, latents, writer.missing(), scale, hooks):
            values, pictures = judge(subject, planes)
            ours = {**(said or {}), **({} if baselines is None else {"method": "rodin"})}
            rows = [{"stage": stage, "subject": subject, "guidance_scale": scale} | ours | values]
            for method, planes_for in (baselines or {}).items():
                other, said = planes_for(subject)
                rows.append({"stage": stage, "subject": subject, "method": method} | said | judge(subject, other)[0])
            writer.add(subject, {**about, "reference": subject, "rows": rows}, rgba=pictures[kept])
            hooks.progress(len(subjects) - len(writer.missing()), len(subjects), f"{subject}: {values['psnr']:.2f} dB")
        if more is not None and not writer.complete:
            measured = [row for subject in subjects for row in json.loads(writer.done[subject].meta)["rows"]]
            write_rows(folder, stage, number, [*measured, *more])
            writer.publish()
