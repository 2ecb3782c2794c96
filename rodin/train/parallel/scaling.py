"""Loss scaling for float16, whose gradients would otherwise vanish; a few numbers, so that it resumes to the bit."""

from __future__ import annotations

from dataclasses import dataclass, replace

GROWTH, EVERY, LEAST = 2.0, 2_000, 1.0


@dataclass(frozen=True)
class Scaling:
    """What the loss is multiplied with before the backward pass, and how that came to be.

    Args:
        scale: the factor.
        clean: steps since it last changed.
        skipped: updates left out because a gradient overflowed.

    Source: Micikevicius et al. 2018, "Mixed precision training"; the numbers are those of `torch.amp.GradScaler`.
    """

    scale: float = 1.0
    clean: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, precision: str) -> Scaling:
        """Where a training begins: 65,536 in float16, 1 in a precision that needs none."""
        return cls(65_536.0) if precision == "float16" else cls()

    def after(self, overflowed: bool) -> Scaling:
        """The next step's: halved after an overflow, doubled after 2,000 steps without one."""
        if overflowed:
            return Scaling(self.scale / GROWTH, 0, self.skipped + 1)
        if self.clean + 1 == EVERY:
            return Scaling(self.scale * GROWTH, 0, self.skipped)
        return replace(self, clean=self.clean + 1)

    @property
    def spent(self) -> bool:
        """Whether it cannot be lowered any more: an overflow is then a fault of the training, not of the scale."""
        return self.scale <= LEAST
