"""Stages that a run takes over from other runs instead of making them: which may be, and the taking itself."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.graph.graph import SWEEPS, graph
from jobs.graph.reads import TRAININGS, values_read
from jobs.graph.stage import Stage
from jobs.graph.work import missing
from jobs.run.begun import begun, keep_settings, settings_of, trained_steps
from jobs.run.lock import quiet
from jobs.run.record import read_config
from jobs.run.taken import TakenStage, manifests_of, record_taken
from rodin.config import Config
from rodin.hooks import Progress, no_progress
from rodin.presets import flat
from rodin.store import manifest, results
from rodin.store.errors import OtherVersion, StoreError
from rodin.store.quick_check import problems_of_manifest, problems_of_rows
from rodin.store.reading import read_text
from rodin.store.run_folder import RunFolder
from rodin.store.shards import schema
from rodin.store.shards.catalogue import manifest_paths
from rodin.store.sharing import Shared, share_file, share_folder

REPORT = "report"  # it shows the config and all rows, and is always a run's own
NAMED_KEYS = 2  # keys that differ, named of a stage that is made again


@dataclass(frozen=True)
class Taking:
    """What a run takes over.

    Args:
        stages: stage -> the run that it is taken from, in graph order.
        again: stage that is not taken although a source has it, or has begun it -> why, in a few words.
    """

    stages: dict[str, RunFolder] = field(default_factory=dict)
    again: dict[str, str] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """What is taken from where, and what is made again and why, one line each."""
        by_source: dict[str, list[str]] = {}
        for stage, source in self.stages.items():
            by_source.setdefault(str(source.path), []).append(stage)
        lines = [f"taken over from {source}: {', '.join(stages)}" for source, stages in by_source.items()]
        if self.again:
            lines.append(f"made again: {', '.join(f'{stage} ({why})' for stage, why in self.again.items())}")
        return lines


def taking(folder: RunFolder, config: Config, stages: Sequence[Stage], sources: Sequence[RunFolder]) -> Taking:
    """The stages that a run can take over from others.

    A stage is taken if the source has finished it with the same values of all keys that it follows from, and if every
    stage before it is the source's own too. What the run itself has begun stays.

    Args:
        folder: the run, which need not be there yet.
        config: of the run.
        stages: of the run, in graph order.
        sources: runs to take from; the first that has a stage gives it.

    Raises:
        FileNotFoundError: a source is no run.
        ValueError: a source's run.toml cannot be read, or another version of rodin wrote its files.
    """
    if not sources:
        return Taking()
    there = [(source, read_config(source)) for source in sources]
    held = {stage.name: manifests_of(folder, stage.name) for stage in stages if begun(folder, stage.name)}
    found, again = {}, {}
    for stage in stages:
        if stage.name == REPORT or stage.name in held:
            continue
        reasons = []
        for source, theirs in there:
            why = _why_not(source, theirs, stage, config, held)
            if why is None:
                found[stage.name], held[stage.name] = source, manifests_of(source, stage.name)
                break
            reasons.append(why)
        else:
            again[stage.name] = reasons[0] if reasons else ""
    return Taking(found, again)


def _why_not(
    source: RunFolder, theirs: Config, stage: Stage, config: Config, held: Mapping[str, dict[str, str]]
) -> str | None:
    """Why a stage cannot be taken from a source, in a few words; None: it can."""
    names = [one.name for one in graph(theirs, tuple(sweep.name for sweep in SWEEPS))]
    differ = [] if stage.name not in names else different_keys(source, theirs, stage.name, config)
    if differ:
        more = " and more" if differ[NAMED_KEYS:] else ""
        return f"{', '.join(differ[:NAMED_KEYS])}{more} {'differs' if len(differ) == 1 else 'differ'}"
    for name in stage.after:
        if not held.get(name) or held[name] != manifests_of(source, name):
            return f"follows from {name}"
    if stage.name not in names or missing(source, theirs, stage.name):
        return "not finished there"
    return None


def different_keys(source: RunFolder, theirs: Config, stage: str, config: Config) -> list[str]:
    """Keys that a stage follows from and that differ between a run that has begun it and a config.

    Args:
        source: the run.
        theirs: its config.
        stage: name of the stage.
        config: the other config.
    """
    ours, known = values_read(stage, config), values_read(stage, theirs)
    known |= {key: value for key, value in (settings_of(source, stage) or {}).items() if key in known}
    found = [key for key in ours.keys() | known.keys() if ours.get(key) != known.get(key)]
    asked = flat(config)
    if stage in TRAININGS:
        done = trained_steps(source, stage, asked[f"{stage}.training.batch"])
        if done is not None and done[0] != asked[f"{stage}.training.steps"]:
            found.append(f"{stage}.training.steps")
    if stage == "sweep-convolution" and flat(theirs)["upsample.training.steps"] != asked["upsample.training.steps"]:
        found.append("upsample.training.steps")
    return sorted(found)


def check_source(source: RunFolder, stages: Sequence[str]) -> None:
    """Refuse a source whose stages are damaged or were written by another version of rodin.

    Sizes, manifests and rows are looked at, and the bytes of models; those of shards are checked when they are read.

    Raises:
        ValueError: one line, which names the file.
        StoreError: likewise.
    """
    for stage in stages:
        for path in manifest_paths(source.stage(stage)):
            try:
                content = manifest.read(path)
                shard = content.get("kind") in schema.KINDS
                if shard and content.get("version") != schema.VERSION:
                    raise OtherVersion(f"{path}: shard format {content.get('version')}, wanted {schema.VERSION}")
                problems = problems_of_manifest(path) or ([] if shard else manifest.check_files(path))
            except OtherVersion as problem:
                raise ValueError(
                    f"--from {source.path}: {problem}; a run takes over files of its own rodin only"
                ) from None
            except StoreError as problem:
                problems = [str(problem)]
            _refuse(source, problems)
        for path in rows_of(source, stage):
            _refuse(source, problems_of_rows(source, path))


def _refuse(source: RunFolder, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"--from {source.path}: {problems[0]}")


def rows_of(folder: RunFolder, stage: str) -> list[Path]:
    """Files of result rows that a stage has written; times are the worker's."""
    home = folder.stage(stage)
    made_by = ((path, results.manifest_of(folder, path)) for path in results.row_files(folder))
    return [path for path, by in made_by if by is not None and by.parent == home]


