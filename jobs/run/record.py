"""run.toml: config, code version and package versions of a run. Written once; another config is refused."""

from __future__ import annotations

import subprocess
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import tomli_w

from rodin.config import Config
from rodin.presets import differences
from rodin.presets.toml import from_toml, to_toml
from rodin.store.atomic import publish_bytes
from rodin.store.errors import Unreadable
from rodin.store.run_folder import RunFolder

PACKAGES = ("torch", "torchvision", "open_clip_torch", "lpips", "numpy", "h5py", "bpy", "anny", "submitit")
NAMED_KEYS = 5  # different keys that one message lists
GIT_SECONDS = 10  # longest wait for git, which may hang on a network file system


def read_config(folder: RunFolder) -> Config:
    """Read the config of a run.

    Raises:
        FileNotFoundError: no run lies there.
        ValueError: run.toml is damaged, or of another version of rodin; the message names it and the next step.
    """
    if not folder.config_file.is_file():
        raise FileNotFoundError(f"{folder.path}: no run there (run.toml is missing); start one with `rodin run PRESET`")
    try:
        return from_toml(folder.config_file)
    except Unreadable:
        raise
    except ValueError as problem:
        raise ValueError(
            f"{problem}; if another version of rodin wrote it, use that one (the run's code/), else restore it, or "
            "delete it and start the run again with the same preset and --set"
        ) from None


def check_run(folder: RunFolder) -> None:
    """Check that a run lies in a folder, even one whose run.toml is damaged or lost.

    Raises:
        FileNotFoundError: no run lies there.
    """
    if not folder.jobs.is_dir():
        with suppress(ValueError):
            read_config(folder)


def check_config(folder: RunFolder, config: Config) -> None:
    """Check that a config is the run's own.

    Raises:
        ValueError: names each key that differs, its value in the run and the requested one.
    """
    if not folder.config_file.is_file():
        return
    different = differences(read_config(folder), config)
    if different:
        listed = [f"{key} is {ours!r} there, asked for {theirs!r}" for key, (ours, theirs) in different.items()]
        more = f"; and {len(listed) - NAMED_KEYS} more" if len(listed) > NAMED_KEYS else ""
        raise ValueError(
            f"{folder.path} is a run of another config: {'; '.join(listed[:NAMED_KEYS])}{more}; "
            "choose another folder with --run"
        )


def write_config(folder: RunFolder, config: Config) -> None:
    """Write run.toml unless it exists."""
    if folder.config_file.is_file():
        return
    content = {"code": code_version(), "versions": versions(), "config": tomllib.loads(to_toml(config))}
    publish_bytes(folder.config_file, tomli_w.dumps(content).encode())


def versions() -> dict[str, str]:
    """Versions of the installed packages on which a result may depend."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def code_version() -> dict[str, str]:
    """Version of this program, and the git commit where the code lies in a repository."""
    from rodin import __version__

    root = Path(__file__).resolve().parents[2]
    version = {"version": __version__}
    try:
        commit = _git(root, "rev-parse", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", "jobs", "rodin", "analysis")
    except (OSError, subprocess.SubprocessError):
        return version
    return version | {"commit": commit + (" with changes" if changed else "")}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=GIT_SECONDS, check=True
    )
    return done.stdout.strip()
