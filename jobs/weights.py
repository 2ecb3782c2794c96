"""Pretrained weights: fetched on a login node by `rodin weights fetch`, checked, read from disk ever after."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from jobs.graph.work import Run
from rodin.store.atomic import make_folder, publishing, sha256_of
from rodin.store.weights import CLIP_FILE, LPIPS_FILE, weights_folder

CHUNK = 1 << 20
TIMEOUT = 60.0


@dataclass(frozen=True)
class Weights:
    """A file to fetch.

    Args:
        name: as users type it.
        file: its name on disk.
        url: where it is published.
        sha256: of its bytes.
        purpose: what is missing without it.
    """

    name: str
    file: str
    url: str
    sha256: str
    purpose: str


KNOWN = (
    Weights(
        "clip",
        CLIP_FILE,
        "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/"
        "a6f597a30f7b82c51704746581f9a4e41421e878/open_clip_model.safetensors",
        "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
        "the CLIP ViT-B/32 of the presets that do not train their own",
    ),
    Weights(
        "lpips",
        LPIPS_FILE,
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "LPIPS columns of the tables",
    ),
)


def fetch(
    weights: Weights, folder: Path, progress: Callable[[int, int, str], None], url: str | None = None
) -> tuple[Path, bool]:
    """Fetch one file, unless it is there and right.

    Args:
        weights: which.
        folder: where it shall lie.
        progress: told bytes so far, bytes in all and the file's name.
        url: a mirror, or file:///...; the checksum stays the same.

    Returns:
        its path, and whether it was fetched now.

    Raises:
        ValueError: not reachable, or not the bytes it should be; nothing is kept.
    """
    target = folder / weights.file
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target, False
    source = url or weights.url
    if urlparse(source).scheme not in ("https", "http", "file"):
        raise ValueError(f"--url got '{source}', wanted https://, http:// or file://")
    make_folder(folder)
    digest = hashlib.sha256()
    with publishing(target) as temporary:
        try:
            with urllib.request.urlopen(source, timeout=TIMEOUT) as answer, temporary.open("wb") as file:  # noqa: S310
                total = int(answer.headers.get("Content-Length") or 0)
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    digest.update(chunk)
                    progress(file.tell(), total, weights.file)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ValueError(
                f"{source}: not reachable ({reason}); run `rodin weights fetch` where there is a network, "
                f"or copy {weights.file} to {folder}"
            ) from None
        if digest.hexdigest() != weights.sha256:
            raise ValueError(
                f"{source}: got sha256 {digest.hexdigest()[:16]}..., wanted {weights.sha256[:16]}...; "
                "nothing was kept, try again or use another --url"
            )
    return target, True


def find(name: str) -> Weights:
    """Weights by name.

    Raises:
        ValueError: there are none of that name.
    """
    for weights in KNOWN:
        if weights.name == name:
            return weights
    raise ValueError(f"unknown weights '{name}'; there are {', '.join(one.name for one in KNOWN)}")


def rows(folder: Path) -> list[dict[str, Any]]:
    """Every known file and whether it is here."""
    return [
        {"name": one.name, "file": str(folder / one.file), "here": (folder / one.file).is_file(), "for": one.purpose}
        for one in KNOWN
    ]


def check_weights(run: Run) -> None:
    """Refuse to begin a run whose pretrained weights are not here: better now than after a week of fitting.

    Raises:
        FileNotFoundError: names the file and the command that brings it.
    """
    wanted = {stage.name for stage in run.stages if run.missing(stage)}
    clip, perceptual = run.config.clip.pretrained, run.config.upsample.patch.perceptual
    needs = []
    if clip is not None and wanted & {"embed", "sample", "evaluate"}:
        needs.append(("clip", f"for clip.pretrained '{clip}'", "train a small CLIP with --set clip.pretrained=none"))
    if perceptual and wanted & {"upsample", "sweep-convolution"}:
        without = "do without it: --set upsample.patch.perceptual=0"
        needs.append(("lpips", f"of LPIPS for upsample.patch.perceptual {perceptual}", without))
    for name, what, otherwise in needs:
        target = weights_folder() / find(name).file
        if not target.is_file():
            raise FileNotFoundError(
                f"{target}: no weights {what}; run `rodin weights fetch` on a login node, or {otherwise}"
            )
