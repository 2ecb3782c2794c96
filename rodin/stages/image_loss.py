"""The upsampler's image-level loss: patches of its tri-planes' pictures, held against the person's own pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import over_white
from rodin.data.rows import Rows, chosen
from rodin.data.shared_decoder import load_decoder
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.render import render
from rodin.metrics import lpips
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.weights import LPIPS_FILE, weights_folder
from rodin.train.data.draws import Draws

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def patch_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    truth: torch.Tensor,
    camera_to_world: torch.Tensor,
    intrinsics: torch.Tensor,
    draws: Draws,
    *,
    box: float,
    samples: int,
    pixel: float,
    perceptual: float,
    distance: Distance | None = None,
) -> torch.Tensor:
    """How unlike patches of pictures are: pixel ||rendered − truth||² + perceptual LPIPS(rendered, truth).

    Args:
        planes: [N, 3, C, R, R], gradients go to them.
        decoder: the shared decoder, frozen.
        truth: [N, 3, P, P] patches of pictures in [0, 1] over white.
        camera_to_world: [N, 4, 4], OpenCV axes. intrinsics: [N, 4] of the patch: its own corner is pixel (0, 0).
        draws: places the samples along rays, each person's by its own.
        box: half the side of the fitted cube. samples: S, along a ray.
        pixel, perceptual: weights. distance: LPIPS with gradients, wanted where `perceptual` is over 0.

    Returns:
        [N].

    Source: the main paper's image-level supervision of the upsampler (R10). Ours: rays run through empty space too,
    since haze that is never looked at is never taken away.
    """
    side = truth.shape[-1]
    pictures = []
    with torch.autocast(planes.device.type, enabled=False):
        for number, generators in enumerate(draws.generators("patch samples")):
            camera = camera_to_world[number].cpu().numpy(), intrinsics[number].cpu().numpy()
            origins, directions = (torch.from_numpy(rays).to(truth) for rays in cameras.rays(*camera, side, side))
            one = planes[number : number + 1].float()
            colour, opacity, _ = render(
                one, decoder, origins, directions, box=box, samples=samples, generator=generators
            )
            pictures.append((colour + 1 - opacity[:, None]).T.unflatten(1, (side, side)))
        rendered = torch.stack(pictures)
        loss = pixel * (rendered - truth).square().flatten(1).mean(dim=1)
        if perceptual and distance is not None:
            loss = loss + perceptual * distance(rendered, truth)
    return loss


@dataclass
class Patches:
    """Patches of training people's own pictures, and what renders ours beside them.

    Args:
        config: the run's config.
        rgba, poses, lenses: rows of the fitted views.
        decoder: the shared decoder, frozen.
        distance: LPIPS, where it is wanted.
    """

    config: Config
    rgba: Rows
    poses: Rows
    lenses: Rows
    decoder: Decoder
    distance: Distance | None

    @classmethod
    def of(cls, config: Config, folder: RunFolder, people: list[str], device: torch.device) -> Patches:
        """Open what is needed.

        Raises:
            FileNotFoundError: a perceptual loss is asked for and LPIPS's weights are not here; names the file.
            ValueError: patches too small for LPIPS.
        """
        patch, distance = config.upsample.patch, None
        if patch.perceptual:
            path = weights_folder() / LPIPS_FILE
            if min(patch.side, config.data.resolution) < lpips.SMALLEST:
                raise ValueError(
                    f"upsample.patch.side: got {patch.side} of pictures of {config.data.resolution}, wanted "
                    f"{lpips.SMALLEST} or more for LPIPS, or upsample.patch.perceptual=0"
                )
            found, _ = lpips.load(path, device)
            if found is None:
                raise FileNotFoundError(
                    f"{path}: no weights of LPIPS for upsample.patch.perceptual {patch.perceptual}; run `rodin weights "
                    "fetch lpips`, or do without it: --set upsample.patch.perceptual=0"
                )
            distance = found.distance
        pictures, count = Shards(folder.stage("render"), "views"), config.data.views - config.fit.held_out_views
        fields = ("rgba", "camera_to_world", "intrinsics")
        rgba, poses, lenses = (Rows(pictures, people, field, count) for field in fields)
        return cls(config, rgba, poses, lenses, load_decoder(folder, device), distance)

    def load(self, items: np.ndarray, draws: Draws) -> dict[str, Any]:
        """A random patch of a random view of each person: its pixels and its camera."""
        view = chosen(draws, "patch view", self.rgba.shape[0])
        whole, lenses = self.rgba.entry(items, view), self.lenses.entry(items, view).copy()
        side = min(self.config.upsample.patch.side, whole.shape[1])
        top, left = (chosen(draws, f"patch {edge}", whole.shape[1] - side + 1) for edge in ("top", "left"))
        cut = [one[y : y + side, x : x + side] for one, y, x in zip(whole, top, left, strict=True)]
        lenses[:, 2] -= left
        lenses[:, 3] -= top
        poses = torch.from_numpy(self.poses.entry(items, view))
        return {"patch": over_white(np.stack(cut)), "patch_pose": poses, "patch_lens": torch.from_numpy(lenses)}

    def loss(self, planes: torch.Tensor, batch: dict[str, torch.Tensor], draws: Draws) -> torch.Tensor:
        """`patch_loss` of predicted planes [N, 3, C, R, R] in the data's units: [N]."""
        patch, place = self.config.upsample.patch, (batch["patch"], batch["patch_pose"], batch["patch_lens"])
        return patch_loss(
            planes,
            self.decoder,
            *place,
            draws,
            box=self.config.triplane.box,
            samples=patch.samples,
            pixel=patch.pixel,
            perceptual=patch.perceptual,
            distance=self.distance,
        )
