"""How large a network is: parameters, and floating-point operations a sample, both without its memory."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """Number of learned values."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops(model: nn.Module, *inputs: torch.Tensor) -> int:
    """Floating-point operations of one forward pass (a multiply-add is two), of the matrix products alone.

    Args:
        inputs: what the model is called with; a batch of 1 gives operations a sample. On a CPU attention goes
            uncounted (torch has no count for its kernel there): give meta tensors.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(*inputs)
    return counter.get_total_flops()


def on_meta(build: Callable[..., nn.Module], **settings: Any) -> nn.Module:
    """Build a network that has shapes but no memory, so that paper sizes are counted anywhere.

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
    """Parameters, and operations of one forward pass, of a network that is never given memory.

    Args:
        build: the network's class. inputs: shape and dtype of each tensor it is called with, of one sample.
        settings: its keyword arguments.
    """
    network = on_meta(build, **settings).eval()
    tensors = [torch.zeros(*shape, dtype=getattr(torch, dtype), device="meta") for shape, dtype in inputs]
    return parameters(network), flops(network, *tensors)
