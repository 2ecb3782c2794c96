"""Shards that no attempt could finish: where the config allows it, they are published without the people they lack.

The stages behind read such a shard like any other; who is missing, and why, stands in its manifest.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from rodin.config import Config
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import catalogue

if TYPE_CHECKING:  # the command line reads this module without h5py and numpy
    from rodin.store.shards.writer import ShardWriter

STAGES = ("render", "portraits", "fit")  # whose rows are people, any of whom the stages behind can do without


@dataclass(frozen=True)
class GivenUp:
    """What became of a shard that was given up.

    Args:
        missing: people that the shard lacks.
        people: of the shard.
        in_all: people that the stage's shards lack so far.
        allowed: people that the stage may lack.
    """

    missing: int
    people: int
    in_all: int
    allowed: int


def give_up(config: Config, folder: RunFolder, stage: str, shard: int, reason: str) -> GivenUp | None:
    """Publish a shard without the people that it lacks; rows that attempts finished are kept.

    Args:
        config: the run's config; `data.allow_missing` is the share of a stage's people that may be missing.
        folder: the run.
        stage: any; only `render`, `portraits` and `fit` can lack people.
        shard: number of a shard of it that is not done and that nobody works at.
        reason: why its people are missing.

    Returns:
        None where so many may not be missing; then nothing is published.

    Raises:
        StoreError: rows cannot be read or the disk refuses.
    """
    if stage not in STAGES or not config.data.allow_missing:
        return None
    people = sum(len(config.subjects_of(stage, number)) for number in range(config.shards(stage)))
    allowed = int(config.data.allow_missing * people)
    before = sum(len(entry.failed) for entry in catalogue(folder.stage(stage)))
    writer: ShardWriter
    with import_module(f"rodin.stages.{stage}").shard_writer(config, folder, shard) as writer:
        missing = writer.missing()
        if before + len(missing) > allowed:
            return None
        for subject in missing:
            writer.fail(subject, reason)
        writer.publish()
    return GivenUp(len(missing), len(writer.subjects), before + len(missing), allowed)
