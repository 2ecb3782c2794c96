"""Folder and file names of pretrained weights on this machine. Nothing is downloaded here."""

import os
from pathlib import Path

CLIP_FILE = "ViT-B-32-openai.safetensors"  # OpenAI's own .pt is a TorchScript archive, which weights_only refuses
LPIPS_FILE = "alexnet-owt-7be5be79.pth"  # torchvision's name of the AlexNet trunk


def weights_folder() -> Path:
    """Folder of pretrained weights: $RODIN_WEIGHTS, else ~/.cache/rodin/weights."""
    return Path(os.environ.get("RODIN_WEIGHTS") or Path.home() / ".cache" / "rodin" / "weights")
