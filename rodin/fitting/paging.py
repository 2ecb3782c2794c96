"""What a rank keeps of the decoder's people: in memory while it fits, else in a file that the system pages in and out.

A thousand people at the paper's size are 25 GB of planes, 50 GB of Adam's moments and as much of pictures.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import torch

from rodin.fitting.scene import Scene

BETAS, EPS = (0.9, 0.99), 1e-8


def vectors(people: int, length: int, limit: float, scratch: Path | None = None) -> torch.Tensor:
    """Room for everybody's values and Adam's two moments, zeros.

    Args:
        people: P.
        length: values of one person.
        limit: bytes that may lie in memory; beyond, they are a file of no name, gone with this process.
        scratch: folder of that file, best on the node's own disk; none: the system's.

    Returns:
        [P, 3, length] float32 on the CPU.

    Raises:
        ValueError: the disk has no room for the file.
    """
    shape, size = (people, 3, length), 4 * people * 3 * length
    if size <= limit:
        return torch.zeros(shape)
    with tempfile.NamedTemporaryFile(prefix="rodin-planes-", dir=scratch) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as problem:
            raise ValueError(
                f"decoder: {people} people's planes take {size / 1e9:.1f} GB in {Path(file.name).parent} "
                f"({problem.strerror}); set TMPDIR to a larger disk, or raise decoder.memory_gb, or ask for more ranks"
            ) from None
        return torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.float32).view(shape)


@torch.no_grad()
def adam_(state: torch.Tensor, gradient: torch.Tensor, step: int, lr: float) -> None:
    """One step of Adam on one person's vector, in place.

    Args:
        state: [3, length]: values, first and second moment.
        gradient: [length].
        step: steps taken on this person, this one included.
        lr: step size.
    """
    values, first, second = state
    first.lerp_(gradient, 1 - BETAS[0])
    second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    scale = (second / (1 - BETAS[1] ** step)).sqrt_().add_(EPS)
    values.addcdiv_(first, scale, value=-lr / (1 - BETAS[0] ** step))


class Scenes:
    """Pictures of people, those used last kept while they fit.

    Args:
        read: (subject, its hull or None) -> the pictures; a hull that is known need not be carved again.
        limit: bytes kept, at least one person's.
    """

    def __init__(self, read: Callable[[str, torch.Tensor | None], Scene], limit: float) -> None:
        self.read, self.limit = read, limit
        self._kept: OrderedDict[str, Scene] = OrderedDict()
        self._hulls: dict[str, torch.Tensor] = {}

    def __getitem__(self, subject: str) -> Scene:
        """The pictures of one person."""
        scene = self._kept.pop(subject, None) or self.read(subject, self._hulls.get(subject))
        self._kept[subject], self._hulls[subject] = scene, scene.hull
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self.limit:
            self._kept.popitem(last=False)
        return scene


def _bytes(scene: Scene) -> int:
    return sum(tensor.nbytes for tensor in scene)
