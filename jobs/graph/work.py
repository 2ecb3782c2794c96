"""Remaining work of a run, and how it is divided into elements of job arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.graph.graph import NAMES, STAGES, graph, resources_of
from jobs.graph.stage import Resources, Stage
from jobs.site import Site
from rodin.config import Config
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import manifest_paths

ELEMENT_MINUTES = 60.0  # an element takes several shards up to about this long: long against the start of a job


@dataclass(frozen=True)
class Run:
    """A run folder, its config, and the stages to run on a site.

    Args:
        folder: of the run.
        config: of the run.
        site: where it runs.
        stages: the requested ones, in graph order.
        reopened: names of stages that count as not done, whatever lies in the folder.
        taken: names of stages that it will have taken over from other runs; they count as done.
    """

    folder: RunFolder
    config: Config
    site: Site
    stages: tuple[Stage, ...]
    reopened: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()

    def resources(self, stage: Stage) -> Resources:
        """Resources of a stage on this site."""
        return resources_of(stage, self.config, self.site)

    def ancestors(self, stage: Stage) -> list[str]:
        """Names of all stages that a stage follows from, however far, in graph order.

        A stage behind a whole one still waits for the jobs of those before: one of them may be made again.
        """
        after = {one.name: one.after for one in (*STAGES, *graph(self.config), *self.stages)}
        found, waiting = set[str](), list(stage.after)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += after.get(name, ())
        return [name for name in NAMES if name in found]

    def missing(self, stage: Stage) -> list[int]:
        """Shards without a manifest."""
        return self._missing(stage.name)

    def _missing(self, name: str) -> list[int]:
        if name in self.reopened:
            return list(range(self.config.shards(name)))
        if name in self.taken:
            return []
        return missing(self.folder, self.config, name)

    def done(self) -> bool:
        """Whether every requested stage is complete."""
        return not any(self.missing(stage) for stage in self.stages)

    def blocked(self) -> str | None:
        """One line where a requested stage reads a stage that is neither complete nor requested; else None."""
        requested = {stage.name for stage in self.stages}
        for stage in self.stages:
            if not self.missing(stage):
                continue
            for name in stage.after:
                if name not in requested and stage.name != "report" and self._missing(name):
                    return f"stage '{stage.name}' reads '{name}', which is not done; add it to --stages"
        return None


def missing(folder: RunFolder, config: Config, name: str) -> list[int]:
    """Shards of a stage without a manifest.

    Raises:
        Unreadable: the operating system does not let the stage's folder be listed.
    """
    present = {path.stem for path in manifest_paths(folder.stage(name))}
    return [shard for shard in range(config.shards(name)) if f"{shard:05d}" not in present]


def deal(shards: Sequence[int], elements: int) -> list[tuple[int, ...]]:
    """Divide shards into elements: neighbours together, sizes as equal as possible.

    Example:
        >>> deal([0, 1, 2, 3, 4], 2)
        [(0, 1, 2), (3, 4)]
    """
    elements = max(1, min(elements, len(shards)))
    size, extra = divmod(len(shards), elements)
    ends = [size * (number + 1) + min(extra, number + 1) for number in range(elements)]
    return [tuple(shards[begin:end]) for begin, end in zip([0, *ends], ends, strict=False) if end > begin]


def element_count(shards: int, minutes_each: float, site: Site) -> int:
    """Number of elements: a shard each up to the throttle, beyond it as many shards as last ELEMENT_MINUTES."""
    pack = max(1, min(math.ceil(shards / site.throttle), int(ELEMENT_MINUTES / max(minutes_each, 1e-6))))
    return math.ceil(shards / pack)
