"""All that a training is between two steps: what a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from rodin.train.parallel.flat import Flat
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.scaling import Scaling
from rodin.train.plan import Plan, difference
from rodin.train.state import checkpoint, ema
from rodin.train.state.saver import Copied

if TYPE_CHECKING:
    from rodin.train.parallel.sharded import Sharded

Row = dict[str, float | None]


class State:
    """Weights, their average, AdamW's moments, the loss scale and the loss curve.

    Args:
        layout: where the weights and gradients lie.
        plan: the numbers.

    Attributes:
        step: updates tried, skipped ones included; so batches seen.
        curve: finished rows of the loss curve.
        sums: steps, loss, updates, gradient norm and seconds since the last row.
    """

    def __init__(self, layout: Flat | Sharded, plan: Plan) -> None:
        self.layout, self.plan = layout, plan
        self.step, self.scaling = 0, Scaling.of(plan.precision)
        self.curve: list[Row] = []
        self.sums = [0.0] * 5
        self.weights = [weight.data for weight in layout.weights]
        self.average = [weight.clone() for weight in self.weights] if layout.keeps else []
        self.optimiser = torch.optim.AdamW(layout.weights, plan.lr, weight_decay=plan.weight_decay, fused=True)
        for weight in layout.weights:
            self.optimiser.state[weight] = {
                "step": torch.zeros((), device=weight.device),
                "exp_avg": torch.zeros_like(weight.data),
                "exp_avg_sq": torch.zeros_like(weight.data),
            }

    def update(self) -> None:
        """One step of AdamW, then of the average."""
        self.optimiser.param_groups[0]["lr"] = self.plan.lr_at(self.step)
        self.optimiser.step()
        if self.average:
            ema.update_(self.average, self.weights, ema.rate_at(self.step, self.plan.ema))

    def note(self, loss: float, norm: float, seconds: float, operations: float | None) -> bool:
        """Count a step towards the loss curve; whether that finished a row.

        Args:
            loss, norm, seconds: of the step; a norm that is not finite was no update.
            operations: share of the device's peak that one sample a second takes; None: not known.
        """
        more = (1.0, loss, 1.0, norm, seconds) if math.isfinite(norm) else (1.0, loss, 0.0, 0.0, seconds)
        self.sums = [a + b for a, b in zip(self.sums, more, strict=True)]
        if self.step % self.plan.curve_every and self.step != self.plan.steps:
            return False
        count, losses, updates, norms, spent = self.sums
        speed = count * self.plan.batch / max(spent, 1e-9)
        row: Row = {"step": self.step, "samples": self.step * self.plan.batch, "loss": losses / count}
        row |= {"grad_norm": norms / updates if updates else None, "samples_per_second": round(speed, 2)}
        row |= {"mfu": None if operations is None else round(speed * operations, 4), "skipped": self.scaling.skipped}
        self.curve.append(row)
        self.sums = [0.0] * 5
        return True

    def vectors(self) -> dict[str, Sequence[torch.Tensor]]:
        """The tensors a checkpoint holds, each laid out like the weights."""
        moments = [self.optimiser.state[weight] for weight in self.layout.weights]
        return {
            "model": self.weights,
            "average": self.average,
            "exp_avg": [one["exp_avg"] for one in moments],
            "exp_avg_sq": [one["exp_avg_sq"] for one in moments],
        }

    def content(self, identity: Mapping[str, Any], copied: Copied) -> dict[str, Any]:
        """The checkpoint of this rank: copies, so that training may go on while they are written.

        Args:
            identity: what a run that goes on from it must have alike.
            copied: (name, tensors) -> their copies on the CPU.
        """
        named = {name: self.layout.named(copied(name, tensors)) for name, tensors in self.vectors().items()}
        scaling = {"scale": self.scaling.scale, "clean": self.scaling.clean, "skipped": self.scaling.skipped}
        plain = {"curve": list(self.curve), "sums": list(self.sums), "scaling": scaling}
        return {**named, **plain, "identity": dict(identity)}

    def resume(self, ranks: Ranks, folder: Path, identity: Mapping[str, Any]) -> None:
        """Take over the last checkpoint, if there is one.

        Raises:
            ValueError: it is of another training; names the first thing that differs.
        """

        def find() -> checkpoint.Saved | None:
            saved = checkpoint.latest(folder)
            if saved is not None and (other := difference(saved["identity"], identity)):
                raise ValueError(
                    f"{folder}: its checkpoint is of another training ({other}); set it back, or remove the folder to "
                    "train from the start"
                )
            return saved

        saved = ranks.on_main(find)
        step = torch.tensor([-1 if saved is None else saved.step], device=ranks.device)
        ranks.broadcast_([step])
        if int(step) >= 0 and self.layout.keeps:
            self._load(saved or cast(checkpoint.Saved, checkpoint.latest(folder, int(step))))
        moments = [tensor for name in ("exp_avg", "exp_avg_sq") for tensor in self.vectors()[name]]
        counts = torch.tensor([self.step, self.scaling.clean, self.scaling.skipped], device=ranks.device)
        scale = torch.tensor([self.scaling.scale], dtype=torch.float64, device=ranks.device)
        self.layout.spread_([counts, scale, *self.weights, *moments])
        self.step, clean, skipped = counts.tolist()
        self.scaling = Scaling(scale.item(), clean, skipped)
        for weight in self.layout.weights:
            self.optimiser.state[weight]["step"].fill_(self.step - skipped)

    def _load(self, saved: checkpoint.Saved) -> None:
        for name, tensors in self.vectors().items():
            self.layout.load_(tensors, saved[name])
        self.step, self.curve, self.sums = saved.step, saved["curve"], saved["sums"]
        self.scaling = Scaling(**saved["scaling"])
