"""State of the decoder's subjects on one rank: on its device or in memory if it fits, else in a file that is paged.

A thousand subjects at the paper's size take 25 GB for planes, 50 GB for Adam's moments and 50 GB for images.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from rodin.fitting.fit import BETAS
from rodin.fitting.scene import FitScene

EPS = 1e-8  # Adam's, added to the root of the second moment; torch's default
FLOATS = 4  # bytes of a float32


@dataclass
class SubjectState:
    """State of one subject of this rank.

    vectors [3, length]: difference of its planes to the shared ones, and Adam's two moments; occupancy [G, G, G], None
    before the first step; visits: steps taken on this subject.
    """

    subject: str
    vectors: torch.Tensor
    occupancy: torch.Tensor | None = None
    visits: int = 0


def vectors(
    subjects: int, length: int, limit: float, scratch: Path | None = None, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Zeros for the values of all subjects and Adam's two moments.

    Args:
        subjects: P, number of them.
        length: number of values of one subject.
        limit: bytes allowed in memory; beyond it, an unnamed file that disappears with this process.
        scratch: folder of that file, best on the node's own disk; None: the system's folder for temporary files.
        device: where they are if they are within the limit.

    Returns:
        [P, 3, length] float32 on the device; a file is on the CPU.

    Raises:
        ValueError: the disk is too small for the file.
    """
    shape, size = (subjects, 3, length), FLOATS * subjects * 3 * length
    if size <= limit:
        return torch.zeros(shape, device=device)
    with tempfile.NamedTemporaryFile(prefix="rodin-planes-", dir=scratch) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as problem:
            raise ValueError(
                f"decoder: the planes of {subjects} subjects take {size / 1e9:.1f} GB in {Path(file.name).parent} "
                f"({problem.strerror}); set TMPDIR to a larger disk, or raise decoder.memory_gb, or ask for more ranks"
            ) from None
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.float32).view(shape)


@torch.no_grad()
def adam_(state: torch.Tensor, gradient: torch.Tensor, step: int, lr: float) -> None:
    """One step of Adam on the vector of one subject, in place.

    Args:
        state: [3, length]: values, first moment, second moment.
        gradient: [length].
        step: number of steps on this subject, including this one.
        lr: step size.
    """
    values, first, second = state
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    scale = (second / (1 - BETAS[1] ** step)).sqrt_().add_(EPS)
    values.addcdiv_(first, scale, value=-lr / (1 - BETAS[0] ** step))


class SceneCache:
    """Views of subjects by id; the most recently used are cached.

    Args:
        read: called with (subject, hull, or None if unknown); returns the views. A known hull is not carved again.
        limit: bytes cached, but at least one subject.
    """

    def __init__(self, read: Callable[[str, torch.Tensor | None], FitScene], limit: float) -> None:
        self.read, self.limit = read, limit
        self._cached: OrderedDict[str, FitScene] = OrderedDict()
        self._hulls: dict[str, torch.Tensor] = {}

    def __getitem__(self, subject: str) -> FitScene:
        """Views and hull of one subject."""
        scene = self._cached.pop(subject, None) or self.read(subject, self._hulls.get(subject))
        self._cached[subject], self._hulls[subject] = scene, scene.hull
        while len(self._cached) > 1 and sum(map(_bytes, self._cached.values())) > self.limit:
            self._cached.popitem(last=False)
        return scene


def _bytes(scene: FitScene) -> int:
    return sum(tensor.nbytes for tensor in scene)
