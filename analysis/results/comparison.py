"""What several runs measured, side by side: each measure of each run, and paired differences from the first run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.results.measures import MEASURES, PROMPTS, Measure
from analysis.results.rows import MissingRows
from analysis.results.statistics import (
    Interval,
    difference_interval,
    difference_of_rates,
    mean_interval,
    paired_rates,
)
from rodin.presets import flat
from rodin.presets.toml import from_run_toml
from rodin.store.manifest import canonical
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.shards.reader import Shards

# of an imported person's metadata: what follows from the config, not from who it is
NOT_WHO = ("caption", "captions", "attributes", "frames", "placing")
NUMBERS = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?")


@dataclass(frozen=True)
class Compared:
    """One measure of one run beside the first run.

    Args:
        measure: what was measured.
        run: name of the run.
        value: its mean with its interval; None: this run did not measure it.
        difference: from the first run, with its interval; None for the first run, and where either did not measure it.
        shared: people, or prompts, that both measured; the difference is theirs, or of all if there are none.
        same: whether the values of all these are equal.
    """

    measure: Measure
    run: str
    value: Interval | None
    difference: Interval | None
    shared: int
    same: bool = False

    @property
    def paired(self) -> bool:
        """Whether the difference is of the same people."""
        return self.shared > 0


def runs_of(paths: Sequence[Path]) -> dict[str, Path]:
    """Name -> folder of the runs to compare, from run folders and folders of runs, such as a grid's.

    Raises:
        FileNotFoundError: a path is neither.
        ValueError: a run comes twice, or there is only one.
    """
    found: list[Path] = []
    for path in paths:
        if RunFolder(path).config_file.is_file():
            found.append(path)
            continue
        inside = [one for one in sorted(path.glob("*"), key=_natural) if RunFolder(one).config_file.is_file()]
        if not inside:
            raise FileNotFoundError(f"{path}: no run there, and no folder of runs (run.toml is missing)")
        found += inside
    places = [path.resolve() for path in found]
    if len(set(places)) < len(places):
        twice = next(path for path in found if places.count(path.resolve()) > 1)
        raise ValueError(f"{twice}: comes twice; wanted different runs")
    if len(found) < 2:
        raise ValueError(f"{found[0]}: is one run; wanted at least two, or the folder of a grid")
    names = [place.name for place in places]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, found, strict=True)}


def _natural(path: Path) -> list[Any]:
    """Sort key by which run-2 comes before run-10."""
    texts = NUMBERS.split(path.name)
    return [*zip(texts, [float(number) for number in NUMBERS.findall(path.name)] + [0.0], strict=True)]


def configs_of(runs: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
    """Key that is not the same in all runs -> its value in each run."""
    configs = {name: flat(from_run_toml(RunFolder(path).config_file)) for name, path in runs.items()}
    keys = sorted({key for config in configs.values() for key in config})
    values = {key: {name: config.get(key) for name, config in configs.items()} for key in keys}
    return {key: of for key, of in values.items() if len({canonical(value) for value in of.values()}) > 1}


def compare(runs: Mapping[str, Path], wanted: Callable[[str], bool] = lambda name: True) -> list[Compared]:
    """Every measure that at least one run has, in each run, beside the first run.

    Args:
        runs: name -> folder; differences are from the first.
        wanted: names of the measures to look at.

    Raises:
        ValueError: a row is damaged; names file and field.
    """
    measured: dict[str, dict[str, tuple[Measure, dict[str, float]]]] = {}
    for name, path in runs.items():
        people = People(path)
        for measure, values in measures_of(path):
            if wanted(measure.name):
                keyed = {people.key(unit): value for unit, value in values.items()} if measure.of_people else values
                measured.setdefault(measure.name, {})[name] = (measure, keyed)
    first, found = next(iter(runs)), []
    for here in measured.values():
        measure = next(iter(here.values()))[0]
        base = here[first][1] if first in here else None
        for run in runs:
            values = here[run][1] if run in here else None
            difference, shared, same = None, list[str](), False
            if run != first and values and base:
                shared = sorted(values.keys() & base.keys())
                difference = _difference(measure, values, base, shared)
                same = bool(shared) and all(values[key] == base[key] for key in shared)
            value = measure.interval(values) if values else None
            found.append(Compared(measure, run, value, difference, len(shared), same))
    return found


def measures_of(run: Path) -> list[tuple[Measure, dict[str, float]]]:
    """Every measure of a run with its values, by person or prompt."""
    found = []
    for section in MEASURES:
        try:
            found += section(run)
        except MissingRows:
            continue
    return found


def _difference(
    measure: Measure, values: Mapping[str, float], base: Mapping[str, float], shared: Sequence[str]
) -> Interval:
    """Mean difference over what both have; without any, between all of both."""
    if measure.unit == PROMPTS:
        if shared:
            return paired_rates([values[key] > 0 for key in shared], [base[key] > 0 for key in shared])
        return difference_of_rates(measure.interval(values), measure.interval(base))
    if shared:
        return mean_interval([values[key] - base[key] for key in shared])
    return difference_interval(list(values.values()), list(base.values()))


class People:
    """Who the people of a run are: an id alone does not tell, as runs of other seeds have the same ids.

    Args:
        run: the run folder.
    """

    def __init__(self, run: Path) -> None:
        folder = RunFolder(run).stage("render")
        self.views = Shards(folder, "views") if manifest_paths(folder) else None

    def key(self, subject: str) -> str:
        """The id with what is known of the person: a rendered one's traits, or an imported one's source."""
        if self.views is None or subject not in self.views:
            return subject
        meta = self.views.meta(subject)
        who = meta.get("attributes") or {key: value for key, value in meta.items() if key not in NOT_WHO}
        return f"{subject} {canonical(who)}"
