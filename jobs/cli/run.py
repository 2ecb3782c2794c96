"""`rodin run`, `plan` and `sweep`: what starts work."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.screen import Screen
from jobs.cli.summary import summary, summary_text
from jobs.graph.graph import NAMES, chosen, graph
from jobs.graph.work import Run
from jobs.late import library
from jobs.launch.slurm_client import check_clients
from jobs.plan.networks import network_rows, networks_text
from jobs.plan.plan import plan_rows, plan_text
from jobs.plan.rates import read_rates
from jobs.run.failures import Failed, failures
from jobs.run.lock import driving
from jobs.run.record import check_config, read_config, write_config
from jobs.run.snapshot import take
from jobs.site import Site, load_site, local_site
from jobs.weights import check_weights
from rodin.config import Config
from rodin.presets import preset
from rodin.presets.toml import from_toml
from rodin.store.run_folder import RunFolder

PRESET = Annotated[str, typer.Argument(help="a preset (`rodin presets`), or a TOML file with a whole config")]
RUN = Annotated[Path | None, typer.Option("--run", help="run folder; default runs/PRESET")]
SET = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one key; may be repeated")]
STAGES = Annotated[str, typer.Option("--stages", help="only these, separated by commas")]
CLUSTER = Annotated[str, typer.Option("--cluster", help="local or slurm")]
SITE = Annotated[Path | None, typer.Option("--site", help="site file, slurm/sites/NAME.toml; needed with slurm")]
RATES = Annotated[
    list[Path] | None,
    typer.Option("--rates", metavar="PATH", help="a run, or a bench's --json, whose speeds count; may be repeated"),
]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]


def run(
    name: PRESET,
    folder: RUN = None,
    changes: SET = None,
    stages: STAGES = "",
    cluster: CLUSTER = "local",
    site: SITE = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print what would be sent; write nothing")] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="slurm: submit and exit")] = False,
    refresh_code: Annotated[bool, typer.Option("--refresh-code", help="give the run today's code")] = False,
    as_json: JSON = False,
) -> None:
    """Run a preset to its report; what is done already is kept.

    \b
    Examples:
      rodin run demo
      rodin run tiny --run /scratch/tiny --set fit.steps=50
      rodin run small --stages render,decoder,fit
      rodin run paper --cluster slurm --site slurm/sites/mine.toml --dry-run
    """
    work = prepare(name, folder, changes or [], stages, cluster, site)
    if dry_run:
        print_scripts(work, cluster, as_json)
        return
    if cluster == "slurm":
        check_clients()
    elif no_wait:
        raise ValueError("--no-wait needs --cluster slurm; local stages live in this very command")
    check_weights(work)
    execute(work, cluster, no_wait, refresh_code, as_json)


def prepare(name: str, folder: Path | None, changes: list[str], stages: str, cluster: str, site: Path | None) -> Run:
    """Everything checked that can be, before anything is written.

    Raises:
        ValueError: an unknown preset, key, stage, cluster; a run of another config; a site that does not fit.
    """
    if cluster not in ("local", "slurm"):
        raise ValueError(f"--cluster got '{cluster}', wanted local or slurm")
    config = config_of(name, changes)
    place = RunFolder(folder or Path("runs") / Path(name).stem)
    check_config(place, config)
    wanted = graph(config)
    names = [word.strip() for word in stages.split(",") if word.strip()]
    if names:
        extra = tuple(word for word in names if word.startswith("sweep-"))
        wanted = chosen(graph(config, extra), names)
    work = Run(place, config, site_of(cluster, site), tuple(wanted))
    blocked = work.blocked()
    if blocked:
        raise ValueError(blocked)
    return work


def config_of(name: str, changes: list[str]) -> Config:
    """A preset with changes, or a file's config."""
    if not name.endswith(".toml"):
        return preset(name, changes)
    if changes:
        raise ValueError("--set goes with a preset; with a TOML file, change the file")
    return from_toml(Path(name))


def site_of(cluster: str, path: Path | None) -> Site:
    """The site file's, or this machine."""
    if path is not None:
        return load_site(path, NAMES)
    if cluster == "slurm":
        raise ValueError("--cluster slurm needs --site FILE; slurm/sites/example.toml is one to copy")
    return local_site()


def print_scripts(work: Run, cluster: str, as_json: bool) -> None:
    """What would be sent: the very batch scripts, or the plan of this machine."""
    if cluster == "local":
        print(json.dumps(plan_rows(work), indent=1) if as_json else plan_text(work))
        return
    scripts = library("jobs.launch.scripts", "scripts")(work)
    if as_json:
        print(json.dumps([{"name": name, "script": text} for name, text in scripts], indent=1))
    else:
        print("\n".join(f"### {name}\n{text}" for name, text in scripts))


