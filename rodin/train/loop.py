"""The training loop of all networks.

Progress is counted in samples. Everything random is a pure function of (seed, position of the sample), so the loop
has no random state: killed at any moment and run again, it ends with the same bits as an unbroken training. On another
number of ranks, and on GPUs, the result differs only by the order in which floats are added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from rodin.hooks import OtherRankFailed, Progress, no_progress
from rodin.train import utilisation
from rodin.train.data.draws import Draws
from rodin.train.data.order import Order, rank_positions
from rodin.train.data.prefetch import Prefetcher
from rodin.train.dropout import SampleDropout, by_sample
from rodin.train.parallel.flat import FlatParameters
from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.waiting import exchanging, waiting
from rodin.train.plan import Plan
from rodin.train.recompute import recompute
from rodin.train.state import checkpoint
from rodin.train.state.saver import Saver
from rodin.train.state.training_state import CurveRow, TrainingState

if TYPE_CHECKING:
    from rodin.train.parallel.sharded import ShardedParameters

Batch = dict[str, Any]
Load = Callable[[np.ndarray, Draws], Batch]
LossOf = Callable[[Batch, Draws], torch.Tensor]
PREFETCHED = 2  # batches that wait in memory during a step: one hides the reading, two also its jitter
LOSS, STOP, UNSAVED, FAULTS = 0, 1, 2, 3  # indices of the scalars that are summed over the ranks with the gradients
EPSILON = 1e-6  # added to the gradient's norm against a division by 0, as in torch's clip_grad_norm_


@dataclass(frozen=True)
class Callbacks:
    """Functions that a training calls; the defaults do nothing.

    Args:
        progress: (steps done, steps in all, "loss 0.123"), after every step.
        should_stop: called every step; if it is true on any rank, all ranks save and stop at the end of that step.
        journal: (the whole loss curve), at the start and whenever it has a new row; useful on rank 0.
        picture: (step, average as a state dict), on rank 0, every `plan.picture_every` steps.
        part_done: (part of a step that has just ended): data, forward, backward, exchange, update, report, save.
    """

    progress: Progress = no_progress
    should_stop: Callable[[], bool] = lambda: False
    journal: Callable[[list[CurveRow]], None] = lambda curve: None
    picture: Callable[[int, dict[str, torch.Tensor]], None] | None = None
    part_done: Callable[[str], None] = lambda part: None


@dataclass
class Trained:
    """Result of a training.

    Args:
        finished: whether all steps are done; if not, a stop was requested and a checkpoint is saved.
        average: the moving average as a state dict on the CPU; empty on ranks other than 0.
        curve: rows {"step", "samples", "loss", "grad_norm", "samples_per_second", "mfu", "skipped"}.
        samples: samples trained on.
        network: name of the network's class; sharding changes that of the object.
    """

    finished: bool
    average: dict[str, torch.Tensor]
    curve: list[CurveRow]
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
    callbacks: Callbacks = Callbacks(),
) -> Trained:
    """Train a network, from its last checkpoint if there is one.

    Args:
        network: on `ranks.device`, in training mode; its parameters become views of a vector, or distributed tensors.
        loss_of: (batch, draws) -> loss of each sample [n]; calls the network.
        load: (items [n], draws) -> batch: CPU tensors or lists with n entries. Called in one thread, some steps ahead,
            in order.
        items: number of training items.
        plan: the training's settings.
        ranks: this rank, with an open group.
        folder: the training's checkpoints.
        settings: arguments of the network; a checkpoint with other settings is an error.
        blocks: modules of the network that can be recomputed, and gathered where it is sharded, one at a time.
        callbacks: progress, stop request and loss curve.

    Raises:
        ValueError: a loss or gradient is not finite (the weights are then unchanged); the checkpoint is of another
            training; a checkpoint could not be written; the batch is no multiple of the number of ranks.
    """
    # Layout: weights, gradients, AdamW's moments and the average are one vector each, or one rank's rows.
    order = Order(items, plan.seed)

    def batch_of(step: int) -> tuple[Draws, Batch]:
        draws = Draws(plan.seed, rank_positions(step * plan.batch, plan.batch, ranks.rank, ranks.world))
        return draws, _pinned(load(order[draws.positions], draws), ranks.device)

    losses = _Losses(loss_of, by_sample(network), plan, ranks.device)
    utilised = _utilisation(losses, batch_of, ranks)
    identity = {"network": type(network).__name__, **settings, **plan.identity(), "items": items}
    layout = _laid_out(network, blocks, plan, ranks)
    state = TrainingState(layout, plan)
    state.resume(ranks, folder, identity)
    callbacks.journal(state.curve)

    # Step: gradients of this rank's samples, summed over the ranks; then one update, the same on every rank.
    saver = Saver(lambda step, content: checkpoint.save(folder, step, content, layout.part))
    with saver, Prefetcher(batch_of, state.step, plan.steps, PREFETCHED) as batches:
        ended = time.perf_counter()
        while state.step < plan.steps:
            draws, batch = batches()
            callbacks.part_done("data")
            layout.zero_()
            with exchanging() if ranks.world > 1 else nullcontext():  # sharded weights are gathered for each block
                part = _backward(losses, batch, draws, state, callbacks.part_done)
            loss, norm, stop = _exchanged(state, part, callbacks.should_stop(), saver)
            callbacks.part_done("exchange")
            _update(state, overflowed=not math.isfinite(norm))
            callbacks.part_done("update")

            # Report: the loss curve, then progress.
            began, ended = ended, time.perf_counter()
            if state.record(loss, norm, ended - began, utilised):
                callbacks.journal(state.curve)
            callbacks.progress(state.step, plan.steps, f"loss {loss:.4g}")
            if callbacks.picture is not None and plan.picture_every and state.step % plan.picture_every == 0:
                _show(state, ranks, callbacks.picture)
            callbacks.part_done("report")

            # Save: at the end of a step, never in the middle of one; the file is written during the next steps.
            # The last step is saved too: a training with more steps goes on from there.
            stop = stop and state.step < plan.steps
            if layout.saves and (stop or state.step % plan.checkpoint_every == 0 or state.step == plan.steps):
                saver.save(state.step, lambda copy: state.content(identity, copy))
            callbacks.part_done("save")
            if stop:
                break
        ranks.on_all(saver.wait)
    average, samples = layout.state_dict(state.average), state.step * plan.batch
    return Trained(state.step >= plan.steps, average, state.curve, samples, identity["network"])


@dataclass(frozen=True)
class _Losses:
    """The loss of each sample in a part of one rank's batch, float32."""

    loss_of: LossOf
    dropouts: list[SampleDropout]
    plan: Plan
    device: torch.device

    def __call__(self, batch: Batch, draws: Draws, part: tuple[int, int]) -> torch.Tensor:
        span, precision = slice(*part), self.plan.autocast
        own = Draws(self.plan.seed, draws.positions[span], self.device)
        for layer in self.dropouts:
            layer.draws = own
        moved = {
            name: value[span].to(self.device, non_blocking=True) if torch.is_tensor(value) else value[span]
            for name, value in batch.items()
        }
        with torch.autocast(self.device.type, precision, enabled=precision is not None):
            return self.loss_of(moved, own).float()


