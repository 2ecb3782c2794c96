"""The presets: whole configs by name, and how a user's `key=value` changes one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from rodin.config import UNCHECKED, Config
from rodin.presets.demo import DEMO
from rodin.presets.evening import EVENING
from rodin.presets.paper import PAPER
from rodin.presets.small import SMALL
from rodin.presets.tiny import TINY

PRESETS: dict[str, Config] = {config.preset: config for config in (TINY, DEMO, EVENING, SMALL, PAPER)}


def preset(name: str, overrides: Iterable[str] = ()) -> Config:
    """A preset with overrides such as ``fit.steps=500`` laid over it.

    Args:
        name: one of PRESETS.
        overrides: ``key=value`` texts; a value is read as JSON where it is JSON (``3``, ``0.5``, ``true``, ``[1, 2]``,
            ``null``), else as a word.

    Raises:
        ValueError: unknown preset or key (with the nearest name), a wrong type, a value out of range.
    """
    return load(overridden(named(name).model_dump(mode="json"), overrides))


def named(name: str) -> Config:
    """The preset of a name.

    Raises:
        ValueError: unknown; names the nearest one and all there are.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown preset '{name}'{_nearest(name, PRESETS)}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def overridden(data: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Plain data of a whole config with ``key=value`` texts laid over it, in place.

    Raises:
        ValueError: not key=value, or an unknown key, with the nearest name.
    """
    for override in overrides:
        _lay(data, override)
    return data


def whole(data: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data of a config in which keys may be left out: these are the ones of the preset that it names.

    Raises:
        ValueError: keys are left out, and `preset` names no preset.
    """
    if not describe().keys() - _flattened(data).keys():
        return dict(data)
    name = data.get("preset")
    if not isinstance(name, str):
        raise ValueError(
            f"key 'preset' is missing: wanted the preset that all other keys come from, such as preset = \"demo\"; "
            f"there are {', '.join(PRESETS)}"
        )
    return _merged(named(name).model_dump(mode="json"), data)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def load(data: Mapping[str, Any], checked: bool = True) -> Config:
    """A config from plain data (a run's own run.toml, say), with every mistake as one line.

    Args:
        data: section -> key -> value.
        checked: whether the values must also fit together (`rodin.config.checks`), as before a run begins.

    Raises:
        ValueError: names the key, what it got and what is wanted.
    """
    try:
        return Config.model_validate(data, context=None if checked else {UNCHECKED: True})
    except ValidationError as error:
        raise ValueError("; ".join(_sentence(one) for one in error.errors())) from None


def differences(ours: Config, theirs: Config) -> dict[str, tuple[Any, Any]]:
    """The keys in which two configs differ -> (value in ours, value in theirs)."""
    left, right = flat(ours), flat(theirs)
    return {
        key: (left.get(key), right.get(key))
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key)
    }


def flat(config: Config) -> dict[str, Any]:
    """Every key of a config -> its value as plain data; a list is one value."""
    return _flattened(config.model_dump(mode="json"))


def _flattened(data: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def walk(value: Any, prefix: str) -> None:
        if isinstance(value, Mapping):
            for name, inner in value.items():
                walk(inner, f"{prefix}.{name}" if prefix else name)
        else:
            found[prefix] = value

    walk(data, "")
    return found


def describe() -> dict[str, str]:
    """Every key of a config -> its docstring, with unit and source, and the words that it takes where they are few."""
    return dict(_documented(Config, ""))


def _documented(section: type[BaseModel], prefix: str) -> Iterable[tuple[str, str]]:
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _documented(field.annotation, f"{prefix}{name}.")
        else:
            words = [str(word) for word in _words(field.annotation)]
            text = " ".join((field.description or "").split())
            yield prefix + name, f"{text}; one of {', '.join(words)}" if words else text


def _words(annotation: Any) -> Iterator[str]:
    """The words of each Literal in an annotation."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from _words(part)


def _lay(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ValueError(f"--set got '{override}', wanted key=value, such as fit.steps=500")
    *path, last = key.strip().split(".")
    here: Any = data
    for depth, name in enumerate([*path, last]):
        if not isinstance(here, dict) or name not in here:
            raise ValueError(f"unknown key '{key}'{_nearest(key, describe())}; `rodin presets --keys` lists them")
        if depth < len(path):
            here = here[name]
    if isinstance(here[last], dict):
        raise ValueError(f"key '{key}' is a section; set one of {', '.join(f'{key}.{name}' for name in here[last])}")
    try:
        here[last] = json.loads(text)
    except json.JSONDecodeError:
        here[last] = {"none": None, "yes": True, "no": False}.get(text.strip().lower(), text.strip())


def _nearest(word: str, words: Iterable[str]) -> str:
    words = list(words)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    tails = [key for key in words if key.rpartition(".")[2] == word.rpartition(".")[2]]
    best = close or tails
    return f" (did you mean '{best[0]}'?)" if best else ""


def _sentence(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"]) or "config"
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"unknown key '{key}'{_nearest(key, describe())}"
    if error["type"] == "value_error":
        return message
    return f"{key}: got {error['input']!r}, {message[0].lower()}{message[1:]}"
