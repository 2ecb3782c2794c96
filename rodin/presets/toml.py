"""A config as TOML and back. TOML has no null, so a null is written as the word "none"."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from rodin.config import Config
from rodin.presets import load


def to_toml(config: Config) -> str:
    """The whole config, defaults included, as TOML text."""
    return tomli_w.dumps(_map(config.model_dump(mode="json"), None, "none"))


def from_toml(path: Path) -> Config:
    """A config from a TOML file whose top level, or whose table `config`, is one.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not TOML, or not a config; names the file and the key.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted a config in TOML")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        return load(_map(data.get("config", data), "none", None))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def _map(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map(inner, old, new) for key, inner in value.items()}
    return new if value is old or (isinstance(value, str) and value == old) else value
