"""Checks before a run starts: preset, changes, stages and site, with nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobs.graph.graph import NAMES, chosen, graph
from jobs.graph.stage import Stage
from jobs.graph.work import Run
from jobs.launch.process import check_place
from jobs.run.record import check_config
from jobs.site import Site, load_site, local_site
from rodin.config import Config
from rodin.presets import preset
from rodin.presets.toml import from_toml
from rodin.store.run_folder import RunFolder

CLUSTERS = ("local", "slurm")


def prepare(name: str, folder: Path | None, changes: list[str], stages: str, cluster: str, site: Path | None) -> Run:
    """Make the run that a command line describes, with all its checks.

    Args:
        name: preset, or TOML file with a whole config.
        folder: run folder; None: runs/NAME.
        changes: KEY=VALUE changes of the preset.
        stages: names separated by commas; empty: all stages of the config.
        cluster: local or slurm.
        site: site file; None: this machine.

    Raises:
        ValueError: an unknown preset, key, stage or cluster; a run folder of another config; an unfit site.
    """
    check_cluster(cluster)
    config = config_of(name, changes)
    run_folder = RunFolder(folder or Path("runs") / Path(name).stem)
    check_config(run_folder, config)
    selected = graph(config)
    names = [part.strip() for part in stages.split(",") if part.strip()]
    if names:
        sweeps = tuple(name for name in names if name.startswith("sweep-"))
        selected = chosen(graph(config, sweeps), names)
    return runnable(run_folder, config, selected, cluster, site)


def runnable(folder: RunFolder, config: Config, stages: Sequence[Stage], cluster: str, site: Path | None) -> Run:
    """Some stages of a run on a site, checked to have all their inputs.

    Raises:
        ValueError: unknown cluster, unfit site, a path that no job can be given, or a stage whose inputs are neither
            done nor among the stages.
    """
    check_cluster(cluster)
    check_place(folder.path, cluster)
    work = Run(folder, config, site_of(cluster, site), tuple(stages))
    blocked = work.blocked()
    if blocked:
        raise ValueError(blocked)
    return work


def check_cluster(cluster: str) -> None:
    """Refuse an unknown `--cluster`."""
    if cluster not in CLUSTERS:
        raise ValueError(f"--cluster got '{cluster}', wanted {' or '.join(CLUSTERS)}")


def config_of(name: str, changes: list[str]) -> Config:
    """Config of a preset with changes, or of a TOML file."""
    if not name.endswith(".toml"):
        return preset(name, changes)
    if changes:
        raise ValueError("--set goes with a preset; with a TOML file, change the file")
    return from_toml(Path(name))


def site_of(cluster: str, path: Path | None) -> Site:
    """Site of a site file, or this machine as a site."""
    if path is not None:
        return load_site(path, NAMES)
    if cluster == "slurm":
        raise ValueError("--cluster slurm needs --site FILE; slurm/sites/example.toml is one to copy")
    return local_site()
