"""A config as TOML and back. TOML has no null, so a null is written as the word "none"."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tomli_w

from rodin.config import Config
from rodin.diffusion.curves import EARLIER
from rodin.presets import load, overridden, whole
from rodin.store.errors import StoreError
from rodin.store.reading import read_text


def to_toml(config: Config) -> str:
    """The whole config, defaults included, as TOML text."""
    return tomli_w.dumps(_map(config.model_dump(mode="json"), None, "none"))


def from_toml(path: Path, overrides: Iterable[str] = ()) -> Config:
    """A config from a TOML file whose top level, or whose table `config`, is one.

    Keys that a file of the user does not have are those of the preset that its key `preset` names.

    Args:
        path: the file.
        overrides: ``key=value`` texts laid over it, as in `rodin.presets.preset`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not TOML, or not a config; names the file and the key.
    """
    data, written_by_run = _table(path)
    try:
        full = load(_as_run(data), checked=False).model_dump(mode="json") if written_by_run else whole(data)
        return load(overridden(full, overrides))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def from_run_toml(path: Path) -> Config:
    """The config that a run has written down. It is whole, and was checked before the run began.

    Keys that an older rodin did not know have their defaults; checks that came later refuse nothing that has run.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not TOML, or not a config; names the file and the key.
    """
    data, _ = _table(path)
    try:
        return load(_as_run(data), checked=False)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _table(path: Path) -> tuple[dict[str, Any], bool]:
    """The config in a TOML file as plain data, and whether a run wrote the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted a config in TOML")
    try:
        data = tomllib.loads(read_text(path))
    except StoreError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None
    table = data.get("config", data)
    if not table:
        raise ValueError(f"{path}: {'is empty' if not data else 'its table [config] is empty'}")
    if not isinstance(table, dict):
        raise ValueError(f"{path}: config: got {table!r}, wanted a table of keys")
    return _map(table, "none", None), "versions" in data


def _as_run(data: dict[str, Any]) -> dict[str, Any]:
    """A run's config with what was meant by keys that are missing: earlier versions had one cosine, one sigmoid."""
    for model in data.values():
        diffusion = model.get("diffusion") if isinstance(model, dict) else None
        if isinstance(diffusion, dict) and "schedule_start" not in diffusion and diffusion.get("schedule") in EARLIER:
            curve = EARLIER[diffusion["schedule"]]
            diffusion |= dict(zip(("schedule_start", "schedule_end", "schedule_tau"), curve, strict=True))
    return data


def _map(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map(inner, old, new) for key, inner in value.items()}
    return new if value is old or (isinstance(value, str) and value == old) else value
