"""All parameters of a network end to end in one vector, and all its gradients in another: every rank holds them whole.

The gradient's norm, clipping, AdamW and the moving average are then one call each, however many small tensors the
network has: for the demo's networks those calls otherwise cost as much as the arithmetic. Ranks add their gradients up
bucket by bucket while the backward pass goes on, as torch's DDP does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import nn

from rodin.train.parallel.ranks import Ranks

ALIGNMENT = 64  # floats: 256 bytes, what GPU libraries want of an address
ALONE = Ranks()
BUCKET = 25 * 2**18  # floats that are added up together, at least: DDP's 25 MB


class Flat:
    """Lays out a network's trainable parameters; from then on they are views of `weights`, their grads of a vector.

    Args:
        network: on its device, float32; its parameters' memory formats are kept.
        ranks: who adds up gradients.
        notes: floats before the gradients, which travel with them when ranks add up.

    Attributes:
        weights: the vector as the one parameter an optimiser sees; its `.grad` is the gradients.
        gradient: the gradients; notes: the floats before them.
        keeps: whether this rank keeps the moving average and writes checkpoints.
        share: what of the gradient the ranks' sum is; here all of it.
    """

    part = (0, 1)  # a checkpoint is one part, rank 0's
    share = 1.0

    def __init__(self, network: nn.Module, ranks: Ranks = ALONE, notes: int = 0) -> None:
        self.network, self.ranks, self.keeps = network, ranks, ranks.main
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        offsets, total = [], 0
        for parameter in parameters:
            offsets.append(total)
            total += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device, start = parameters[0].device, -(-notes // ALIGNMENT) * ALIGNMENT
        vector = nn.Parameter(torch.zeros(total, device=device))
        self._all = torch.zeros(start + total, device=device)
        self.notes, self.gradient = self._all[:notes], self._all[start:]
        vector.grad = self.gradient
        self.weights = [vector]
        self._slots: dict[int, tuple[int, torch.Size, tuple[int, ...]]] = {}
        for parameter, offset in zip(parameters, offsets, strict=True):
            stride = parameter.stride() if _dense(parameter) else parameter.contiguous().stride()
            self._slots[id(parameter)] = (offset, parameter.shape, stride)
            view = vector.data.as_strided(parameter.shape, stride, offset)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = self._all.as_strided(parameter.shape, stride, start + offset)
        self._buckets = _Buckets(self._all, parameters, [start + offset for offset in offsets], ranks)

    def begin(self) -> None:
        """Gradients and notes are zero again."""
        self._all.zero_()

    def last_part(self) -> None:
        """The next backward pass is this step's last: what it completes may be added up at once."""
        self._buckets.open = True

    def reduce_(self) -> torch.Tensor:
        """Add gradients and notes up over the ranks; returns the gradient's norm, the same on all."""
        self._buckets.finish()
        return torch.linalg.vector_norm(self.gradient)

    def scale_(self, factor: torch.Tensor) -> None:
        """Multiply the gradient."""
        self.gradient.mul_(factor)

    def named(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Tensors laid out like `weights`, as views by the parameters' names."""
        views = {}
        for name, parameter in self.network.named_parameters(remove_duplicate=False):
            if id(parameter) in self._slots:
                offset, shape, stride = self._slots[id(parameter)]
                views[name] = vectors[0].as_strided(shape, stride, offset)
        return views

    def state(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's state dict with its trainable parameters out of `vectors`, on the CPU; empty but on rank 0."""
        if not self.ranks.main:
            return {}
        state = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        return state | self.named([vectors[0].detach().cpu()])

    @torch.no_grad()
    def load_(self, vectors: Sequence[torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
        """Copy whole values by name into tensors laid out like `weights`."""
        for name, view in self.named(vectors).items():
            view.copy_(values[name])

    def spread_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give every rank what rank 0 has loaded."""
        self.ranks.broadcast_(tensors)


class _Buckets:
    """Parts of the gradient that are added up as soon as they are complete, in the same order on every rank."""

    def __init__(self, vector: torch.Tensor, parameters: list[nn.Parameter], starts: list[int], ranks: Ranks) -> None:
        self.vector, self.world, self.open = vector, ranks.world, False
        self.spans: list[tuple[int, int]] = []  # from the end, where the backward pass begins; the last holds the notes
        self.sizes: list[int] = []
        end, count, place = len(vector), 0, {}
        for parameter, start in zip(reversed(parameters), reversed(starts), strict=True):
            place[id(parameter)], count = len(self.spans), count + 1
            if end - start >= BUCKET and parameter is not parameters[0]:
                self.spans.append((start, end))
                self.sizes.append(count)
                end, count = start, 0
        self.spans.append((0, end))
        self.sizes.append(count)
        self.missing, self.works = list(self.sizes), list[dist.Work]()
        if self.world > 1:
            for parameter in parameters:
                parameter.register_post_accumulate_grad_hook(self._completed(place[id(parameter)]))

    def finish(self) -> None:
        """Send what is left, the notes with it, and wait for all of it."""
        if self.world > 1:
            while len(self.works) < len(self.spans):
                self._send()
            for work in self.works:
                work.wait()
        self.missing, self.works, self.open = list(self.sizes), [], False

    def _completed(self, place: int) -> Callable[[torch.Tensor], None]:
        def hook(parameter: torch.Tensor) -> None:
            if self.open:
                self.missing[place] -= 1
                while len(self.works) < len(self.spans) - 1 and self.missing[len(self.works)] == 0:
                    self._send()

        return hook

    def _send(self) -> None:
        first, end = self.spans[len(self.works)]
        self.works.append(cast(dist.Work, dist.all_reduce(self.vector[first:end], async_op=True)))


def _dense(tensor: torch.Tensor) -> bool:
    spans = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in spans:
        if stride != expected:
            return False
        expected *= size
    return True
