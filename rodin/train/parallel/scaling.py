"""Loss scaling for float16, whose gradients would otherwise vanish. Its state is a few numbers of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST = 65_536.0  # first scale; this and the next two are the defaults of torch.amp.GradScaler
GROWTH = 2.0  # factor of a change
EVERY = 2_000  # steps without an overflow until the scale grows
LEAST = 1.0  # smallest scale: at 1, gradients overflow by themselves


@dataclass(frozen=True)
class LossScale:
    """The factor of the loss before the backward pass, and the counts that decide its changes.

    Args:
        scale: the factor.
        clean: steps since its last change.
        skipped: updates skipped because a gradient overflowed.

    Source: Micikevicius et al. 2018, "Mixed precision training"; the numbers are those of `torch.amp.GradScaler`.
    """

    scale: float = 1.0
    clean: int = 0
    skipped: int = 0

    @classmethod
    def of(cls, precision: str) -> LossScale:
        """The first scale of a training: 65,536 in float16, 1 in a precision that needs no scaling."""
        return cls(FIRST) if precision == "float16" else cls()

    def after(self, overflowed: bool) -> LossScale:
        """The scale of the next step: halved after an overflow, doubled after 2,000 steps without one."""
        if overflowed:
            return LossScale(self.scale / GROWTH, 0, self.skipped + 1)
        if self.clean + 1 == EVERY:
            return LossScale(self.scale * GROWTH, 0, self.skipped)
        return replace(self, clean=self.clean + 1)

    @property
    def spent(self) -> bool:
        """Whether it cannot be lowered any more: an overflow is then an error of the training, not of the scale."""
        return self.scale <= LEAST
