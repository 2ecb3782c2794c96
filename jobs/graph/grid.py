"""Grids: all combinations of values of some keys, as runs with short names, and which of them makes which stage."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.graph.graph import NAMES, graph
from jobs.graph.reads import TRAININGS, reads, values_read
from jobs.graph.taking import REPORT
from rodin.config import Config
from rodin.presets import flat
from rodin.store.manifest import canonical

MOST_RUNS = 100  # of a grid: more are hardly meant, and their folders hardly looked through
LONGEST_NAME = 80  # characters of a run's name; file systems have 255 bytes, and logs lie below
HASH = 8  # characters of the hash in a name that is cut: two of a hundred names agree once in 10⁶ grids
OPENING, CLOSING = "[{", "]}"


@dataclass(frozen=True)
class Combination:
    """One run of a grid.

    Args:
        name: of its folder.
        values: swept key -> its value, as plain data.
        config: of the run.
    """

    name: str
    values: dict[str, Any]
    config: Config

    def sentence(self) -> str:
        """The values as text: `base.training.lr=0.0001, triplane.channels=8`."""
        return ", ".join(f"{key}={json.dumps(value)}" for key, value in self.values.items())


def axes_of(changes: Sequence[str]) -> dict[str, list[str]]:
    """Key -> texts of its values, from texts such as ``base.training.lr=1e-4,2e-4``.

    Raises:
        ValueError: no KEY=VALUE, a key twice, or an empty value.
    """
    axes: dict[str, list[str]] = {}
    for change in changes:
        key, equals, text = change.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ValueError(f"--set got '{change}', wanted KEY=VALUE,VALUE, such as base.training.lr=1e-4,2e-4")
        if key in axes:
            raise ValueError(f"--set has '{key}' twice; give all of its values at once, separated by commas")
        axes[key] = split_values(text)
        if not all(axes[key]):
            raise ValueError(f"--set got '{change}', with an empty value; wanted values separated by single commas")
    return axes


def split_values(text: str) -> list[str]:
    """Texts between the commas that are not inside brackets or quotes.

    Example:
        >>> split_values("[8],[8, 16]")
        ['[8]', '[8, 16]']
    """
    parts, depth, quoted = [""], 0, False
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in OPENING) - (letter in CLOSING)
        if letter == "," and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def combinations(
    axes: dict[str, list[str]], zipped: bool, config_of: Callable[[list[str]], Config]
) -> list[Combination]:
    """The runs of a grid.

    Args:
        axes: key -> texts of its values, as of `axes_of`; a key with a single value is the same in all runs.
        zipped: the first values of all keys together, then the second ones, and so on; else all combinations.
        config_of: ``key=value`` texts -> config.

    Raises:
        ValueError: nothing is swept, too many runs, lists of different lengths, a key that changes no result, two equal
            runs, or a config that cannot be.
    """
    swept = [key for key, texts in axes.items() if len(texts) > 1]
    if not swept:
        raise ValueError("no key has two values, so there is nothing to sweep; wanted --set KEY=VALUE,VALUE")
    lengths = {key: len(axes[key]) for key in swept}
    count = 1
    for length in lengths.values():
        count = max(count, length) if zipped else count * length
    if zipped and len(set(lengths.values())) > 1:
        listed = ", ".join(f"{key} has {length}" for key, length in lengths.items())
        raise ValueError(f"--zip takes one value of each key at a time, but {listed}; give as many of each")
    if count > MOST_RUNS:
        raise ValueError(f"{count:,} combinations, wanted at most {MOST_RUNS}; leave out values, or make several grids")
    fixed = [f"{key}={texts[0]}" for key, texts in axes.items() if len(texts) == 1]
    configs = []
    for number in range(count) if zipped else itertools.product(*(range(length) for length in lengths.values())):
        places = [number] * len(swept) if isinstance(number, int) else number
        changes = [f"{key}={axes[key][place]}" for key, place in zip(swept, places, strict=True)]
        configs.append(config_of([*fixed, *changes]))
    for key in swept:
        _check_key(key)
    return _named(swept, configs)


def _check_key(key: str) -> None:
    if key.endswith(".training.steps") or any(reads(stage, key) for stage in NAMES):
        return
    raise ValueError(
        f"key '{key}' changes no result, at most how fast it comes: the runs would be equal; sweep another"
    )


def _named(swept: Sequence[str], configs: Sequence[Config]) -> list[Combination]:
    values = [{key: flat(config)[key] for key in swept} for config in configs]
    seen: set[str] = set()
    for one in values:
        if (text := canonical(one)) in seen:
            raise ValueError(f"two runs of the grid are the same: {Combination('', one, configs[0]).sentence()}")
        seen.add(text)
    words = short_keys(swept)
    names = ["_".join(f"{words[key]}-{value_word(value)}" for key, value in one.items()) for one in values]
    found = []
    for name, one, config in zip(names, values, configs, strict=True):
        if len(name) > LONGEST_NAME or names.count(name) > 1:
            mark = hashlib.sha256(canonical(one).encode()).hexdigest()[:HASH]
            name = f"{name[: LONGEST_NAME - HASH - 1]}-{mark}"
        found.append(Combination(name, one, config))
    return found


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Key -> a short word for it that no other of the keys has: `lr`, or `base.lr` beside `prior.lr`, or all of it."""
    forms = [(key.rpartition(".")[2], f"{key.split('.')[0]}.{key.rpartition('.')[2]}", key) for key in keys]
    return {
        one[-1]: next(word for place, word in enumerate(one) if [other[place] for other in forms].count(word) == 1)
        for one in forms
    }


def value_word(value: Any) -> str:
    """A value as a part of a file's name: letters, digits, `.`, `+` and `-` only."""
    if isinstance(value, list):
        return "-".join(value_word(one) for one in value) or "empty"
    text = repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return re.sub(r"[^A-Za-z0-9.+-]", "-", text)


def signatures(config: Config) -> dict[str, str]:
    """Stage -> hash of all that its result follows from; equal hashes mean equal results."""
    values = flat(config)
    found: dict[str, str] = {}
    for stage in graph(config):
        if stage.name == REPORT:
            continue
        own = values_read(stage.name, config)
        if stage.name in TRAININGS:
            own |= {"steps": values[f"{stage.name}.training.steps"]}
        before = [found[name] for name in stage.after]
        found[stage.name] = hashlib.sha256(canonical([stage.name, own, before]).encode()).hexdigest()
    return found


def makers(configs: Sequence[Config]) -> list[dict[str, int]]:
    """For each run: stage -> number of the run that makes it, the first of those with an equal one."""
    first: dict[str, int] = {}
    found = []
    for number, config in enumerate(configs):
        found.append({stage: first.setdefault(mark, number) for stage, mark in signatures(config).items()})
    return found
