"""run.toml: config, code version and package versions of a run."""

from __future__ import annotations

import subprocess
import tomllib
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import tomli_w

from rodin.config import Config
from rodin.presets.toml import from_run_toml, to_toml
from rodin.store.atomic import publish_bytes
from rodin.store.errors import Unreadable
from rodin.store.run_folder import RunFolder

PACKAGES = ("torch", "torchvision", "open_clip_torch", "lpips", "numpy", "h5py", "bpy", "anny", "submitit")
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
        return from_run_toml(folder.config_file)
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


def write_config(folder: RunFolder, config: Config) -> None:
    """Write run.toml; where it exists only its config is replaced, and only by another one."""
    content = {"code": code_version(), "versions": versions()}
    if folder.config_file.is_file():
        if read_config(folder) == config:
            return
        content = tomllib.loads(folder.config_file.read_text(encoding="utf-8"))
        content = {name: content[name] for name in ("code", "versions") if name in content}
    content["config"] = tomllib.loads(to_toml(config))
    publish_bytes(folder.config_file, tomli_w.dumps(content).encode())


def check_folder(folder: RunFolder) -> None:
    """Refuse to make a run in a folder that is in use: a run's folder is new, empty, or a run's already.

    Raises:
        ValueError: names a file there that is no run's.
    """
    there = next(path for path in (folder.path, *folder.path.parents) if path.exists())
    if not there.is_dir():
        raise ValueError(f"{folder.path}: {there} is a file; wanted a new or an empty folder, choose one with --run")
    if folder.config_file.is_file() or not folder.path.is_dir():
        return
    ours = {folder.jobs.name} if (folder.jobs / "lock").is_file() else set()  # of a run stopped before its run.toml
    foreign = sorted(path.name for path in folder.path.iterdir() if path.name not in ours and not _partial(path))
    if foreign:
        raise ValueError(
            f"{folder.path}: not a run's folder: it holds {foreign[0]}{' and more' if foreign[1:] else ''} and no "
            "run.toml; wanted a new or an empty folder, choose one with --run"
        )


def _partial(path: Path) -> bool:
    """Whether a file is one that a killed command left while it wrote run.toml."""
    return path.name.startswith(".") and path.name.endswith(".run.toml")


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
