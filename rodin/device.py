"""Devices of computations."""

import numpy as np
import torch

REASON_LENGTH = 100  # characters of torch's message that are quoted: it lists all kinds of devices


def default_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device(numbers: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array as a tensor on a device; a GPU takes it out of pinned memory, and nobody waits for it."""
    tensor = torch.from_numpy(numbers)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def checked_device(device: torch.device | str) -> torch.device:
    """A device that computes here.

    Raises:
        ValueError: there is no such.
    """
    try:
        torch.zeros(1, device=device).cpu()
        return torch.device(device)
    except (RuntimeError, AssertionError, NotImplementedError) as problem:
        reason = " ".join(str(problem).split())[:REASON_LENGTH]
        raise ValueError(f"device: got {str(device)!r}, wanted one such as 'cpu' or 'cuda:0' ({reason})") from None
