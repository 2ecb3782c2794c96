"""What a config changes in a run that has begun: what is allowed, what is made again, what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.graph.graph import NAMES, SWEEPS, graph
from jobs.graph.reads import TRAININGS, reads, values_read
from jobs.run.begun import begun, keep_settings, reopen, settings_of, trained_steps
from jobs.run.record import read_config, write_config
from rodin.config import Config
from rodin.presets import differences, flat
from rodin.store.run_folder import RunFolder

NAMED_KEYS = 5  # different keys that one message lists


@dataclass(frozen=True)
class Change:
    """Difference between a config and what a run folder was made with.

    Args:
        keys: keys of run.toml that change -> (value there, value asked for).
        refused: one line where a stage that has begun follows from a key that changes; else None.
        longer: trainings that go on -> (steps done, steps asked for).
        again: stages made again, since they follow from a training that goes on, in graph order.
    """

    keys: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    refused: str | None = None
    longer: dict[str, tuple[int, int]] = field(default_factory=dict)
    again: tuple[str, ...] = ()

    @property
    def reopened(self) -> frozenset[str]:
        """Stages that no longer count as done."""
        return frozenset((*self.longer, *self.again))

    def sentence(self) -> str | None:
        """What changes, in one line; None where nothing does."""
        parts = [f"{name} goes on from step {done:,} to {asked:,}" for name, (done, asked) in self.longer.items()]
        if self.again and self.longer:
            parts.append(f"made again, as they follow from it: {', '.join(self.again)}")
        steps = {f"{name}.training.steps" for name in self.longer}
        others = {key: values for key, values in self.keys.items() if key not in steps}
        if others:
            parts.append(f"run.toml changes: {_listed(others)}; no stage that has begun follows from it")
        return "; ".join(parts) or None


def change_of(folder: RunFolder, config: Config) -> Change:
    """What a config changes in a run folder. A stage that has not begun follows from nothing yet."""
    if not folder.config_file.is_file():
        return Change()
    old = read_config(folder)
    asked, there = flat(config), _settings(folder, old)
    pinned: dict[str, tuple[Any, Any]] = {}
    readers: list[str] = []
    for name, values in there.items():
        differ = {key: (value, asked[key]) for key, value in values.items() if key in asked and asked[key] != value}
        if differ:
            pinned |= differ
            readers.append(name)
    longer: dict[str, tuple[int, int]] = {}
    for name in (name for name in TRAININGS if name in there):
        done = trained_steps(folder, name, there[name].get(f"{name}.training.batch") or 1)
        steps = asked[f"{name}.training.steps"]
        if done is not None and done[0] > steps:
            pinned[f"{name}.training.steps"] = (done[0], steps)
            readers.append(name)
        elif done is not None and done[1] and done[0] < steps:
            longer[name] = (done[0], steps)
    keys = differences(old, config)
    refused = _refusal(folder, pinned, list(dict.fromkeys(readers))) if pinned else None
    return Change(keys, refused, longer, _again(old, list(there), set(longer), bool(keys)))


def make_change(folder: RunFolder, config: Config, change: Change) -> None:
    """Make a change that is not refused, and write run.toml; killed at any moment, the same command makes it whole.

    Results go first and run.toml last, so that run.toml never tells a number that was not used.
    """
    if folder.config_file.is_file():
        for name, values in _settings(folder, read_config(folder)).items():
            keep_settings(folder, name, values)
    for name in reversed(change.again):
        reopen(folder, name, keep=False)
    for name in change.longer:
        reopen(folder, name, keep=True)
    write_config(folder, config)


def _names(config: Config) -> list[str]:
    return [stage.name for stage in graph(config, tuple(stage.name for stage in SWEEPS))]


def _settings(folder: RunFolder, config: Config) -> dict[str, dict[str, Any]]:
    """Begun stage -> the values that it was made with: those on record, else those of the run.

    A key that a record does not name came with a later version, and the stage's results follow from what it is by
    default; unless another stage has its value on record: then it is only known later that this stage reads it too.
    """
    known = {name: settings_of(folder, name) for name in _names(config) if begun(folder, name)}
    others = {key: value for values in known.values() for key, value in (values or {}).items()}
    default = Config(preset=config.preset)
    return {
        name: values_read(name, config)
        if values is None
        else values_read(name, default) | {key: value for key, value in (others | values).items() if reads(name, key)}
        for name, values in known.items()
    }


def _again(config: Config, started: list[str], longer: set[str], changed: bool) -> tuple[str, ...]:
    """Begun stages that come after a training that goes on; the report shows the config and follows every change."""
    reached = set(longer)
    for stage in graph(config, tuple(stage.name for stage in SWEEPS)):
        if reached & set(stage.after):
            reached.add(stage.name)
    if changed:
        reached.add("report")
    return tuple(name for name in NAMES if name in reached - longer and name in started)


def _refusal(folder: RunFolder, pinned: dict[str, tuple[Any, Any]], readers: list[str]) -> str:
    shorter = any(key.endswith(".training.steps") for key in pinned)
    return (
        f"{folder.path} is a run of another config: {_listed(pinned)}, and {' and '.join(readers)} "
        f"{'was' if len(readers) == 1 else 'were'} made with it"
        f"{' (a training can go on, not become shorter)' if shorter else ''}; "
        "set it back, or choose another folder with --run"
    )


def _listed(keys: dict[str, tuple[Any, Any]]) -> str:
    listed = [f"{key} is {ours!r} there, asked for {theirs!r}" for key, (ours, theirs) in keys.items()]
    return "; ".join(listed[:NAMED_KEYS]) + (f"; and {len(listed) - NAMED_KEYS} more" if listed[NAMED_KEYS:] else "")
