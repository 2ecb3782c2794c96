"""The one training loop.

Progress is counted in samples. Everything random is a pure function of (seed, position of the sample), so the loop
has no random state: killed at any moment and run again, it ends with the same bits as if it had never been killed; run
on another number of ranks, it differs only by the order in which floats are added.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rodin.train import checkpoint, ema
from rodin.train.ahead import Ahead
from rodin.train.draws import Draws, seed_for
from rodin.train.flat import Flat
from rodin.train.order import Order, share
from rodin.train.plan import Plan, difference
from rodin.train.ranks import Ranks

Batch = dict[str, Any]
Load = Callable[[np.ndarray, Draws], Batch]
LossOf = Callable[[Batch, Draws], torch.Tensor]
AHEAD = 2  # batches that wait in memory while one is trained on
LOSS, STOP, FAULTS = 0, 1, 2  # places among the notes that travel with the gradients


@dataclass
class Trained:
    """What a training came to.

    Args:
        finished: whether all steps are done; if not, it was asked to stop and saved a checkpoint.
        average: the moving average as a state dict, on rank 0; elsewhere empty.
        curve: rows {"step", "samples", "loss", "grad_norm", "samples_per_second"}.
        samples: samples seen.
    """

    finished: bool
    average: dict[str, torch.Tensor]
    curve: list[dict[str, float]]
    samples: int


def train(
    network: nn.Module,
    loss_of: LossOf,
    load: Load,
    items: int,
    plan: Plan,
    *,
    ranks: Ranks,
    folder: Path,
    settings: Mapping[str, Any],
    progress: Callable[[int, int, str], None] = lambda done, total, note: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network, or go on from its last checkpoint.

    Args:
        network: on `ranks.device`, in training mode; its parameters are laid out anew.
        loss_of: (batch, draws) -> loss of each sample [n]; calls the network.
        load: (items [n], draws) -> batch: CPU tensors or lists with n entries. Called in one
            thread, a few steps ahead, in order.
        items: how many items there are to train on.
        plan: the numbers.
        ranks: this process among the others, its group open.
        folder: where the checkpoints lie.
        settings: what the network was made with; a checkpoint with other settings is refused.
        progress: told (steps done, steps in all, "loss 0.123").
        should_stop: asked every step; where any rank says so, all save and stop at the end of that step.

    Raises:
        ValueError: a loss that is not finite, before it reaches the weights; a checkpoint of another training, or one
            that could not be written.
    """
    # Lay out: weights, gradients, AdamW's moments and the average are one vector each.
    flat = Flat(network, notes=FAULTS + ranks.world)
    state = _State(flat, torch.optim.AdamW([flat.weights], plan.lr, weight_decay=plan.weight_decay, fused=True))
    identity = {**settings, **plan.identity(), "items": items}
    _resume(state, ranks, folder, identity)
    order = Order(items, plan.seed)

    # Step: gradients of this rank's samples, added up over ranks; then one update, the same on every rank.
    def batch_of(step: int) -> tuple[Draws, Batch]:
        draws = Draws(plan.seed, share(step * plan.batch, plan.batch, ranks.rank, ranks.world))
        return draws, _loaded(load, order, draws, ranks.device)

    with Ahead(batch_of, state.step, plan.steps, AHEAD) as batches:
        while state.step < plan.steps:
            began = time.perf_counter()
            draws, batch = batches()
            flat.gradients.zero_()
            flat.notes[LOSS] = _backward(loss_of, batch, draws, plan, ranks.device)
            flat.notes[STOP] = float(should_stop())
            flat.notes[FAULTS + ranks.rank] = (~flat.notes[LOSS].isfinite()).float()
            ranks.sum_([flat.gradients])
            loss, norm, stop = _agreed(flat, plan, state.step)
            _update(state, plan, ranks.main)

            # Tell: the loss curve, then whoever runs us.
            state.note(loss, norm, time.perf_counter() - began, plan)
            progress(state.step, plan.steps, f"loss {loss:.4g}")

            # Save: at the end of a step, never in the middle of one.
            stop = stop and state.step < plan.steps
            if stop or (state.step % plan.checkpoint_every == 0 and state.step < plan.steps):
                ranks.on_main(lambda: checkpoint.save(folder, state.step, state.content(identity)))
            if stop:
                break
    average = flat.state(state.average) if ranks.main else {}
    return Trained(state.step >= plan.steps, average, state.curve, state.step * plan.batch)