def _laid_out(
    network: nn.Module, blocks: Sequence[nn.Module], plan: Plan, ranks: Ranks
) -> FlatParameters | ShardedParameters:
    if plan.recompute:
        recompute(blocks, compiled=plan.compile)
    if plan.compile:
        network.compile()
    scalars = FAULTS + ranks.world
    if not plan.sharded or ranks.world == 1:
        return FlatParameters(network, ranks, scalars)
    from rodin.train.parallel.sharded import ShardedParameters  # here, as FSDP takes half a second to import

    return ShardedParameters(network, ranks, scalars, blocks)


def _pinned(batch: Batch, device: torch.device) -> Batch:
    if device.type == "cuda":
        return {name: value.pin_memory() if torch.is_tensor(value) else value for name, value in batch.items()}
    return batch


def _utilisation(losses: _Losses, batch_of: Callable[[int], tuple[Draws, Batch]], ranks: Ranks) -> float | None:
    """The share of all ranks' peak that one sample a second uses; None where the peak is not known."""
    device = ranks.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    peak = utilisation.peak(name, losses.plan.autocast)
    if peak is None:
        return None
    draws, batch = batch_of(0)
    return utilisation.operations(lambda: losses(batch, draws, (0, 1)), 1) / (peak * ranks.world)


def _backward(
    losses: _Losses, batch: Batch, draws: Draws, state: TrainingState, part_done: Callable[[str], None]
) -> torch.Tensor:
    """Compute the gradients of this rank's samples; returns its part of the step's mean loss."""
    total, parts = torch.zeros((), device=losses.device), state.plan.parts(len(draws))
    for part in parts:
        loss = losses(batch, draws, part).sum() / state.plan.batch
        part_done("forward")
        if part == parts[-1]:
            state.layout.start_exchange()
        (loss * (state.layout.loss_factor * state.scaling.scale)).backward()
        total += loss.detach()
        part_done("backward")
    return total


def _exchanged(state: TrainingState, part: torch.Tensor, should_stop: bool, saver: Saver) -> tuple[float, float, bool]:
    """Sum and clip the gradient; returns the step's loss, gradient norm and stop request, the same on all ranks.

    A norm that is not finite is an overflow of float16: that update is skipped.
    """
    layout, plan, scaling = state.layout, state.plan, state.scaling
    scalars = layout.scalars
    scalars[LOSS], scalars[STOP], scalars[UNSAVED] = part, float(should_stop), float(saver.failed())
    scalars[FAULTS + layout.ranks.rank] = (~part.isfinite()).float()
    norm = layout.reduce_() / scaling.scale
    layout.scale_((plan.clip_norm / (norm + EPSILON)).clamp(max=1.0) / scaling.scale)
    with waiting():
        loss, stop, unsaved, *faults, size = torch.cat([scalars, norm[None]]).tolist()  # the loop's only wait
    if unsaved:
        saver.wait()
        raise OtherRankFailed("another rank could not write its part of the last checkpoint; its message says why")
    if any(faults):
        faulty = ", ".join(str(rank) for rank, fault in enumerate(faults) if fault)
        raise ValueError(
            f"the loss is not finite at step {state.step} on rank {faulty}; the weights were not touched: "
            "lower the step size or look at that step's data, then run again"
        )
    if not math.isfinite(size) and (plan.precision != "float16" or scaling.spent):
        raise ValueError(
            f"the gradient is not finite at step {state.step} though the loss {loss:.4g} is (all ranks); the weights "
            "were not touched: lower the step size, then run again"
        )
    return loss, size, stop > 0


def _update(state: TrainingState, overflowed: bool) -> None:
    if not overflowed:
        state.update()
    if state.plan.precision == "float16":
        state.scaling = state.scaling.after(overflowed)
    state.step += 1


def _show(state: TrainingState, ranks: Ranks, picture: Callable[[int, dict[str, torch.Tensor]], None]) -> None:
    average = state.layout.state_dict(state.average)
    ranks.on_main(lambda: picture(state.step, average))
