"""Weights, gradients, moments and average split over the ranks by torch's FSDP2, for networks too large to hold whole.

Every rank holds some rows of each parameter's first axis; a block's parameters are gathered just before they are used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from rodin.train.parallel.ranks import Ranks


class Sharded:
    """The same doors as `rodin.train.parallel.flat.Flat`, for a rank's rows.

    Args:
        network: on its device, float32, the same on all ranks; its parameters become distributed tensors.
        ranks: more than one, their group open.
        notes: floats that are added up beside the gradients.
        blocks: modules of the network whose parameters are gathered together, one block at a time.

    Attributes:
        weights: this rank's rows of every parameter, what its optimiser sees.
        share: FSDP2 averages gradients over ranks, so the loss counts `share` = world times.
    """

    keeps = True  # every rank has a part of the average, and writes it

    def __init__(self, network: nn.Module, ranks: Ranks, notes: int, blocks: Sequence[nn.Module]) -> None:
        self.network, self.ranks = network, ranks
        self.part, self.share = (ranks.rank, ranks.world), float(ranks.world)
        self.notes = torch.zeros(notes, device=ranks.device)
        mesh = init_device_mesh(ranks.device.type, (ranks.world,))
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()  # FSDP2 takes no other memory format
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)
        self._parameters = dict(network.named_parameters())
        self.weights = [nn.Parameter(_local(parameter.data)) for parameter in self._parameters.values()]

    @property
    def _root(self) -> FSDPModule:
        return cast(FSDPModule, self.network)

    def begin(self) -> None:
        """Gradients and notes are zero again; nothing is exchanged before the last part."""
        self.notes.zero_()
        for parameter, rows in zip(self._parameters.values(), self.weights, strict=True):
            parameter.grad = rows.grad = None
        self._root.set_requires_gradient_sync(False)

    def last_part(self) -> None:
        """The next backward pass is this step's last."""
        self._root.set_requires_gradient_sync(True)

    def reduce_(self) -> torch.Tensor:
        """Add the notes up over the ranks, as the gradients are already; returns the gradient's norm, alike on all."""
        for parameter, rows in zip(self._parameters.values(), self.weights, strict=True):
            rows.grad = torch.zeros_like(rows) if parameter.grad is None else _local(parameter.grad)
        norms = torch.stack(torch._foreach_norm(self._gradients))
        together = torch.cat([self.notes, norms.square().sum()[None]])
        dist.all_reduce(together)
        self.notes.copy_(together[:-1])
        return together[-1].sqrt()

    def scale_(self, factor: torch.Tensor) -> None:
        """Multiply the gradient."""
        torch._foreach_mul_(self._gradients, factor)

    def named(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """This rank's rows by the parameters' names."""
        return dict(zip(self._parameters, vectors, strict=True))

    def state(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's whole state dict on the CPU, out of all ranks' rows; empty but on rank 0.

        All ranks must call it, with tensors like `weights`.
        """
        state = {name: value for name, value in self.network.state_dict().items() if name not in self._parameters}
        for (name, parameter), rows in zip(self._parameters.items(), vectors, strict=True):
            like = cast(DTensor, parameter)
            placed = DTensor.from_local(
                rows.detach(), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
            )
            state[name] = placed.full_tensor()
        return {name: value.cpu() for name, value in state.items()} if self.ranks.main else {}

    @torch.no_grad()
    def load_(self, vectors: Sequence[torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
        """Copy this rank's rows of whole values by name into tensors like `weights`."""
        for (name, parameter), rows in zip(self._parameters.items(), vectors, strict=True):
            each = -(-parameter.shape[0] // self.ranks.world)
            rows.copy_(values[name][each * self.ranks.rank :][: len(rows)])

    def spread_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Nothing: every rank has loaded its own rows."""

    @property
    def _gradients(self) -> list[torch.Tensor]:
        return [cast(torch.Tensor, rows.grad) for rows in self.weights]


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return cast(DTensor, tensor).to_local()
