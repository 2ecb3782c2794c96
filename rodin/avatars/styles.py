"""Hair styles: cut and combing. World units; directions in world axes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rodin.avatars.scalp import Roots

Length = Callable[[Roots], np.ndarray]
Flow = Callable[[Roots], np.ndarray]


@dataclass(frozen=True)
class Style:
    """One hair style.

    Args:
        count: number of strands.
        length: function from roots to the length of each strand.
        flow: function from roots to the combing directions [S, 3].
        lift: distance of the outermost hair from the skin.
        rise: direction at the root, 0 flat .. 1 along the normal.
        gravity: how much the ends turn downwards, 0..1.
        curl: amplitude, and turns per unit length.
        radius: of a strand.
        gathered: "ponytail" or "bun" where strands are drawn to the back of the head.
        lower: distance by which the hairline is lowered, decimetres.
    """

    count: int
    length: Length
    flow: Flow
    lift: float = 0.06
    rise: float = 0.3
    gravity: float = 0.5
    curl: tuple[float, float] = (0.0, 0.0)
    radius: float = 0.009
    gathered: str | None = None
    lower: float = 0.0


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors of length 1 along the last axis."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def even(length: float) -> Length:
    """All of one length."""
    return lambda roots: np.full(len(roots.points), length)


def top_longer(top: float, sides: float) -> Length:
    """Longer on the top of the head."""
    return lambda roots: sides + (top - sides) * np.clip((roots.height - 0.3) / 0.3, 0, 1)


def fringed(length: float, fringe: float) -> Length:
    """A short fringe over the forehead."""
    return lambda roots: np.where(_in_front(roots), fringe, length)


def from_crown(roots: Roots) -> np.ndarray:
    """From the crown to all sides."""
    out = roots.points - np.array((0.0, 0.6, -0.1))
    return unit(out * (1.0, 0.3, 1.0))


def forward(roots: Roots) -> np.ndarray:
    """As from the crown, with the front brushed over the forehead."""
    ahead = np.clip(1.4 - 2.5 * roots.around, 0, 1)[:, None]
    return unit(from_crown(roots) * (1 - ahead) + ahead * np.array((0.25, -0.1, 1.0)))


def parted(place: float, fringe: bool = False) -> Flow:
    """Away from a parting at `place` (-1..1 across) to both sides, with or without a fringe."""

    def flow(roots: Roots) -> np.ndarray:
        side = np.tanh((roots.across - place) * 7)
        back = -0.08 - 0.3 * np.clip(1 - 2 * roots.around, 0, 1)
        combed = unit(np.stack([side, np.full(len(side), -0.35), back], axis=1))
        if fringe:
            ahead = unit(np.stack([0.5 * roots.across, np.full(len(side), -0.3), np.ones(len(side))], axis=1))
            combed = np.where(_in_front(roots)[:, None], ahead, combed)
        return combed

    return flow


def swept(side: float) -> Flow:
    """Short hair combed over the top to one side from a parting, and back at the sides."""

    def flow(roots: Roots) -> np.ndarray:
        over = np.tanh((roots.across - side) * 8)
        high = np.clip((roots.height - 0.2) / 0.3, 0, 1)
        top = np.stack([over, 0.1 * np.ones(len(over)), 0.45 - 0.9 * roots.around], axis=1)
        low = np.stack([0.2 * roots.across, -0.7 * np.ones(len(over)), -0.6 * np.ones(len(over))], axis=1)
        return unit(high[:, None] * top + (1 - high[:, None]) * low)

    return flow


def upward(roots: Roots) -> np.ndarray:
    """On end, the top a little forward."""
    return unit(roots.normals + np.array((0.0, 1.1, 0.3)) * np.clip(roots.height * 2, 0.1, 1)[:, None])


def backward(roots: Roots) -> np.ndarray:
    """Straight back."""
    ones = np.ones(len(roots.across))
    return unit(np.stack([0.4 * roots.across, 0.15 * ones, -ones], axis=1))


def _in_front(roots: Roots) -> np.ndarray:
    return (roots.around < 0.24) & (roots.height < 0.75)


STYLES: dict[str, Style] = {
    "short": Style(3400, top_longer(0.17, 0.09), forward, lift=0.055, rise=0.35, gravity=0.25),
    "cropped": Style(4200, top_longer(0.05, 0.035), from_crown, lift=0.03, rise=0.8, gravity=0.1),
    "side-parted": Style(3400, top_longer(0.28, 0.1), swept(0.4), lift=0.075, rise=0.45, gravity=0.25),
    "spiky": Style(2200, top_longer(0.2, 0.06), upward, lift=0.05, rise=0.5, gravity=0.0, radius=0.012),
    "curly": Style(2800, even(0.3), from_crown, lift=0.15, rise=0.9, gravity=0.3, curl=(0.035, 9), radius=0.011),
    "bob": Style(3800, fringed(0.58, 0.2), parted(0.0, True), lift=0.085, rise=0.3, gravity=0.8),
    "long": Style(4400, even(1.25), parted(0.05), lift=0.08, rise=0.3, gravity=0.85),
    "wavy": Style(4400, even(1.15), parted(0.3), lift=0.11, rise=0.35, gravity=0.8, curl=(0.028, 3.2)),
    "ponytail": Style(3000, even(0.5), backward, lift=0.035, rise=0.1, gravity=0.0, gathered="ponytail"),
    "bun": Style(3000, even(0.5), backward, lift=0.035, rise=0.1, gravity=0.0, gathered="bun"),
}
