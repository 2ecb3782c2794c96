"""The graph of stages for a config, in an order in which it may run."""

from __future__ import annotations

import dataclasses

from jobs.graph.stage import Resources, Stage
from jobs.graph.stages import (
    base,
    clip,
    decoder,
    embed,
    evaluate,
    fit,
    imported,
    index,
    latent,
    portraits,
    prior,
    refine,
    render,
    report,
    sample,
    sweeps,
    upsample,
)
from jobs.site import Site
from rodin.config import Config

SWEEPS = (sweeps.GUIDANCE, sweeps.RESOLUTION, sweeps.VIEWS, sweeps.CONVOLUTION)

# The one list of stages: the order of plans, of reports and of submission. Each comes after the stages it reads.
STAGES = (
    render.STAGE,
    imported.STAGE,
    portraits.STAGE,
    clip.STAGE,
    decoder.STAGE,
    embed.STAGE,
    fit.STAGE,
    index.STAGE,
    base.STAGE,
    upsample.STAGE,
    latent.STAGE,
    prior.STAGE,
    refine.STAGE,
    sample.STAGE,
    evaluate.STAGE,
    *SWEEPS,
    report.STAGE,
)
NAMES = [stage.name for stage in STAGES]


def stage_of(name: str) -> Stage:
    """The stage of a name in NAMES, as it is in a graph with every stage."""
    return STAGES[NAMES.index(name)]


def graph(config: Config, extra: tuple[str, ...] = ()) -> list[Stage]:
    """The stages of a config in an order where each comes after what it reads.

    Args:
        config: of the run.
        extra: names of sweeps to add to `sweep-cfg`, which every run has.
    """
    views = "render" if config.data.source == "avatars" else "import"
    absent = {"import" if views == "render" else "render"}
    if config.clip.pretrained is not None:
        absent.add("clip")
    if not config.portrait_count():
        absent.add("portraits")
    if not config.refine.enabled:
        absent.add("refine")
    absent |= {stage.name for stage in SWEEPS} - {"sweep-cfg", *extra}
    stages = [stage for stage in STAGES if stage.name not in absent]
    return [_connected(stage, stages, views, config) for stage in stages]


def _connected(stage: Stage, stages: list[Stage], views: str, config: Config) -> Stage:
    """A stage with `after` as it is among the stages of a config."""
    names = [other.name for other in stages]
    if stage.name == "report":
        return dataclasses.replace(stage, after=tuple(name for name in names if name != "report"))
    after = [views if name == "render" or (name == "clip" and "clip" not in names) else name for name in stage.after]
    after = [name for name in after if name != "portraits" or name in names]
    if stage.name == "upsample" and not config.upsample.latent:
        after.remove("embed")
    if stage.name in ("sample", "sweep-cfg") and "refine" in names:
        after.append("refine")
    return dataclasses.replace(stage, after=tuple(after))


def chosen(stages: list[Stage], names: list[str]) -> list[Stage]:
    """The named stages, in graph order.

    Raises:
        ValueError: a name that is no stage of this config.
    """
    known = [stage.name for stage in stages]
    for name in names:
        if name not in known:
            absent = " (not part of this config)" if name in NAMES else ""
            raise ValueError(f"unknown stage '{name}'{absent}; there are {', '.join(known)}")
    return [stage for stage in stages if stage.name in names]


def asked_of(stage: Stage, config: Config, site: Site) -> Resources:
    """Resources that a stage asks for: its own estimate, overridden by the site file, whatever the site's limits.

    Raises:
        ValueError: the site file asks for several ranks of a stage whose elements are one process each.
    """
    resources = stage.resources(config, site)
    if stage.name not in site.stages:
        return resources
    names = [field.name for field in dataclasses.fields(Resources)]
    overrides = site.stages[stage.name].model_dump(exclude_none=True, include=set(names))
    ranks = overrides.get("ranks", resources.ranks)
    world = ranks * overrides.get("nodes", resources.nodes)
    if world > 1 and stage.kind in ("array", "one") and not stage.shared:
        raise ValueError(
            f"site {site.name}: [stages.{stage.name}] asks for {world} ranks, but an element of {stage.name} is one "
            "process; take nodes and ranks away there, cpus gives it more cores"
        )
    resources = dataclasses.replace(resources, memory_gb=resources.memory_gb * ranks / resources.ranks)
    if stage.shared:
        resources = dataclasses.replace(resources, minutes=resources.minutes * resources.world / world)
    return dataclasses.replace(resources, **overrides)


def resources_of(stage: Stage, config: Config, site: Site) -> Resources:
    """Resources of a stage on a site: what it asks for, within the limits of the site."""
    resources = asked_of(stage, config, site)
    ranks = 1 if stage.kind == "mpi" and site.mpi == "none" else resources.ranks
    if site.mpi == "mpiexec":  # one machine
        resources = dataclasses.replace(resources, nodes=1)
    gpus = min(resources.gpus, site.gpus_per_node // ranks)
    limits = site.limits(stage.name, gpus)
    return dataclasses.replace(
        resources,
        ranks=ranks,
        cpus=max(1, min(resources.cpus, limits.cpus // ranks)),
        gpus=gpus,
        memory_gb=min(resources.memory_gb, limits.memory_gb),
    )
