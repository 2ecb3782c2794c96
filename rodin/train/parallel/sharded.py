"""Weights, gradients, moments and average split over the ranks by torch's FSDP2, for networks too large for one GPU.

Every rank has some rows of each parameter's first axis; a block's parameters are gathered just before they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.waiting import waiting


class ShardedParameters:
    """The interface of `rodin.train.parallel.flat.FlatParameters`, for one rank's rows.

    Args:
        network: on its device, float32, the same on all ranks; its parameters become distributed tensors.
        ranks: more than one, with an open group.
        scalars: number of floats that are summed over the ranks.
        blocks: modules of the network whose parameters are gathered together, one block at a time.

    Attributes:
        weights: this rank's rows of every parameter, for its optimiser.
        scalars: the floats.
        saves: every rank has its rows of the average, and writes them.
        part: (rank, world).
        loss_factor: world, as FSDP2 averages gradients over the ranks.
    """

    saves = True

    def __init__(self, network: nn.Module, ranks: Ranks, scalars: int, blocks: Sequence[nn.Module]) -> None:
        self.network, self.ranks = network, ranks
        self.part, self.loss_factor = (ranks.rank, ranks.world), float(ranks.world)
        self.scalars = torch.zeros(scalars, device=ranks.device)
        mesh = init_device_mesh(ranks.device.type, (ranks.world,))
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()  # FSDP2 accepts no other memory format
        for block in blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(network, mesh=mesh)
        self._parameters = dict(network.named_parameters())
        self.weights = [nn.Parameter(_local(parameter.data)) for parameter in self._parameters.values()]

    @property
    def _root(self) -> FSDPModule:
        return cast(FSDPModule, self.network)

    def zero_(self) -> None:
        """Clear gradients and scalars; nothing is exchanged before `start_exchange`."""
        self.scalars.zero_()
        for parameter, rows in zip(self._parameters.values(), self.weights, strict=True):
            parameter.grad = rows.grad = None
        self._root.set_requires_gradient_sync(False)

    def start_exchange(self) -> None:
        """Exchange gradients during the next backward pass, the last one of the step."""
        self._root.set_requires_gradient_sync(True)

    def reduce_(self) -> torch.Tensor:
        """Sum the scalars over the ranks, as FSDP2 does the gradients; returns the gradient's norm, the same on all."""
        for parameter, rows in zip(self._parameters.values(), self.weights, strict=True):
            rows.grad = torch.zeros_like(rows) if parameter.grad is None else _local(parameter.grad)
        norms = torch.stack(torch._foreach_norm(self._gradients))
        summed = torch.cat([self.scalars, norms.square().sum()[None]])
        with waiting():
            dist.all_reduce(summed)
        self.scalars.copy_(summed[:-1])
        return summed[-1].sqrt()

    def scale_(self, factor: torch.Tensor) -> None:
        """Multiply the gradient by a factor."""
        torch._foreach_mul_(self._gradients, factor)

    def named(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """This rank's rows by the parameters' names."""
        return dict(zip(self._parameters, vectors, strict=True))

    def state_dict(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's whole state dict on the CPU, from the rows of all ranks; empty except on rank 0.

        All ranks must call it, with tensors like `weights`. They hold one whole parameter at a time.
        """
        state: dict[str, torch.Tensor] = {}
        if self.ranks.main:
            rest = self.network.state_dict().items()
            state |= {name: value.cpu() for name, value in rest if name not in self._parameters}
        for (name, parameter), rows in zip(self._parameters.items(), vectors, strict=True):
            like = cast(DTensor, parameter)
            whole = DTensor.from_local(
                rows.detach(), like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
            )
            gathered = whole.full_tensor()  # by all ranks
            if self.ranks.main:
                state[name] = gathered.cpu()
            del gathered  # before the next one is gathered
        return state

    @torch.no_grad()
    def load_(self, vectors: Sequence[torch.Tensor], rows: Callable[..., torch.Tensor]) -> None:
        """Copy this rank's rows into tensors like `weights`.

        Args:
            vectors: the tensors.
            rows: (name, first, count) -> some rows of a parameter's value.
        """
        for (name, parameter), vector in zip(self._parameters.items(), vectors, strict=True):
            each = -(-parameter.shape[0] // self.ranks.world)  # FSDP2's chunks: the last ones may be smaller
            vector.copy_(rows(name, each * self.ranks.rank, len(vector)))

    def broadcast_loaded_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Does nothing: every rank has loaded its own rows."""

    @property
    def _gradients(self) -> list[torch.Tensor]:
        return [cast(torch.Tensor, rows.grad) for rows in self.weights]


def _local(tensor: torch.Tensor) -> torch.Tensor:
    return cast(DTensor, tensor).to_local()