@dataclass
class _State:
    """All that a checkpoint holds."""

    flat: Flat
    optimiser: torch.optim.Optimizer
    step: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])  # steps, loss, norm, seconds

    def __post_init__(self) -> None:
        weights = self.flat.weights
        self.average = weights.detach().clone()
        self.optimiser.state[weights] = {
            "step": torch.zeros((), device=weights.device),
            "exp_avg": torch.zeros_like(weights.data),
            "exp_avg_sq": torch.zeros_like(weights.data),
        }

    @property
    def moments(self) -> dict[str, torch.Tensor]:
        state = self.optimiser.state[self.flat.weights]
        return {"exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}

    def note(self, loss: float, norm: float, seconds: float, plan: Plan) -> None:
        """Count a step towards the loss curve."""
        self.sums = [a + b for a, b in zip(self.sums, (1.0, loss, norm, seconds), strict=True)]
        if self.step % plan.curve_every == 0 or self.step == plan.steps:
            count, losses, norms, spent = self.sums
            row = {"step": self.step, "samples": self.step * plan.batch, "loss": losses / count}
            row |= {"grad_norm": norms / count, "samples_per_second": round(count * plan.batch / max(spent, 1e-9), 2)}
            self.curve.append(row)
            self.sums = [0.0] * 4

    def content(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """The checkpoint."""
        vectors = {"model": self.flat.weights.detach(), "average": self.average, **self.moments}
        named = {name: self.flat.named(vector.cpu()) for name, vector in vectors.items()}
        return {**named, "curve": self.curve, "sums": self.sums, "identity": dict(identity)}

    def load_(self, content: Mapping[str, Any]) -> None:
        """Take over a checkpoint."""
        for name, vector in {"model": self.flat.weights, "average": self.average, **self.moments}.items():
            self.flat.load_(vector, content[name])
        self.step, self.curve, self.sums = content["step"], content["curve"], content["sums"]


def _resume(state: _State, ranks: Ranks, folder: Path, identity: Mapping[str, Any]) -> None:
    def load() -> None:
        content = checkpoint.latest(folder)
        if content is None:
            return
        if other := difference(content["identity"], identity):
            raise ValueError(
                f"{folder}: its checkpoint is of another training ({other}); set it back, or remove the folder to "
                "train from the start"
            )
        state.load_(content)

    ranks.on_main(load)
    step = torch.tensor([state.step], device=ranks.device)
    ranks.broadcast_([step, state.flat.weights.data, *state.moments.values()])
    state.step = int(step.item())
    state.optimiser.state[state.flat.weights]["step"].fill_(state.step)


def _loaded(load: Load, order: Order, draws: Draws, device: torch.device) -> Batch:
    batch = load(order[draws.positions], draws) if len(draws) else {}
    if device.type == "cuda":
        return {name: value.pin_memory() if torch.is_tensor(value) else value for name, value in batch.items()}
    return batch


def _backward(loss_of: LossOf, batch: Batch, draws: Draws, plan: Plan, device: torch.device) -> torch.Tensor:
    """Add the gradients of this rank's samples; returns its part of the step's mean loss."""
    total = torch.zeros((), device=device)
    for first, end in _parts(len(draws), plan.accumulate):
        positions = draws.positions[first:end]
        torch.manual_seed(seed_for(plan.seed, "dropout", positions[0]))
        part = {
            name: value[first:end].to(device, non_blocking=True) if torch.is_tensor(value) else value[first:end]
            for name, value in batch.items()
        }
        with torch.autocast(device.type, plan.autocast, enabled=plan.autocast is not None and device.type == "cuda"):
            losses = loss_of(part, Draws(plan.seed, positions, device))
        loss = losses.float().sum() / plan.batch
        loss.backward()
        total += loss.detach()
    return total


def _parts(count: int, parts: int) -> list[tuple[int, int]]:
    edges = [count * part // parts for part in range(parts + 1)]
    return [(first, end) for first, end in itertools.pairwise(edges) if end > first]


def _agreed(flat: Flat, plan: Plan, step: int) -> tuple[float, float, bool]:
    """Clip the gradient; the step's loss, gradient norm and wish to stop, as all ranks know them."""
    norm = torch.linalg.vector_norm(flat.gradient)
    flat.gradient.mul_((plan.clip_norm / (norm + 1e-6)).clamp(max=1.0))
    loss, stop, *faults, size = torch.cat([flat.notes, norm[None]]).tolist()  # the step's one wait for the device
    if any(faults):
        guilty = ", ".join(str(rank) for rank, fault in enumerate(faults) if fault)
        raise ValueError(
            f"the loss is not finite at step {step} on rank {guilty}; the weights were not touched: "
            "lower the step size or look at that step's data, then run again"
        )
    if not np.isfinite(size):
        raise ValueError(
            f"the gradient is not finite at step {step} though the loss {loss:.4g} is (all ranks); the weights were "
            "not touched: lower the step size, then run again"
        )
    return loss, size, stop > 0


def _update(state: _State, plan: Plan, averages: bool) -> None:
    state.optimiser.param_groups[0]["lr"] = plan.lr_at(state.step)
    state.optimiser.step()
    if averages:
        ema.update_([state.average], [state.flat.weights.data], ema.rate_at(state.step, plan.ema))
    state.step += 1
