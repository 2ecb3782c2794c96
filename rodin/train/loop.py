"""The one training loop.

Progress is counted in samples. Everything random is a pure function of (seed, position of the sample), so the loop
has no random state: killed at any moment and run again, it ends with the same bits as if it had never been killed; run
on another number of ranks, it differs only by the order in which floats are added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rodin.hooks import OtherRankFailed
from rodin.train import utilisation
from rodin.train.data.draws import Draws
from rodin.train.data.order import Order, share
from rodin.train.data.prefetch import Prefetcher
from rodin.train.dropout import SampleDropout, by_sample
from rodin.train.parallel.flat import Flat
from rodin.train.parallel.ranks import Ranks
from rodin.train.plan import Plan
from rodin.train.recompute import recompute
from rodin.train.state import checkpoint
from rodin.train.state.saver import Saver
from rodin.train.state.training_state import Row, State

if TYPE_CHECKING:
    from rodin.train.parallel.sharded import Sharded

Batch = dict[str, Any]
Load = Callable[[np.ndarray, Draws], Batch]
LossOf = Callable[[Batch, Draws], torch.Tensor]
AHEAD = 2  # batches that wait in memory while one is trained on
LOSS, STOP, UNSAVED, FAULTS = 0, 1, 2, 3  # places among the notes that travel with the gradients


@dataclass(frozen=True)
class Watcher:
    """What a training tells, and asks, on the way; the defaults do nothing.

    Args:
        progress: told (steps done, steps in all, "loss 0.123").
        should_stop: asked every step; where any rank says so, all save and stop at the end of that step.
        journal: on rank 0, given the whole loss curve whenever it has a new row, and at the start.
        picture: on rank 0, every `plan.picture_every` steps, given the step and the average as a state dict.
        mark: told the part of a step that has just ended: data, forward, backward, exchange, update, tell, save.
    """

    progress: Callable[[int, int, str], None] = lambda done, total, note: None
    should_stop: Callable[[], bool] = lambda: False
    journal: Callable[[list[Row]], None] = lambda curve: None
    picture: Callable[[int, dict[str, torch.Tensor]], None] | None = None
    mark: Callable[[str], None] = lambda part: None


@dataclass
class Trained:
    """What a training came to.

    Args:
        finished: whether all steps are done; if not, it was asked to stop and saved a checkpoint.
        average: the moving average as a state dict, on rank 0; elsewhere empty.
        curve: rows {"step", "samples", "loss", "grad_norm", "samples_per_second", "mfu", "skipped"}.
        samples: samples seen.
        network: the network's class by name, which sharding changes.
    """

    finished: bool
    average: dict[str, torch.Tensor]
    curve: list[Row]
    samples: int
    network: str


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
    blocks: Sequence[nn.Module] = (),
    watcher: Watcher = Watcher(),
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
        blocks: modules of the network that can be recomputed, and gathered where it is sharded, one at a time.
        watcher: what it tells and asks.

    Raises:
        ValueError: a loss that is not finite, before it reaches the weights; a checkpoint of another training, or one
            that could not be written; a batch that the ranks do not divide.
    """
    # Lay out: weights, gradients, AdamW's moments and the average are one vector each, or each rank's rows.
    order = Order(items, plan.seed)

    def batch_of(step: int) -> tuple[Draws, Batch]:
        draws = Draws(plan.seed, share(step * plan.batch, plan.batch, ranks.rank, ranks.world))
        return draws, _pinned(load(order[draws.positions], draws), ranks.device)

    losses = _Losses(loss_of, by_sample(network), plan, ranks.device)
    operations = _operations(losses, batch_of, ranks)
    identity = {"network": type(network).__name__, **settings, **plan.identity(), "items": items}
    layout = _laid_out(network, blocks, plan, ranks)
    state = State(layout, plan)
    state.resume(ranks, folder, identity)
    watcher.journal(state.curve)

    # Step: gradients of this rank's samples, added up over ranks; then one update, the same on every rank.
    saver = Saver(lambda step, content: checkpoint.save(folder, step, content, layout.part))
    with saver, Prefetcher(batch_of, state.step, plan.steps, AHEAD) as batches:
        ended = time.perf_counter()
        while state.step < plan.steps:
            draws, batch = batches()
            watcher.mark("data")
            layout.begin()
            part = _backward(losses, batch, draws, state, watcher.mark)
            loss, norm, stop = _agreed(state, part, watcher.should_stop(), saver)
            watcher.mark("exchange")
            _update(state, overflowed=not math.isfinite(norm))
            watcher.mark("update")

            # Tell: the loss curve, then whoever runs us.
            began, ended = ended, time.perf_counter()
            if state.note(loss, norm, ended - began, operations):
                watcher.journal(state.curve)
            watcher.progress(state.step, plan.steps, f"loss {loss:.4g}")
            if watcher.picture is not None and plan.picture_every and state.step % plan.picture_every == 0:
                _show(state, ranks, watcher.picture)
            watcher.mark("tell")

            # Save: at the end of a step, never in the middle of one; written while the next steps are taken.
            stop = stop and state.step < plan.steps
            if layout.keeps and (stop or (state.step % plan.checkpoint_every == 0 and state.step < plan.steps)):
                saver.save(state.step, lambda copied: state.content(identity, copied))
            watcher.mark("save")
            if stop:
                break
        ranks.gather_parts(saver.wait)
    average, samples = layout.state(state.average), state.step * plan.batch
    return Trained(state.step >= plan.steps, average, state.curve, samples, identity["network"])


