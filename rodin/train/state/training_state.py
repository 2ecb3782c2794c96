"""State of a training between two steps: the content of a checkpoint."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rodin.train.parallel.flat import FlatParameters
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.scaling import LossScale
from rodin.train.plan import Plan, difference
from rodin.train.state import checkpoint, ema
from rodin.train.state.saver import CopyTensors

if TYPE_CHECKING:
    from rodin.train.parallel.sharded import ShardedParameters

CurveRow = dict[str, float | None]
SPEED_DIGITS = 2  # decimals in a row of the loss curve: beyond them is noise of the clock
MFU_DIGITS = 3  # significant digits, as the share of a small network on a large GPU is 1e-6
LEAST_SECONDS = 1e-9  # of a row: no division by 0 where the clock is too coarse


class TrainingState:
    """Weights, their average, AdamW's moments, the loss scale and the loss curve.

    Args:
        layout: layout of the weights and gradients.
        plan: the training's settings.

    Attributes:
        step: steps done, with those whose update was skipped.
        curve: finished rows of the loss curve.
        sums: sums since the last row: steps, loss, updates, gradient norm, seconds.
    """

    def __init__(self, layout: FlatParameters | ShardedParameters, plan: Plan) -> None:
        self.layout, self.plan = layout, plan
        self.step, self.scaling = 0, LossScale.of(plan.precision)
        self.curve: list[CurveRow] = []
        self.sums = [0.0] * 5
        self.weights = [weight.data for weight in layout.weights]
        self.average = [weight.clone() for weight in self.weights] if layout.saves else []
        self.optimiser = torch.optim.AdamW(layout.weights, plan.lr, weight_decay=plan.weight_decay, fused=True)
        for weight in layout.weights:
            self.optimiser.state[weight] = {
                "step": torch.zeros((), device=weight.device),
                "exp_avg": torch.zeros_like(weight.data),
                "exp_avg_sq": torch.zeros_like(weight.data),
            }

    def update(self) -> None:
        """Update the weights by AdamW, then their average."""
        self.optimiser.param_groups[0]["lr"] = self.plan.lr_at(self.step)
        self.optimiser.step()
        if self.average:
            ema.update_(self.average, self.weights, ema.rate_at(self.step, self.plan.ema))

    def record(self, loss: float, norm: float, seconds: float, utilisation: float | None) -> bool:
        """Add a step to the loss curve.

        Args:
            loss: mean loss of the step.
            norm: norm of its gradient; if it is not finite, the update was skipped.
            seconds: time of the step.
            utilisation: share of the devices' peak that one sample a second uses; None: not known.

        Returns:
            Whether that finished a row.
        """
        step = (1.0, loss, 1.0, norm, seconds) if math.isfinite(norm) else (1.0, loss, 0.0, 0.0, seconds)
        self.sums = [a + b for a, b in zip(self.sums, step, strict=True)]
        if self.step % self.plan.curve_every and self.step != self.plan.steps:
            return False
        count, losses, updates, norms, spent = self.sums
        speed = count * self.plan.batch / max(spent, LEAST_SECONDS)
        row: CurveRow = {"step": self.step, "samples": self.step * self.plan.batch, "loss": losses / count}
        row |= {"grad_norm": norms / updates if updates else None, "samples_per_second": round(speed, SPEED_DIGITS)}
        row |= {"mfu": None if utilisation is None else float(f"{speed * utilisation:.{MFU_DIGITS}g}")}
        row |= {"skipped": self.scaling.skipped}
        self.curve.append(row)
        self.sums = [0.0] * 5
        return True

    def vectors(self) -> dict[str, Sequence[torch.Tensor]]:
        """The tensors of a checkpoint, each laid out like the weights."""
        moments = [self.optimiser.state[weight] for weight in self.layout.weights]
        return {
            "model": self.weights,
            "average": self.average,
            "exp_avg": [moment["exp_avg"] for moment in moments],
            "exp_avg_sq": [moment["exp_avg_sq"] for moment in moments],
        }

    def content(self, identity: Mapping[str, Any], copy: CopyTensors) -> dict[str, Any]:
        """The content of this rank's checkpoint: copies, so that training goes on while they are written.

        Args:
            identity: settings that must not change before the training is resumed.
            copy: (name, tensors) -> their copies on the CPU.
        """
        named = {name: self.layout.named(copy(name, tensors)) for name, tensors in self.vectors().items()}
        scaling = {"scale": self.scaling.scale, "clean": self.scaling.clean, "skipped": self.scaling.skipped}
        plain = {"curve": list(self.curve), "sums": list(self.sums), "scaling": scaling}
        return {**named, **plain, "identity": dict(identity)}

    def resume(self, ranks: Ranks, folder: Path, identity: Mapping[str, Any]) -> None:
        """Load the last checkpoint, if there is one.

        Args:
            ranks: all of them must call it.
            folder: the training's checkpoints.
            identity: as given to `content`.

        Raises:
            ValueError: it is of another training; the message names the first difference.
        """

        def find() -> checkpoint.Checkpoint | None:
            found = checkpoint.latest(folder)
            if found is not None and (changed := difference(found["identity"], identity)):
                raise ValueError(
                    f"{folder}: its checkpoint is of another training ({changed}); set it back, or move the folder "
                    "elsewhere to train from the start"
                )
            return found

        def load() -> None:
            if names and self.layout.saves:
                self._load(found or checkpoint.opened([folder / name for name in names.split("/")]))

        found = ranks.on_main(find)
        names = ranks.broadcast_text("" if found is None else "/".join(path.name for path in found.paths))
        ranks.on_all(load)
        moments = [tensor for name in ("exp_avg", "exp_avg_sq") for tensor in self.vectors()[name]]
        counts = torch.tensor([self.step, self.scaling.clean, self.scaling.skipped], device=ranks.device)
        scale = torch.tensor([self.scaling.scale], dtype=torch.float64, device=ranks.device)
        self.layout.broadcast_loaded_([counts, scale, *self.weights, *moments])
        self.step, clean, skipped = counts.tolist()
        self.scaling = LossScale(scale.item(), clean, skipped)
        for weight in self.layout.weights:
            self.optimiser.state[weight]["step"].fill_(self.step - skipped)

    def _load(self, saved: checkpoint.Checkpoint) -> None:
        for name, tensors in self.vectors().items():
            self.layout.load_(tensors, functools.partial(saved.rows, name))
        self.step, self.curve, self.sums = saved.step, saved["curve"], saved["sums"]
        self.scaling = LossScale(**saved["scaling"])
