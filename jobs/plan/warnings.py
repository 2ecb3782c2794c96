"""What a site lacks for a stage, beyond the figures of a plan: memory, a device, time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.graph.graph import asked_of
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from rodin.units import duration

# Key that makes the elements of an array shorter.
SMALLER_SHARDS = {
    "render": "data.shard_subjects",
    "portraits": "clip.shard_subjects",
    "fit": "data.shard_subjects",
    "sample": "sample.shard_samples",
    "sweep-cfg": "sweeps.shard_subjects",
}


def site_warnings(run: Run, stage: Stage) -> list[str]:
    """One line for each thing that a stage with missing shards needs and the site does not have."""
    if not run.missing(stage):
        return []
    found, site = [], run.site
    asked = asked_of(stage, run.config, site)
    needed, there = asked.memory_gb, site.limits(stage.name, min(asked.gpus, site.gpus_per_node)).memory_gb
    if needed > there:
        found.append(
            f"needs about {needed:.1f} GB on each machine by our estimate, memory_gb_per_node of {site.name} is "
            f"{there:.1f}: it may run out of memory; a better figure goes into [stages.{stage.name}] "
            "of a site file"
        )
    if stage.name in ("render", "portraits") and run.config.data.device != "CPU" and not site.gpus_per_node:
        found.append(f"data.device is {run.config.data.device}, but {site.name} has no GPU; wanted CPU")
    return found


def time_warnings(run: Run, row: Mapping[str, Any]) -> list[str]:
    """One line where an element of a stage takes longer than a job may; none on this machine, which has no limit.

    Args:
        run: the run.
        row: of `jobs.plan.plan.plan_rows`: "stage", "kind", "gpus", "element_seconds".
    """
    site = run.site
    longest = site.limits(row["stage"], row["gpus"]).minutes
    if site.name == "local" or row["element_seconds"] <= 60 * longest:
        return []
    jobs = -(-row["element_seconds"] // (60 * longest))
    key = SMALLER_SHARDS.get(row["stage"])
    return [
        f"{'an element' if row['kind'] == 'array' else 'it'} takes {duration(row['element_seconds'])}, more than "
        f"max_minutes of the site ({longest}): it is requeued and continues, {jobs:.0f} times in all"
        + (f"; requeues is {site.requeues}: too few" if jobs - 1 > site.requeues else "")
        + (f"; fewer people a shard ({key}) make it shorter" if key else "")
    ]
