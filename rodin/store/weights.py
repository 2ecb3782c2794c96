"""Where pretrained weights lie on this machine, and what their files are called. Nothing here is ever downloaded."""

import os
from pathlib import Path

CLIP_FILE = "ViT-B-32-openai.safetensors"  # OpenAI's own .pt is a TorchScript archive, which weights_only refuses
LPIPS_FILE = "alexnet-owt-7be5be79.pth"


def weights_folder() -> Path:
    """Where pretrained weights lie: $RODIN_WEIGHTS, else ~/.cache/rodin/weights."""
    return Path(os.environ.get("RODIN_WEIGHTS") or Path.home() / ".cache" / "rodin" / "weights")
