"""All parameters of a network end to end in one vector, and all its gradients in another.

Adding up over ranks, the gradient's norm, clipping, AdamW and the moving average are then one call each, however many
small tensors the network has: for the demo's networks those calls otherwise cost as much as the arithmetic.
"""

from __future__ import annotations

import torch
from torch import nn

ALIGNMENT = 64  # floats: 256 bytes, what GPU libraries want of an address


class Flat:
    """Lays out a network's trainable parameters; from then on they are views of `weights`, their grads of `gradients`.

    Args:
        network: on its device, float32; its parameters' memory formats are kept.
        notes: floats after the gradients, which travel with them when ranks add up.

    Attributes:
        weights: the vector as the one parameter an optimiser sees; its `.grad` is the gradients.
        gradient: the gradients; notes: the floats after them; gradients: both in one vector.
    """

    def __init__(self, network: nn.Module, notes: int = 0) -> None:
        self.network = network
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        offsets, total = [], 0
        for parameter in parameters:
            offsets.append(total)
            total += -(-parameter.numel() // ALIGNMENT) * ALIGNMENT
        device = parameters[0].device
        self.weights = nn.Parameter(torch.zeros(total, device=device))
        self.gradients = torch.zeros(total + notes, device=device)
        self.gradient, self.notes = self.gradients[:total], self.gradients[total:]
        self.weights.grad = self.gradient
        self._slots: dict[int, tuple[int, torch.Size, tuple[int, ...]]] = {}
        for parameter, offset in zip(parameters, offsets, strict=True):
            stride = parameter.stride() if _dense(parameter) else parameter.contiguous().stride()
            self._slots[id(parameter)] = (offset, parameter.shape, stride)
            view = self.weights.data.as_strided(parameter.shape, stride, offset)
            view.copy_(parameter.data)
            parameter.data = view
            parameter.grad = self.gradients.as_strided(parameter.shape, stride, offset)

    def named(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """A vector laid out like `weights` as views by the parameters' names."""
        views = {}
        for name, parameter in self.network.named_parameters(remove_duplicate=False):
            if id(parameter) in self._slots:
                offset, shape, stride = self._slots[id(parameter)]
                views[name] = vector.as_strided(shape, stride, offset)
        return views

    def state(self, vector: torch.Tensor) -> dict[str, torch.Tensor]:
        """The network's state dict with its trainable parameters out of `vector`, on the CPU."""
        state = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        return state | self.named(vector.detach().cpu())

    @torch.no_grad()
    def load_(self, vector: torch.Tensor, values: dict[str, torch.Tensor]) -> None:
        """Copy values by name into a vector laid out like `weights`."""
        for name, view in self.named(vector).items():
            view.copy_(values[name])


def _dense(tensor: torch.Tensor) -> bool:
    spans = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    expected = 1
    for stride, size in spans:
        if stride != expected:
            return False
        expected *= size
    return True
