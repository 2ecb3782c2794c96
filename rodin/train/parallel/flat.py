"""All parameters of a network in one vector and all its gradients in another; every rank has them whole.

The gradient's norm, clipping, AdamW and the moving average are then one call each, however many small tensors the
network has: for the demo's networks those calls otherwise cost as much as the arithmetic. Ranks add up their gradients
bucket by bucket during the backward pass, as torch's DDP does. DDP lays its buckets out anew after its first step, so
with more than two ranks a resumed training would add in another order than an unbroken one; here the buckets are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import nn

from rodin.train.parallel.ranks import Ranks
from rodin.train.parallel.waiting import waiting

ALIGNMENT = 64  # floats: 256 bytes, the alignment that GPU libraries need
ALONE = Ranks()
BUCKET = 25 * 2**18  # fewest floats that are added up together: 25 MB, as in DDP


class FlatParameters:
    """The trainable parameters of a network as views of one vector, and their gradients as views of another.

    Args:
        network: on its device, float32; its parameters' memory formats do not change.
        ranks: the ranks that add up gradients.
        scalars: number of floats that are summed over the ranks together with the gradients.

    Attributes:
        weights: the vector as the only parameter of an optimiser; its `.grad` is `gradient`.
        gradient: the gradients.
        scalars: the floats before the gradients.
        saves: whether this rank has the moving average and writes checkpoints; here rank 0.
        part: (number, number of parts) of the checkpoint that this rank writes.
        loss_factor: factor of the loss, so that the exchanged gradient is that of the ranks' summed loss.
    """

    part = (0, 1)
    loss_factor = 1.0

    def __init__(self, network: nn.Module, ranks: Ranks = ALONE, scalars: int = 0) -> None:
        self.network, self.ranks, self.saves = network, ranks, ranks.main
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        offsets, total = [], 0
        for parameter in parameters:
            offsets.append(total)
            total += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device, start = parameters[0].device, -(-scalars // ALIGNMENT) * ALIGNMENT
        vector = nn.Parameter(torch.zeros(total, device=device))
        self._all = torch.zeros(start + total, device=device)
        self.scalars, self.gradient = self._all[:scalars], self._all[start:]
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

    def zero_(self) -> None:
        """Set gradients and scalars to zero, before the first backward pass of a step."""
        self._all.zero_()

    def start_exchange(self) -> None:
        """Exchange gradients during the next backward pass, the last one of the step."""
        self._buckets.open = True

    def reduce_(self) -> torch.Tensor:
        """Finish the sums of gradients and scalars over the ranks; returns the gradient's norm, the same on all."""
        self._buckets.finish()
        return torch.linalg.vector_norm(self.gradient)

    def scale_(self, factor: torch.Tensor) -> None:
        """Multiply the gradient by a factor."""
        self.gradient.mul_(factor)

    def named(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Views of vectors laid out like `weights`, by the parameters' names."""
        views = {}
        for name, parameter in self.network.named_parameters(remove_duplicate=False):
            if id(parameter) in self._slots:
                offset, shape, stride = self._slots[id(parameter)]
                views[name] = vectors[0].as_strided(shape, stride, offset)
        return views

    def state_dict(self, vectors: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """The network's state dict on the CPU, with its trainable parameters from `vectors`; empty except on rank 0."""
        if not self.ranks.main:
            return {}
        state = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        return state | self.named([vectors[0].detach().cpu()])

    @torch.no_grad()
    def load_(self, vectors: Sequence[torch.Tensor], rows: Callable[..., torch.Tensor]) -> None:
        """Copy values into vectors laid out like `weights`.

        Args:
            vectors: the vectors.
            rows: (name) -> value of a parameter.
        """
        for name, view in self.named(vectors).items():
            view.copy_(rows(name))

    def broadcast_loaded_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy what rank 0 has loaded to every rank."""
        self.ranks.broadcast_(tensors)


class _Buckets:
    """Parts of the gradient; each is summed as soon as it is complete, in the same order on every rank.

    Attributes:
        open: whether completed buckets are sent.
        spans: first and end of each bucket.
        sizes: parameters in each bucket.
        missing: parameters of each bucket without a gradient yet.
        works: exchanges under way.
    """

    def __init__(self, vector: torch.Tensor, parameters: list[nn.Parameter], starts: list[int], ranks: Ranks) -> None:
        self.vector, self.world, self.open = vector, ranks.world, False
        self.spans: list[tuple[int, int]] = []  # from the end, where the backward pass begins; the last has the scalars
        self.sizes: list[int] = []
        end, count, bucket = len(vector), 0, {}
        for parameter, start in zip(reversed(parameters), reversed(starts), strict=True):
            bucket[id(parameter)], count = len(self.spans), count + 1
            if end - start >= BUCKET and parameter is not parameters[0]:
                self.spans.append((start, end))
                self.sizes.append(count)
                end, count = start, 0
        self.spans.append((0, end))
        self.sizes.append(count)
        self.missing, self.works = list(self.sizes), list[dist.Work]()
        if self.world > 1:
            for parameter in parameters:
                parameter.register_post_accumulate_grad_hook(self._completed(bucket[id(parameter)]))

    def finish(self) -> None:
        """Send the other buckets, the one with the scalars too, and wait for all of them."""
        if self.world > 1:
            while len(self.works) < len(self.spans):
                self._send()
            with waiting():
                for work in self.works:
                    work.wait()
        self.missing, self.works, self.open = list(self.sizes), [], False

    def _completed(self, bucket: int) -> Callable[[torch.Tensor], None]:
        def hook(parameter: torch.Tensor) -> None:
            if self.open:
                self.missing[bucket] -= 1
                while len(self.works) < len(self.spans) - 1 and self.missing[len(self.works)] == 0:
                    self._send()

        return hook

    def _send(self) -> None:
        first, end = self.spans[len(self.works)]
        self.works.append(cast(dist.Work, dist.all_reduce(self.vector[first:end], async_op=True)))


def _dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor fills its memory without gaps, in some order of its axes."""
    spans = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in spans:
        if stride != expected:
            return False
        expected *= size
    return True
