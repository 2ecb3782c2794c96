"""What a plan should say of a run on a site, beyond its figures: stages that the site has no room or no time for."""

from __future__ import annotations

from jobs.graph.graph import asked_of
from jobs.graph.stage import Stage, whole_minutes
from jobs.graph.work import Run, element_count
from rodin.units import duration


def site_notes(run: Run) -> list[str]:
    """One line for each missing stage that needs more memory or a device that the site does not have."""
    found = []
    for stage in run.stages:
        if not run.missing(stage):
            continue
        needed, there = asked_of(stage, run.config, run.site).memory_gb, run.site.memory_gb_per_node
        if needed > there:
            found.append(
                f"{stage.name} needs about {needed:.0f} GB on each machine by our estimate, {run.site.name} has "
                f"{there:.0f}; fewer ranks or smaller values need less, and memory_gb in [stages.{stage.name}] of the "
                "site file tells a better figure"
            )
        if stage.name == "render" and run.config.data.device != "CPU" and not run.site.gpus_per_node:
            found.append(f"data.device is {run.config.data.device}, but {run.site.name} has no GPU: Blender will fail")
    return found