def execute(work: Run, cluster: str, no_wait: bool, refresh_code: bool, as_json: bool) -> None:
    """Drive a run, then sum it up; a failure is told in one line a cause.

    Raises:
        Failed: something failed that the user cannot mend.
        ValueError: something failed that he can.
    """
    screen = Screen(quiet=as_json)
    begin = time.time()
    with driving(work.folder), terminating():
        write_config(work.folder, work.config)
        if take(work.folder, refresh_code):
            screen.tell("note: the code has changed since this run began; the run keeps its own (--refresh-code)")
        try:
            if cluster == "slurm":
                launcher = library("jobs.launch.slurm", "SlurmLauncher")(work, screen.tell, screen.watcher(work))
                launcher.submit() if no_wait else launcher.drive()
            else:
                library("jobs.launch.local", "LocalLauncher")(work, screen.tell, screen.watcher(work)).drive()
        except Failed as error:
            screen.clear()
            explain(work, error)
    screen.clear()
    found = summary(work, begin)
    print(json.dumps(found) if as_json else summary_text(found))


def explain(work: Run, error: Failed) -> None:
    """Raise what is on record instead of a bare failure."""
    wrong = [one for one in failures(work.folder) if one.stage in {stage.name for stage in work.stages}]
    if not wrong:
        raise error
    others = f" (and {len(wrong) - 1} more: `rodin status {work.folder.path}`)" if len(wrong) > 1 else ""
    sentence = wrong[0].sentence() + others
    raise (ValueError(sentence) if wrong[0].kind == "user" else Failed(sentence)) from None


@contextlib.contextmanager
def terminating() -> Iterator[None]:
    """TERM ends us as Ctrl-C does: workers are told to save first."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def plan(
    name: PRESET,
    folder: RUN = None,
    changes: SET = None,
    stages: STAGES = "",
    cluster: CLUSTER = "local",
    site: SITE = None,
    rates: RATES = None,
    as_json: JSON = False,
) -> None:
    """Print the stages with work, ranks, hours and disk, and the networks' sizes; submit and write nothing.

    Every figure says where it is from: measured (this very work was timed), scaled (other work was, on such cores
    or GPUs), given (by the site file) or estimated (our guess). So first run a little on the machine itself, then plan:

    \b
    Examples:
      rodin plan demo
      rodin plan paper --cluster slurm --site slurm/sites/example.toml
      rodin plan paper --cluster slurm --site mine.toml --rates runs/small
      rodin bench fit --run runs/small --json > speeds.json; rodin plan paper --site mine.toml --rates speeds.json
    """
    work = prepare(name, folder, changes or [], stages, cluster, site)
    known, networks = read_rates(rates or []), network_rows(work.config)
    if as_json:
        sizes = {row["stage"]: row for row in networks}
        print(json.dumps([row | sizes.get(row["stage"], {}) for row in plan_rows(work, known)], indent=1))
    else:
        print(f"{plan_text(work, known)}\n\n{networks_text(networks)}")


def sweep(
    kind: Annotated[str, typer.Argument(help="cfg, resolution, views or convolution")],
    folder: Annotated[Path, typer.Option("--run", help="run folder")],
    cluster: CLUSTER = "local",
    site: SITE = None,
    as_json: JSON = False,
) -> None:
    """Run one of the paper's ablations on a run, then write its report again.

    \b
    Examples:
      rodin sweep resolution --run runs/demo
      rodin sweep convolution --run runs/paper --cluster slurm --site slurm/sites/mine.toml
    """
    kinds = ("cfg", "resolution", "views", "convolution")
    if kind not in kinds:
        raise ValueError(f"unknown sweep '{kind}'; there are {', '.join(kinds)}")
    place = RunFolder(folder)
    config = read_config(place)
    wanted = chosen(graph(config, (f"sweep-{kind}",)), [f"sweep-{kind}", "report"])
    if cluster not in ("local", "slurm"):
        raise ValueError(f"--cluster got '{cluster}', wanted local or slurm")
    work = Run(place, config, site_of(cluster, site), tuple(wanted))
    blocked = work.blocked()
    if blocked:
        raise ValueError(blocked)
    if cluster == "slurm":
        check_clients()
    if work.missing(wanted[0]):
        place.manifest("report").unlink(missing_ok=True)
    execute(work, cluster, no_wait=False, refresh_code=False, as_json=as_json)


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    for command in (run, plan, sweep):
        app.command()(command)
