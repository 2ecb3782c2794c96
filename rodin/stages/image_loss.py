"""Image-level loss of the upsampler: rendered patches of its tri-planes against patches of the subject's views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from rodin.config import Config
from rodin.data.pictures import images_over_white
from rodin.data.rows import SubjectField, draw_indices
from rodin.data.shared_decoder import load_decoder
from rodin.device import on_device
from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.render import render
from rodin.metrics import lpips
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.weights import lpips_file
from rodin.train.data.draws import Draws

Distance = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def patch_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    truth: torch.Tensor,
    camera_to_world: Sequence[torch.Tensor],
    intrinsics: Sequence[torch.Tensor],
    draws: Draws,
    *,
    box: float,
    samples: int,
    pixel: float,
    perceptual: float,
    distance: Distance | None = None,
) -> torch.Tensor:
    """Image-level loss of planes: pixel ||rendered − truth||² + perceptual LPIPS(rendered, truth).

    Args:
        planes: [N, 3, C, R, R]; gradients flow to them.
        decoder: the shared decoder, frozen.
        truth: [N, 3, P, P] patches of views in [0, 1] over white.
        camera_to_world: N of [4, 4], OpenCV axes, on the CPU, so that nobody waits for a GPU.
        intrinsics: N of [4], on the CPU, of the patch: pixel (0, 0) is the patch's own corner.
        draws: random numbers that jitter the samples along rays, each subject's by its own.
        box: half the side of the fitted cube, world units.
        samples: S, along a ray.
        pixel, perceptual: weights.
        distance: LPIPS with gradients; needed if `perceptual` is over 0.

    Returns:
        [N].

    Source: the main paper's image-level supervision of the upsampler (R10). Ours: rays through empty space count too,
    since haze that no ray crosses is never removed.
    """
    side = truth.shape[-1]
    patches = []
    with torch.autocast(planes.device.type, enabled=False):
        for number, generator in enumerate(draws.generators("patch samples")):
            camera = camera_to_world[number].numpy(), intrinsics[number].numpy()
            origins, directions = (on_device(rays, truth.device) for rays in cameras.rays(*camera, side, side))
            one = planes[number : number + 1].float()
            colour, opacity, _ = render(
                one, decoder, origins, directions, box=box, samples=samples, generator=generator
            )
            patches.append((colour + 1 - opacity[:, None]).T.unflatten(1, (side, side)))
        rendered = torch.stack(patches)
        loss = pixel * (rendered - truth).square().flatten(1).mean(dim=1)
        if perceptual and distance is not None:
            loss = loss + perceptual * distance(rendered, truth)
    return loss


@dataclass
class PatchLoss:
    """Patches of the training subjects' views, and the loss of rendered planes against them.

    Args:
        config: the run's config.
        rgba, poses, intrinsics: fields of the fitted views.
        decoder: the shared decoder, frozen.
        distance: LPIPS with gradients; None without a perceptual loss.
    """

    config: Config
    rgba: SubjectField
    poses: SubjectField
    intrinsics: SubjectField
    decoder: Decoder
    distance: Distance | None

    @classmethod
    def of(cls, config: Config, folder: RunFolder, subjects: list[str], device: torch.device) -> PatchLoss:
        """Open the run's views, decoder and, for a perceptual loss, LPIPS.

        Raises:
            FileNotFoundError: the perceptual loss needs LPIPS, whose weights are missing; names the file.
        """
        patch, distance = config.upsample.patch, None
        if patch.perceptual:
            path = lpips_file()
            network, _ = lpips.load(path, device)
            if network is None:
                raise FileNotFoundError(
                    f"{path}: no weights of LPIPS for upsample.patch.perceptual {patch.perceptual}; run `rodin weights "
                    "fetch lpips`, or do without it: --set upsample.patch.perceptual=0"
                )
            distance = network.distance
        views, fitted = Shards(folder.stage("render"), "views"), config.data.views - config.fit.held_out_views
        names = ("rgba", "camera_to_world", "intrinsics")
        rgba, poses, intrinsics = (SubjectField(views, subjects, name, fitted) for name in names)
        return cls(config, rgba, poses, intrinsics, load_decoder(folder, device), distance)

    def load(self, items: np.ndarray, draws: Draws) -> dict[str, Any]:
        """A random patch of a random fitted view of each item: its pixels and its camera.

        Returns:
            patch [n, 3, P, P] in [0, 1] over white; lists, which stay on the CPU: patch_pose n of [4, 4],
            patch_intrinsics n of [4], of the patch itself.
        """
        view = draw_indices(draws, "patch view", self.rgba.shape[0])
        rgba, intrinsics = self.rgba.entry(items, view), self.intrinsics.entry(items, view).copy()
        side = min(self.config.upsample.patch.side, rgba.shape[1])
        top, left = (draw_indices(draws, f"patch {edge}", rgba.shape[1] - side + 1) for edge in ("top", "left"))
        cut = [image[y : y + side, x : x + side] for image, y, x in zip(rgba, top, left, strict=True)]
        intrinsics[:, 2] -= left
        intrinsics[:, 3] -= top
        return {
            "patch": images_over_white(np.stack(cut)),
            "patch_pose": list(torch.from_numpy(self.poses.entry(items, view))),
            "patch_intrinsics": list(torch.from_numpy(intrinsics)),
        }

    def __call__(self, planes: torch.Tensor, batch: dict[str, Any], draws: Draws) -> torch.Tensor:
        """`patch_loss` of predicted planes [N, 3, C, R, R] in the data's units: [N]."""
        patch = self.config.upsample.patch
        return patch_loss(
            planes,
            self.decoder,
            batch["patch"],
            batch["patch_pose"],
            batch["patch_intrinsics"],
            draws,
            box=self.config.triplane.box,
            samples=patch.samples,
            pixel=patch.pixel,
            perceptual=patch.perceptual,
            distance=self.distance,
        )
