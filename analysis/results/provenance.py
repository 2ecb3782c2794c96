"""Provenance of a run from its run.toml: config, code and versions; commands that continue or repeat the run."""

from __future__ import annotations

import json
import shlex
import tomllib
from pathlib import Path
from typing import Any

from rodin.presets import PRESETS, differences
from rodin.presets.toml import from_run_toml
from rodin.store.reading import read_text
from rodin.store.run_folder import RunFolder


def run_record(run: Path) -> dict[str, Any]:
    """Contents of run.toml as plain data; empty where there is no such file yet.

    Raises:
        ValueError: the file is not TOML; the message names it.
    """
    path = RunFolder(run).config_file
    if not path.is_file():
        return {}
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as problem:
        raise ValueError(
            f"{path}: not TOML ({problem}); restore it, or delete it and run the same command again"
        ) from None


def config_of(run: Path) -> dict[str, Any]:
    """The run's config as plain data, nested by section; empty where there is no run.toml yet."""
    record = run_record(run)
    return record.get("config", record)


def facts_of(run: Path) -> dict[str, str]:
    """All of run.toml but the config as dotted key -> text: commit, versions, machine and the like."""
    record = run_record(run)
    if "config" not in record:
        return {}
    return dict(_flat({key: value for key, value in record.items() if key != "config"}))


def resume_command(run: Path) -> str:
    """Command that continues a run: with its preset's name if the config is unchanged, else with its own run.toml."""
    try:
        config = from_run_toml(RunFolder(run).config_file)
    except (ValueError, FileNotFoundError):
        return f"rodin run PRESET --run {run}"
    plain = config == PRESETS.get(config.preset)
    return f"rodin run {config.preset if plain else RunFolder(run).config_file} --run {run}"


def fresh_command(run: Path) -> str:
    """Command that starts an equal run: the preset's name and a ``--set`` for each changed key."""
    try:
        config = from_run_toml(RunFolder(run).config_file)
    except (ValueError, FileNotFoundError):
        return resume_command(run)
    base = PRESETS.get(config.preset)
    if base is None:
        return resume_command(run)
    changed = differences(config, base)
    return f"rodin run {config.preset}" + "".join(f" --set {key}={_quoted(ours)}" for key, (ours, _) in changed.items())


def setting(config: dict[str, Any], key: str) -> Any:
    """A value of the config by its dotted key; none if there is no such key."""
    value: Any = config
    for name in key.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def flat_config(config: dict[str, Any]) -> dict[str, str]:
    """The config as dotted key -> value as text."""
    return dict(_flat(config))


def _quoted(value: Any) -> str:
    return shlex.quote(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    lines: list[tuple[str, str]] = []
    for key, inner in value.items():
        if isinstance(inner, dict):
            lines += _flat(inner, f"{prefix}{key}.")
        else:
            lines.append((f"{prefix}{key}", ", ".join(map(str, inner)) if isinstance(inner, list) else str(inner)))
    return lines
