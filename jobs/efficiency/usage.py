"""What each stage of a run asked for and used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jobs.efficiency.accounting import DONE, GB, Attempt
from jobs.efficiency.kept import Kept, kept_of, peak_gb
from jobs.graph.graph import NAMES, stage_of
from jobs.run.ledger import Submission
from rodin.config import Config
from rodin.store.results import whole_seconds
from rodin.store.run_folder import RunFolder

SACCT, TIMES = "sacct", "times of the run"
HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class StageUse:
    """What one stage asked for and used; None: not known.

    Args:
        stage: its name.
        source: where the figures come from: sacct, or the run's own times, which know no attempt that failed.
        attempts: allocations of its jobs and elements that began, or rows of its workers.
        ends: state -> attempts that ended so.
        core_hours: allocated: cores x time, of all attempts.
        core_hours_used: CPU time.
        gpu_hours: allocated.
        gpu_hours_used: time in which GPUs computed.
        memory_gb: of a machine, the most that an attempt asked for.
        memory_gb_used: the most that was used on a machine.
        minutes: longest wall time that an attempt asked for.
        minutes_used: longest wall time of an attempt.
        shard_minutes: longest wall time of an element over its shards, all its attempts together.
        usual_minutes: median wall time of a finished shard, without the start of its job.
        wait_seconds: median wait for the start of an attempt.
        unfinished_hours: core hours of attempts that did not end as COMPLETED.
        wasted_hours: the same, less what of them may have been kept: at most so much.
        kept: time in steps that count over the time allocated, 0 to 1.
        mfu: mean share of the GPUs' peak that a training's arithmetic used.
        nodes, ranks, cpus, gpus: of its newest attempt: machines, ranks a machine, cores and GPUs a rank.
        device: on which it ran.
    """

    stage: str
    source: str
    attempts: int
    ends: dict[str, int]
    core_hours: float
    core_hours_used: float | None
    gpu_hours: float
    gpu_hours_used: float | None
    memory_gb: float | None
    memory_gb_used: float | None
    minutes: float | None
    minutes_used: float | None
    shard_minutes: float | None
    usual_minutes: float | None
    wait_seconds: float | None
    unfinished_hours: float
    wasted_hours: float
    kept: float | None
    mfu: float | None
    nodes: int
    ranks: int
    cpus: int
    gpus: int
    device: str


def stage_uses(
    folder: RunFolder, config: Config, sent: Sequence[Submission], known: Sequence[Attempt]
) -> list[StageUse]:
    """What each stage with finished work, or with attempts, asked for and used, in graph order.

    Args:
        folder: of the run.
        config: of the run.
        sent: its submissions.
        known: attempts of their jobs; empty: there is no accounting.
    """
    found = []
    for name in NAMES:
        kept = kept_of(folder, stage_of(name))
        shards = {job: ids for one in sent if one.stage == name for job, ids in one.job_ids().items()}
        jobs = {one.job_id for one in sent if one.stage == name}
        own = [one for one in known if one.job_id.split("_")[0] in jobs and one.seconds > 0]
        if own:
            found.append(of_attempts(name, own, shards, kept))
        elif kept.rows:
            found.append(of_times(name, kept))
    return found


def of_attempts(stage: str, own: Sequence[Attempt], shards: dict[str, tuple[int, ...]], kept: Kept) -> StageUse:
    """What a stage used, by sacct.

    Args:
        stage: its name.
        own: its attempts that began.
        shards: element -> its shards.
        kept: what the run itself tells.
    """
    allocated = sum(one.seconds for one in own)
    core_seconds = sum(one.seconds * one.cpus for one in own)
    unfinished = sum(one.seconds * one.cpus for one in own if one.state not in (DONE, "RUNNING"))
    share = None if kept.seconds is None else min(1.0, kept.seconds / allocated)
    lost = core_seconds * (1.0 - (share or 0.0))
    newest = own[-1]
    ranks, peak = _ranks(newest, kept), [one.memory_bytes for one in own if one.memory_bytes is not None]
    told = () if stage_of(stage).alone else kept.rows  # those of Blender's driver say nothing of Blender
    memory = [value / GB for value in peak] + [peak_gb(row, ranks) for row in told]
    per_rank = newest.nodes * ranks
    return StageUse(
        stage=stage,
        source=SACCT,
        attempts=len(own),
        ends={state: sum(one.state == state for one in own) for state in dict.fromkeys(one.state for one in own)},
        core_hours=core_seconds / HOUR,
        core_hours_used=_total(one.cpu_seconds for one in own),
        gpu_hours=sum(one.seconds * one.gpus for one in own) / HOUR,
        gpu_hours_used=_total(one.gpu_seconds for one in own) if newest.gpus else None,
        memory_gb=_most(None if one.asked_bytes is None else one.asked_bytes / GB for one in own),
        memory_gb_used=max(memory, default=None),
        minutes=_most(one.limit_minutes for one in own),
        minutes_used=max(one.seconds for one in own) / 60,
        shard_minutes=_most([_shard_minutes(own, shards), *(whole_seconds(row) / 60 for row in kept.rows)]),
        usual_minutes=_median([whole_seconds(row) / 60 for row in kept.rows]),
        wait_seconds=_median([one.wait_seconds for one in own if one.wait_seconds is not None]),
        unfinished_hours=unfinished / HOUR,
        wasted_hours=min(unfinished, lost) / HOUR,
        kept=share,
        mfu=kept.mfu,
        nodes=newest.nodes,
        ranks=ranks,
        cpus=kept.rows[-1].get("cpus", 1) if kept.rows else max(1, newest.cpus // per_rank),
        gpus=newest.gpus // per_rank,
        device=_device(kept),
    )


def of_times(stage: str, kept: Kept) -> StageUse:
    """What a stage used, by the rows of its workers: those of finished shards alone."""
    rows, newest = kept.rows, kept.rows[-1]
    allocated = sum(row["seconds"] for row in rows)
    resumed = max(0.0, (kept.seconds or 0.0) - allocated)  # earlier attempts, which left no row
    return StageUse(
        stage=stage,
        source=TIMES,
        attempts=len(rows),
        ends={DONE: len(rows)},
        core_hours=sum((row["seconds"] + resumed / len(rows)) * _cores(row) for row in rows) / HOUR,
        core_hours_used=None,
        gpu_hours=sum(row["seconds"] * row.get("gpus", 0) * row.get("ranks", 1) for row in rows) / HOUR,
        gpu_hours_used=None,
        memory_gb=None,
        memory_gb_used=None if stage_of(stage).alone else _most(peak_gb(row, row.get("ranks", 1)) for row in rows),
        minutes=None,
        minutes_used=max(row["seconds"] for row in rows) / 60,
        shard_minutes=max(whole_seconds(row) for row in rows) / 60,
        usual_minutes=_median([whole_seconds(row) / 60 for row in rows]),
        wait_seconds=None,
        unfinished_hours=0.0,
        wasted_hours=0.0,
        kept=None if kept.seconds is None else min(1.0, kept.seconds / (allocated + resumed)),
        mfu=kept.mfu,
        nodes=1,
        ranks=newest.get("ranks", 1),
        cpus=newest.get("cpus", 1),
        gpus=newest.get("gpus", 0),
        device=_device(kept),
    )


def _cores(row: dict[str, Any]) -> int:
    return row.get("cpus", 1) * row.get("ranks", 1)


def _ranks(newest: Attempt, kept: Kept) -> int:
    """Ranks on each machine: by the run's rows, else by the tasks of the largest step."""
    world = kept.rows[-1].get("ranks") if kept.rows else None
    tasks = max((step.tasks for step in newest.steps if step.name.isdigit()), default=1)
    return max(1, (world or tasks) // newest.nodes)


def _shard_minutes(own: Sequence[Attempt], shards: dict[str, tuple[int, ...]]) -> float | None:
    """Longest time of an element over its shards; of elements that were done in the end, all attempts together."""
    seconds: dict[str, float] = {}
    for one in own:
        seconds[one.job_id] = seconds.get(one.job_id, 0.0) + one.seconds
    done = {one.job_id for one in own if one.state == DONE}
    each = [total / 60 / max(1, len(shards.get(job_id, (0,)))) for job_id, total in seconds.items() if job_id in done]
    return max(each, default=None)


def _device(kept: Kept) -> str:
    return str(kept.rows[-1].get("device", "")) if kept.rows else ""


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _total(values: Iterable[float | None]) -> float | None:
    """Hours; None where nothing is told."""
    told = [value for value in values if value is not None]
    return sum(told) / HOUR if told else None


def _median(values: list[float]) -> float | None:
    return sorted(values)[len(values) // 2] if values else None
