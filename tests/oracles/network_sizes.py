"""Size of a network: parameters and floating-point operations per sample, counted without allocating it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Number of learned parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Floating-point operations of the matrix products of one forward pass; a multiply-add counts as two.

    Args:
        inputs: arguments of the model; a batch of 1 gives operations per sample. Use meta tensors: on a CPU, torch
            does not count attention.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


def on_meta(build: Callable[..., nn.Module], **settings: Any) -> nn.Module:
    """Build a network of shapes without memory, to count networks of the paper's size on any machine.

    Example:
        >>> from rodin.nets.latent import LatentMLP
        >>> parameters(on_meta(LatentMLP, latent_width=512, hidden=2048, layers=20))
        117106176
    """
    with torch.device("meta"):
        return build(**settings)


def sizes_on_meta(
    build: Callable[..., nn.Module], inputs: Sequence[tuple[Sequence[int], str]], settings: Mapping[str, Any]
) -> tuple[int, int]:
    """Parameters and operations of one forward pass of a network that is not allocated.

    Args:
        build: the network's class. inputs: shape and dtype of each argument, for one sample.
        settings: its keyword arguments.
    """
    network = on_meta(build, **settings).eval()
    tensors = [torch.zeros(*shape, dtype=getattr(torch, dtype), device="meta") for shape, dtype in inputs]
    return parameters(network), flops(network, *tensors)