@dataclass(frozen=True)
class _Losses:
    """The loss of each sample of some part of a rank's batch, float32."""

    loss_of: LossOf
    dropouts: list[SampleDropout]
    plan: Plan
    device: torch.device

    def __call__(self, batch: Batch, draws: Draws, part: tuple[int, int]) -> torch.Tensor:
        span, precision = slice(*part), self.plan.autocast
        here = Draws(self.plan.seed, draws.positions[span], self.device)
        for layer in self.dropouts:
            layer.draws = here
        moved = {
            name: value[span].to(self.device, non_blocking=True) if torch.is_tensor(value) else value[span]
            for name, value in batch.items()
        }
        with torch.autocast(self.device.type, precision, enabled=precision is not None):
            return self.loss_of(moved, here).float()


def _laid_out(network: nn.Module, blocks: Sequence[nn.Module], plan: Plan, ranks: Ranks) -> Flat | Sharded:
    if plan.recompute:
        recompute(blocks)
    if plan.compile:
        network.compile()
    notes = FAULTS + ranks.world
    if not plan.sharded or ranks.world == 1:
        return Flat(network, ranks, notes)
    from rodin.train.parallel.sharded import Sharded  # here, as FSDP takes half a second to import

    return Sharded(network, ranks, notes, blocks)


def _pinned(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cuda":
        return {name: value.pin_memory() if torch.is_tensor(value) else value for name, value in batch.items()}
    return batch


def _operations(losses: _Losses, batch_of: Callable[[int], tuple[Draws, Batch]], ranks: Ranks) -> float | None:
    """The share of all ranks' peak that one sample a second takes; None where the peak is not known."""
    device = ranks.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    peak = utilisation.peak(name, losses.plan.autocast)
    if peak is None:
        return None
    draws, batch = batch_of(0)
    return utilisation.operations(lambda: losses(batch, draws, (0, 1)), 1) / (peak * ranks.world)


def _backward(losses: _Losses, batch: Batch, draws: Draws, state: State, mark: Callable[[str], None]) -> torch.Tensor:
    """Add the gradients of this rank's samples; returns its part of the step's mean loss."""
    total, parts = torch.zeros((), device=losses.device), state.plan.parts(len(draws))
    for part in parts:
        loss = losses(batch, draws, part).sum() / state.plan.batch
        mark("forward")
        if part == parts[-1]:
            state.layout.last_part()
        (loss * (state.layout.share * state.scaling.scale)).backward()
        total += loss.detach()
        mark("backward")
    return total


def _agreed(state: State, part: torch.Tensor, stop_wished: bool, saver: Saver) -> tuple[float, float, bool]:
    """Add up and clip the gradient; the step's loss, gradient norm and wish to stop, as all ranks know them.

    A norm that is not finite is float16's overflow: that update is left out.
    """
    layout, plan, scaling = state.layout, state.plan, state.scaling
    layout.notes[LOSS], layout.notes[STOP], layout.notes[UNSAVED] = part, float(stop_wished), float(saver.failed())
    layout.notes[FAULTS + layout.ranks.rank] = (~part.isfinite()).float()
    norm = layout.reduce_() / scaling.scale
    layout.scale_((plan.clip_norm / (norm + 1e-6)).clamp(max=1.0) / scaling.scale)
    loss, stop, unsaved, *faults, size = torch.cat([layout.notes, norm[None]]).tolist()  # the one wait for the device
    if unsaved:
        saver.wait()
        raise OtherRankFailed("another rank could not write its part of the last checkpoint; its message says why")
    if any(faults):
        guilty = ", ".join(str(rank) for rank, fault in enumerate(faults) if fault)
        raise ValueError(
            f"the loss is not finite at step {state.step} on rank {guilty}; the weights were not touched: "
            "lower the step size or look at that step's data, then run again"
        )
    if not math.isfinite(size) and (plan.precision != "float16" or scaling.spent):
        raise ValueError(
            f"the gradient is not finite at step {state.step} though the loss {loss:.4g} is (all ranks); the weights "
            "were not touched: lower the step size, then run again"
        )
    return loss, size, stop > 0


def _update(state: State, overflowed: bool) -> None:
    if not overflowed:
        state.update()
    if state.plan.precision == "float16":
        state.scaling = state.scaling.after(overflowed)
    state.step += 1


def _show(state: State, ranks: Ranks, picture: Callable[[int, dict[str, torch.Tensor]], None]) -> None:
    average = state.layout.state(state.average)
    ranks.on_main(lambda: picture(state.step, average))
