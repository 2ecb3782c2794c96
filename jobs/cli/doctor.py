"""`rodin doctor`: checks of this machine, or of a cluster and its site file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, path_option
from jobs.cli.run import terminating
from jobs.cli.screen import Screen
from jobs.doctor.finding import Finding, merged
from jobs.graph.graph import NAMES, graph
from jobs.graph.work import Run
from jobs.launch.slurm_client import check_clients
from jobs.run.record import read_config
from jobs.site import load_site, local_site
from jobs.weights import needed_weights
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

WAIT_SECONDS = 300.0  # for the job to begin: longer than a moment's crowd, shorter than a coffee
PRESET = "small"  # whose stages are asked for where no run is named: the smallest that is meant for a cluster


def doctor(
    site: Annotated[
        Path | None, path_option("--site", help="site file of the cluster to check; default: this machine")
    ] = None,
    run: Annotated[Path | None, path_option("--run", help="run folder; its file system and its config count")] = None,
    wait: Annotated[
        float, typer.Option("--wait", min=0, help="seconds to wait for the job to begin; 0: submit none")
    ] = WAIT_SECONDS,
    as_json: JSON = False,
) -> None:
    """Check this machine, or with --site a cluster: one line a check, ok, warn or FAIL, and what to mend.

    With --site a small job on up to two machines tells whether files, locks and clocks are shared, whether MPI, torch,
    the GPUs and an all-reduce work, and what limits and scratch space there are. It has a time limit, and is cancelled
    if it does not begin. Exit status 1: something FAILs.

    \b
    Examples:
      rodin doctor
      rodin doctor --site mine.toml
      rodin doctor --site mine.toml --run runs/small --json
    """
    from jobs.doctor.examination import work_folder  # here: it loads HDF5, which other commands should not wait for

    if site is not None:
        check_clients()
    here = local_site() if site is None else load_site(site, NAMES)
    place = RunFolder(run or Path("runs"))
    begun = place.config_file.is_file()
    config = read_config(place) if begun else preset(PRESET)
    if run is not None and not begun:
        print(f"note: {run}: no run there yet; the stages of preset {PRESET} are asked for", file=sys.stderr)
    work = Run(place, config, here, tuple(graph(config)))
    needs = {name: purpose for name, purpose, _ in needed_weights(work)} if run is not None else {}
    screen, findings = Screen(quiet=as_json), list[Finding]()
    with terminating(), work_folder(place.path) as folder:
        for one in _findings(work, folder, needs, wait, screen, local=site is None):
            findings.append(one)
            if not as_json:
                screen.clear()
                print(text(one), flush=True)
    findings = merged(findings)
    if as_json:
        print(json.dumps([asdict(one) for one in findings], indent=1))
    else:
        print(verdict(findings))
    if any(one.level == "FAIL" for one in findings):
        raise typer.Exit(1)


def _findings(
    work: Run, folder: Path, needs: dict[str, str], wait: float, screen: Screen, local: bool
) -> Iterator[Finding]:
    from jobs.doctor.examination import of_cluster, of_this_machine

    if local:
        yield from of_this_machine(work, folder, needs, screen.show)
    else:
        yield from of_cluster(work, folder, needs, wait, screen.show)


def text(one: Finding) -> str:
    """One finding as one line, and what to mend."""
    where = f" on {one.where}" if one.where else ""
    mend = f"; {one.mend}" if one.mend else ""
    return f"{one.level:<4}  {one.check}{where}: {one.line}{mend}"


def verdict(findings: list[Finding]) -> str:
    """The last line: how many of each."""
    counts = {level: sum(one.level == level for one in findings) for level in ("ok", "warn", "FAIL")}
    what = "nothing stands in the way" if not counts["FAIL"] else "mend what FAILs, then run this again"
    return f"{counts['ok']} ok, {counts['warn']} warn, {counts['FAIL']} FAIL: {what}"


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command()(doctor)
