"""Folder and file names of pretrained weights on this machine. Nothing is downloaded here."""

import os
from pathlib import Path

CLIP_FILE = "ViT-B-32-openai.safetensors"  # OpenAI's own .pt is a TorchScript archive, which weights_only refuses
LPIPS_FILE = "alexnet-owt-7be5be79.pth"  # torchvision's name of the AlexNet trunk
LPIPS_TRUNK = "alexnet-trunk.safetensors"  # the same layers without the classifier, from the package index
LPIPS_TRUNK_SHA256 = "9f97fd313f4da83dbe6bbfbe6effca1241de9edfcd7c53386261ed9697286dd9"


def weights_folder() -> Path:
    """Folder of pretrained weights: $RODIN_WEIGHTS, else ~/.cache/rodin/weights."""
    return Path(os.environ.get("RODIN_WEIGHTS") or Path.home() / ".cache" / "rodin" / "weights")


def lpips_file(folder: Path | None = None) -> Path:
    """The AlexNet trunk of LPIPS in a folder (`weights_folder`); torchvision's file if both or none are there."""
    folder = folder or weights_folder()
    first, second = folder / LPIPS_FILE, folder / LPIPS_TRUNK
    return second if second.is_file() and not first.is_file() else first
