"""Which of sbatch's choices a user's environment may still make, once the site file has said what it says."""

from __future__ import annotations

import os

from jobs.site import Site

CHOSEN = ("partition", "account", "qos", "reservation", "wckey")  # options that sites make users choose


def asked_cluster(site: Site, stage: str = "") -> str:
    """The cluster, or the clusters, that sbatch is asked to choose from; empty: its own.

    Args:
        site: the cluster's file.
        stage: whose own parameters count too; empty: none.
    """
    said = site.extra_of(stage).get("clusters")
    variables = (os.environ.get(name) for name in ("SBATCH_CLUSTERS", "SLURM_CLUSTERS"))
    return next(filter(None, variables), "") if said is None else str(said)


def chosen_by_environment(site: Site, stage: str, gpus: int) -> list[str]:
    """Variables in which a user may keep an account and the like for all jobs; what the site file says goes first.

    Args:
        site: the cluster's file.
        stage: name of the one that is sent.
        gpus: GPUs of each of its processes; without one, `cpu` counts.
    """
    said = site.said(stage, gpus)
    kept = [f"SBATCH_{name.upper()}" for name in (*CHOSEN, "clusters") if name not in said]
    return kept if "clusters" in said else [*kept, "SLURM_CLUSTERS"]
