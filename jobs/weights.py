"""Pretrained weights: `rodin weights fetch` downloads them on a login node; runs read them from disk."""

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

CHUNK = 1 << 20  # bytes read at once: 1 MiB, so that progress is shown often and memory stays small
TIMEOUT = 60.0  # seconds a server may be silent before the download counts as failed


@dataclass(frozen=True)
class WeightsFile:
    """One published file of pretrained weights.

    Args:
        name: its name on the command line.
        file: its name on disk.
        url: its published address.
        sha256: SHA-256 of its bytes, in hex.
        purpose: what needs it.
    """

    name: str
    file: str
    url: str
    sha256: str
    purpose: str


KNOWN = (
    WeightsFile(
        "clip",
        CLIP_FILE,
        "https://huggingface.co/timm/vit_base_patch32_clip_224.openai/resolve/"
        "a6f597a30f7b82c51704746581f9a4e41421e878/open_clip_model.safetensors",
        "e6d1bd7789aa45192b3bf90570a789b478bae1b74ebcce7eddd908e83a2b7c31",
        "the CLIP ViT-B/32 of the presets that do not train their own",
    ),
    WeightsFile(
        "lpips",
        LPIPS_FILE,
        "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        "LPIPS columns of the tables",
    ),
)


def fetch(
    weights: WeightsFile, folder: Path, progress: Callable[[int, int, str], None], url: str | None = None
) -> tuple[Path, bool]:
    """Download one file, unless the folder holds it with the right checksum.

    Args:
        weights: the file.
        folder: destination folder; created if absent.
        progress: called with bytes so far, bytes in all (0: the server does not say) and the file's name.
        url: another address, https://, http:// or file://; the checksum stays the same.

    Returns:
        its path, and whether it was downloaded now.

    Raises:
        ValueError: the address cannot be reached, or its bytes have another checksum; nothing is stored then.
    """
    target = folder / weights.file
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target, False
    source = url or weights.url
    if urlparse(source).scheme not in ("https", "http", "file"):
        raise ValueError(f"--url got '{source}', wanted https://, http:// or file://")
    make_folder(folder)
    with publishing(target) as temporary:
        try:
            found = _download(source, temporary, weights.file, progress)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            reason = getattr(error, "reason", error)
            raise ValueError(
                f"{source}: not reachable ({reason}); run `rodin weights fetch` where there is a network, "
                f"or copy {weights.file} to {folder}"
            ) from None
        if found != weights.sha256:
            raise ValueError(
                f"{source}: got sha256 {found[:16]}..., wanted {weights.sha256[:16]}...; "
                "nothing was stored, try again or use another --url"
            )
    return target, True


def _download(source: str, target: Path, name: str, progress: Callable[[int, int, str], None]) -> str:
    """Write the bytes of an address to a file and return their SHA-256 in hex."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(source, timeout=TIMEOUT) as answer, target.open("wb") as file:  # noqa: S310
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            digest.update(chunk)
            progress(file.tell(), total, name)
    return digest.hexdigest()


def find(name: str) -> WeightsFile:
    """Known weights by name.

    Raises:
        ValueError: unknown name; lists the known ones.
    """
    for weights in KNOWN:
        if weights.name == name:
            return weights
    raise ValueError(f"unknown weights '{name}'; there are {', '.join(one.name for one in KNOWN)}")


def weights_rows(folder: Path) -> list[dict[str, Any]]:
    """Rows {"name", "file", "here", "for"} of all known weights; `here`: the folder holds the file."""
    return [
        {"name": one.name, "file": str(folder / one.file), "here": (folder / one.file).is_file(), "for": one.purpose}
        for one in KNOWN
    ]


def check_weights(run: Run) -> None:
    """Check, before a run starts, that the pretrained weights its missing stages read are on disk.

    Raises:
        FileNotFoundError: names the file and the command that downloads it.
    """
    missing = {stage.name for stage in run.stages if run.missing(stage)}
    clip, perceptual = run.config.clip.pretrained, run.config.upsample.patch.perceptual
    needs = []
    if clip is not None and missing & {"embed", "sample", "evaluate"}:
        needs.append(("clip", f"for clip.pretrained '{clip}'", "train a small CLIP with --set clip.pretrained=none"))
    if perceptual and missing & {"upsample", "sweep-convolution"}:
        without = "do without it: --set upsample.patch.perceptual=0"
        needs.append(("lpips", f"of LPIPS for upsample.patch.perceptual {perceptual}", without))
    for name, purpose, otherwise in needs:
        target = weights_folder() / find(name).file
        if not target.is_file():
            raise FileNotFoundError(
                f"{target}: no weights {purpose}; run `rodin weights fetch` on a login node, or {otherwise}"
            )
