"""Checks before a run starts: preset, changes, stages and site, with nothing written."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.graph.changes import Change, change_of
from jobs.graph.graph import NAMES, chosen, graph
from jobs.graph.stage import Stage
from jobs.graph.taking import taking
from jobs.graph.work import Run
from jobs.launch.process import check_place
from jobs.plan.warnings import site_warnings
from jobs.run.private import check_private
from jobs.run.record import check_folder
from jobs.run.taken import all_taken
from jobs.site import Site, load_site, local_site, visible_gpus
from rodin.config import Config
from rodin.config.checks import faults_of_stages, notes
from rodin.presets import preset
from rodin.presets.toml import from_toml
from rodin.store.run_folder import RunFolder

CLUSTERS = ("local", "slurm")


def prepare(
    name: str | None,
    folder: Path | None,
    changes: list[str],
    stages: str | None,
    cluster: str,
    site: Path | None,
    source: Path | None = None,
) -> tuple[Run, Change]:
    """Make the run that a command line describes, with all its checks.

    Args:
        name: preset, or TOML file that names a preset and changes some of its keys; None: as `source`.
        folder: run folder; None: runs/NAME.
        changes: KEY=VALUE changes of the preset or of the file.
        stages: names separated by commas; None: all stages of the config.
        cluster: local or slurm.
        site: site file; None: this machine.
        source: a run whose finished stages are taken over.

    Returns:
        the run, and what its config changes in a folder of an earlier run; `Change.refused` is left to the caller.

    Raises:
        ValueError: an unknown preset, key, stage or cluster; a config that cannot run; an unfit site.
    """
    check_cluster(cluster)
    name = named(name, folder, source)
    config = config_of(name, changes)
    names = stage_names(stages)
    sweeps = tuple(name for name in names if name.startswith("sweep-"))
    selected = chosen(graph(config, sweeps), names) if names else graph(config)
    if found := faults_of_stages(config, [stage.name for stage in selected]):
        raise ValueError("; ".join(found))
    run_folder = RunFolder(folder or Path("runs") / Path(name).stem)
    change = change_of(run_folder, config)
    if change.refused is not None:  # a plan of it is one of a new run
        return Run(run_folder, config, site_of(cluster, site), tuple(selected), frozenset(NAMES)), change
    taken = frozenset(taking(run_folder, config, graph(config, sweeps), sources_of(run_folder, source)).stages)
    return runnable(run_folder, config, selected, cluster, site, change.reopened, taken), change


def named(name: str | None, folder: Path | None, source: Path | None) -> str:
    """The preset or TOML file of a command line, which --from may stand for.

    Raises:
        ValueError: neither is given, or no folder for a run like another one.
    """
    if name is not None:
        return name
    if source is None:
        raise ValueError("Missing argument 'NAME': a preset (`rodin presets`), a TOML file, or --from RUN")
    if folder is None:
        raise ValueError(f"--run is missing: the folder of the new run, which takes over stages of {source}")
    like = next((run for run in (source, folder) if RunFolder(run).config_file.is_file()), source)
    return str(RunFolder(like).config_file)


def sources_of(folder: RunFolder, source: Path | None) -> list[RunFolder]:
    """The run of `--from`; none where there is no such option, or where all was taken from a run that is gone now.

    Raises:
        FileNotFoundError: no run lies there.
        ValueError: it is the run itself.
    """
    if source is None:
        return []
    if folder.path.resolve() == source.resolve():
        raise ValueError(f"--from {source}: is the run itself; choose another folder with --run")
    if not RunFolder(source).config_file.is_file():
        if any(str(source.resolve()) == one.source for one in all_taken(folder)):
            return []
        raise FileNotFoundError(f"--from {source}: no run there (run.toml is missing)")
    return [RunFolder(source)]


def stage_names(text: str | None) -> list[str]:
    """The names in the value of `--stages`; an empty list where the option is absent.

    Raises:
        ValueError: the option is there, but no name.
    """
    names = [part.strip() for part in (text or "").split(",") if part.strip()]
    if text is not None and not names:
        raise ValueError(f"--stages got '{text}', wanted names of stages separated by commas, such as render,fit")
    return names


def runnable(
    folder: RunFolder,
    config: Config,
    stages: Sequence[Stage],
    cluster: str,
    site: Path | None,
    reopened: frozenset[str] = frozenset(),
    taken: frozenset[str] = frozenset(),
) -> Run:
    """Some stages of a run on a site, checked to have all their inputs.

    Raises:
        ValueError: unknown cluster, unfit site, a path that no job can be given, or a stage whose inputs are neither
            done nor among the stages.
    """
    check_cluster(cluster)
    check_place(folder.path, cluster)
    check_private(folder.jobs / "logs" / "workers")
    work = Run(folder, config, site_of(cluster, site), tuple(stages), reopened, taken)
    blocked = work.blocked()
    if blocked:
        raise ValueError(blocked)
    return work


def check_machine(work: Run) -> None:
    """Refuse to run here what asks for more than this machine has, as by the site file of a cluster.

    Raises:
        ValueError: names the first such stage that is not done, and the option that sends it to the cluster.
    """
    cpus, gpus = len(os.sched_getaffinity(0)), len(visible_gpus())
    for stage in work.stages:
        asked = work.resources(stage)
        needed = asked.cpus * asked.ranks, asked.gpus * asked.ranks
        if (needed[0] > cpus or needed[1] > gpus) and work.missing(stage):
            raise ValueError(
                f"stage '{stage.name}' asks for {needed[0]} cores and {needed[1]} GPUs on site {work.site.name}, and "
                f"this machine has {cpus} and {gpus}; add --cluster slurm to send it there, or leave out --site"
            )


def notes_of(work: Run) -> list[str]:
    """What a user should know of a run before it begins, one line each."""
    found = notes(work.config, [stage.name for stage in work.stages])
    return found + [f"{stage.name}: {warning}" for stage in work.stages for warning in site_warnings(work, stage)]


def tell(lines: list[str], change: Change) -> None:
    """Print notes on stderr, and what a config would change in a run folder, where nothing is done about it."""
    told = f"planned as a new run: {change.refused}" if change.refused else change.sentence()
    for line in [*lines, *([told] if told else [])]:
        print(f"note: {line}", file=sys.stderr)


def check_change(folder: RunFolder, change: Change) -> None:
    """Refuse a folder that is no run's, or a run of another config.

    Raises:
        ValueError: names the file, or the keys and the stages that were made with others.
    """
    check_folder(folder)
    if change.refused is not None:
        raise ValueError(change.refused)


def check_cluster(cluster: str) -> None:
    """Refuse an unknown `--cluster`."""
    if cluster not in CLUSTERS:
        raise ValueError(f"--cluster got '{cluster}', wanted {' or '.join(CLUSTERS)}")


def config_of(name: str, changes: list[str]) -> Config:
    """Config of a preset or of a TOML file, with changes."""
    return from_toml(Path(name), changes) if name.endswith(".toml") else preset(name, changes)


def site_of(cluster: str, path: Path | None) -> Site:
    """Site of a site file, or this machine as a site."""
    if path is not None:
        return load_site(path, NAMES)
    if cluster == "slurm":
        raise ValueError("--cluster slurm needs --site FILE; slurm/sites/example.toml is one to copy")
    return local_site()
