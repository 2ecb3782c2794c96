"""Learned perceptual distance (LPIPS). Only this module imports the `lpips` package.

The package contains the linear heads but not the AlexNet trunk below them. The trunk is read from a local file whose
checksum must match, so a random trunk is never used. On GPUs from Ampere on its convolutions multiply in TF32, as those
of all networks do, unless the environment has NVIDIA_TF32_OVERRIDE=0.
"""

import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file

from rodin.metrics.pairs import pair
from rodin.store.atomic import sha256_of
from rodin.store.weights import LPIPS_TRUNK_SHA256

SHA256 = {  # beginnings of the checksums of the files that are taken, by their suffix
    ".pth": "7be5be79",  # torchvision's file of AlexNet weights, as its name says
    ".safetensors": LPIPS_TRUNK_SHA256[:8],  # what `rodin.metrics.trunk` makes
}
BATCH = 32  # images in one forward pass: more are no faster
SMALLEST = 32  # side of an image, pixels: AlexNet's pooling leaves nothing of smaller ones


class Lpips:
    """LPIPS with the AlexNet trunk (Zhang et al. 2018, version 0.1); make one with `load`."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network

    def distance(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Distance with gradients, for a loss: images [N, 3, H, W] on the network's device -> [N] float32."""
        return self.network(2.0 * images - 1.0, 2.0 * truth - 1.0).flatten()

    @torch.no_grad()
    def __call__(self, images: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Perceptual distance of each image from its truth.

        Args:
            images: [N, 3, H, W] in [0, 1], or a numpy array; H and W at least 32.
            truth: the same shape and range.

        Returns:
            [N] float64 on the network's device, 0 where an image equals its truth.
        """
        device = next(self.network.parameters()).device
        x, y = (2.0 * image.float() - 1.0 for image in pair(images, truth))
        if min(x.shape[2:]) < SMALLEST:
            raise ValueError(
                f"LPIPS: got pictures of {x.shape[2]} x {x.shape[3]} pixels, wanted at least {SMALLEST} each"
            )
        parts = zip(x.split(BATCH), y.split(BATCH), strict=True)
        return torch.cat([self.network(a.to(device), b.to(device)).flatten().double() for a, b in parts])


def load(weights: Path | None, device: str | torch.device = "cpu") -> tuple[Lpips | None, str]:
    """Load LPIPS from local files.

    Args:
        weights: the AlexNet trunk, one of the two files of `rodin.store.weights.lpips_file`, or None.
        device: of the network.

    Returns:
        the metric and "", or None and the reason: what is missing and how to get it.

    Raises:
        ValueError: the file exists but has another checksum.
    """
    if weights is None or not Path(weights).is_file():
        place = "no weights are configured" if weights is None else f"{Path(weights).name} is missing"
        return None, f"LPIPS: {place}; `rodin weights fetch lpips` on a machine with network brings the AlexNet trunk"
    path = Path(weights)
    digest, wanted = sha256_of(path), SHA256[path.suffix]
    if not digest.startswith(wanted):
        raise ValueError(
            f"{path}: sha256 starts {digest[:8]}, wanted {wanted}; "
            "move it elsewhere and run `rodin weights fetch lpips`"
        )
    trunk = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    return Lpips(network_of(trunk).to(device)), ""


def network_of(trunk: dict[str, torch.Tensor]) -> torch.nn.Module:
    """Frozen `lpips` network with an AlexNet state dict as its trunk."""
    from rodin.nets.torchvision_shim import prepare

    prepare()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torchvision's note that `pretrained` has a new name
        network = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    slices = {name: module for name, module in network.net.named_children() if name.startswith("slice")}
    for module in slices.values():
        wanted = {f"{index}.{leaf}" for index, layer in module.named_children() for leaf in layer.state_dict()}
        module.load_state_dict({name: trunk[f"features.{name}"] for name in wanted})
    return network.eval().requires_grad_(False)
