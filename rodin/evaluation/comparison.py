"""Comparison of avatars with the pictures of a subject, picture by picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.weak import WeakTensorKeyDictionary

from rodin.data.pictures import images_over_white
from rodin.evaluation.haze import avatar_haze
from rodin.field.cameras import spread
from rodin.generate.cascade import Avatars
from rodin.metrics import lpips as perceptual
from rodin.metrics.psnr import psnr
from rodin.metrics.ssim import ssim
from rodin.store.shards.reader import Shards
from rodin.store.weights import lpips_file

AT_ONCE = 32  # pictures in floats together: at 256² 25 MB for each side, however many views a subject has
MOST_PSNR = 100.0  # dB, of a picture equal to its truth, where PSNR is infinite: one value of a 256² picture off by one


class Truth(NamedTuple):
    """A subject's compared views: numbers, rgba [P, H, W, 4] uint8, poses [P, 4, 4], intrinsics [P, 4]."""

    subject: str
    chosen: list[int]
    rgba: np.ndarray
    poses: np.ndarray
    intrinsics: np.ndarray


class ViewComparison:
    """Compares avatars with subjects, view by view.

    Args:
        avatars: the run's models.
        views: the store of views.
        count: views to compare of each subject, those that cover most sides.
        unfitted: compare the last `count` views instead, those that no fit sees.
    """

    def __init__(self, avatars: Avatars, views: Shards, count: int, unfitted: bool = False) -> None:
        self.avatars, self.views = avatars, views
        total, side = views.shape("rgba")[0], views.shape("rgba")[1]
        self.count, self.unfitted = min(count, total), range(total - count, total) if unfitted else None
        self.lpips, self.reason = perceptual.load(lpips_file(), avatars.device)
        if side < perceptual.SMALLEST:
            self.lpips, self.reason = None, f"LPIPS: pictures of {side} pixels are too small for it"
        self._truth: Truth | None = None
        self._haze = WeakTensorKeyDictionary()

    @property
    def measures(self) -> list[str]:
        """Names of what is measured of each picture; no lpips where its weights are missing."""
        return ["psnr", "ssim"] + ([] if self.lpips is None else ["lpips"])

    def __call__(self, subject: str, planes: torch.Tensor) -> tuple[dict[str, Any], np.ndarray]:
        """Render an avatar by the subject's cameras and compare it with the subject's views, over white.

        Args:
            subject: id.
            planes: [3, C, R, R] of the avatar.

        Returns:
            psnr (dB), ssim and lpips, means over the views (lpips None and lpips_reason if its weights are missing);
            haze, the share of opacity beside the main body; the rendered views [V, H, W, 4] uint8.
        """
        each, rendered = self.each(subject, planes)
        return self.summary(each, planes), rendered

    def each(self, subject: str, planes: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Measures of each picture, and the pictures; arguments as in a call.

        The subject's views are read once, whatever number of avatars in a row is compared with them.

        Returns:
            [P, M] float64, columns as `measures`; the rendered views [P, H, W, 4] uint8.

        Ours: Table 1 compares images over white, at 8 bit, with the conditioning view among those compared.
        """
        truth = self._read(subject)
        rendered = self.avatars.render(planes, truth.poses, truth.intrinsics, truth.rgba.shape[1])
        parts = range(0, len(rendered), AT_ONCE)
        each = [self._measured(rendered[at : at + AT_ONCE], truth.rgba[at : at + AT_ONCE]) for at in parts]
        return np.concatenate(each), rendered

    def summary(self, each: np.ndarray, planes: torch.Tensor) -> dict[str, Any]:
        """Values of a call, from the measures of each picture [P, M] and the planes."""
        values: dict[str, Any] = dict(zip(self.measures, each.mean(axis=0).tolist(), strict=True))
        values["haze"] = self.haze(planes)
        return values if self.lpips is not None else values | {"lpips": None, "lpips_reason": self.reason}

    def haze(self, planes: torch.Tensor) -> float:
        """`avatar_haze` of planes [3, C, R, R]: once of a tensor that several subjects are compared with."""
        if planes not in self._haze:
            self._haze[planes] = avatar_haze(self.avatars, planes)
        return self._haze[planes]

    def attributes(self, scale: float, methods: Mapping[str, Any] | list[str]) -> dict[str, Any]:
        """What the measures of each picture in a shard are, as plain values that are stored with it.

        ``compared`` are places of views, which are other ones of each subject; the first is always view 0.
        """
        names = {"methods": list(methods), "measures": self.measures, "compared": list(range(self.count))}
        return {"guidance_scale": scale} | names

    def chosen(self, subject: str) -> list[int]:
        """Numbers of the compared views of a subject."""
        return self._read(subject).chosen

    def shown(self, subject: str, count: int) -> list[int]:
        """Places among the compared views of those, so many, that cover most sides."""
        return spread(self._read(subject).poses, count)

    def _read(self, subject: str) -> Truth:
        if self._truth is None or self._truth.subject != subject:
            poses, lenses = (self.views.read(subject, name) for name in ("camera_to_world", "intrinsics"))
            chosen = spread(poses, self.count) if self.unfitted is None else list(self.unfitted)
            rgba = self.views.read(subject, "rgba", chosen)
            self._truth = Truth(subject, chosen, rgba, poses[chosen], lenses[chosen])
        return self._truth

    def _measured(self, rendered: np.ndarray, rgba: np.ndarray) -> np.ndarray:
        device = self.avatars.device
        ours, truth = images_over_white(rendered).to(device), images_over_white(rgba).to(device)
        columns = [psnr(ours, truth).clamp(max=MOST_PSNR), ssim(ours, truth)]
        if self.lpips is not None:
            columns.append(self.lpips(ours, truth))
        return torch.stack([column.double() for column in columns], dim=1).cpu().numpy()