def take_over(
    folder: RunFolder,
    config: Config,
    stages: Sequence[Stage],
    sources: Sequence[RunFolder],
    progress: Progress = no_progress,
) -> dict[str, TakenStage]:
    """Take over what other runs have finished; killed at any moment, the same call goes on.

    Args:
        folder: the run, whose lock this process holds and whose run.toml is written.
        config, stages, sources: as of `taking`.
        progress: called with files done of a stage, files in all and the present one.

    Returns:
        stage -> what was taken.

    Raises:
        ValueError: a source is being run, damaged or of another format; nothing more is taken.
        StoreError: the disk refuses.
    """
    planned, found = taking(folder, config, stages, sources), {}
    for source in dict.fromkeys(planned.stages.values()):
        names = [stage for stage, one in planned.stages.items() if one == source]
        with quiet(source):
            check_source(source, names)
    for stage, source in planned.stages.items():
        with quiet(source):
            found[stage] = _take(folder, config, stage, source, progress)
    return found


def _take(folder: RunFolder, config: Config, stage: str, source: RunFolder, progress: Progress) -> TakenStage:
    """Take over one stage: its rows first, and its folder at once, so that a stage with a manifest has all of it."""
    keep_settings(folder, stage, values_read(stage, config))
    origin, manifests = str(source.path.resolve()), manifests_of(source, stage)
    shared = Shared()
    for path in rows_of(source, stage):
        shared += share_file(path, folder.results / path.name)
    for row in results.read_rows(source, f"timing-{stage}"):
        own = row | {"taken_from": row.get("taken_from", origin)}
        results.write_rows(folder, f"timing-{stage}", int(row["shard"]), [own])
    taken = TakenStage(stage, origin, manifests, code_of(source), time.time())
    record_taken(folder, taken)
    shared += share_folder(source.stage(stage), folder.stage(stage), progress)
    taken = TakenStage(**(vars(taken) | vars(shared)))
    record_taken(folder, taken)
    return taken


def code_of(source: RunFolder) -> dict[str, Any]:
    """The version of the code that a run was begun with, from its run.toml."""
    return tomllib.loads(read_text(source.config_file)).get("code", {})
