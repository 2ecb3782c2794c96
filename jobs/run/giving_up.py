"""Shards with a lasting failure: given up where the run may lack their people, so that the stages behind go on."""

from __future__ import annotations

from jobs.run.failures import Failure
from rodin.config import Config
from rodin.stages.missing import give_up
from rodin.store.errors import StoreError
from rodin.store.run_folder import RunFolder


def given_up(folder: RunFolder, config: Config, failure: Failure) -> str | None:
    """Give up a shard that failed for good.

    Args:
        folder: the run.
        config: of the run.
        failure: of the shard. One that a person must mend, or that may pass by itself, gives nothing up.

    Returns:
        One line that says who is missing now; None: the shard is not given up.
    """
    if failure.kind != "crash" or failure.consequence or failure.transient:
        return None
    try:
        ended = give_up(config, folder, failure.stage, failure.shard, failure.line)
    except StoreError:
        return None  # the shard stays as it is, failed
    if ended is None:
        return None
    return (
        f"{failure.stage} shard {failure.shard} is given up without {ended.missing} of its {ended.people} people; "
        f"{ended.in_all} are missing, data.allow_missing allows {ended.allowed}: {failure.line}"
    )
