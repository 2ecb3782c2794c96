"""A config as TOML and back. TOML has no null, so a null is written as the word "none"."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import tomli_w

from rodin.config import Config
from rodin.presets import load
from rodin.store.errors import StoreError
from rodin.store.reading import read_text


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
        data = tomllib.loads(read_text(path))
        config = data.get("config", data)
        if not config:
            raise ValueError("is empty" if not data else "its table [config] is empty")
        return load(_map(config, "none", None))
    except StoreError:
        raise
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from None


def _map(value: Any, old: Any, new: Any) -> Any:
    if isinstance(value, dict):
        return {key: _map(inner, old, new) for key, inner in value.items()}
    return new if value is old or (isinstance(value, str) and value == old) else value
