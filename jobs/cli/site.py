"""`rodin site`: the site file of a cluster."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, path_option
from jobs.cli.screen import Screen
from jobs.graph.graph import NAMES
from jobs.launch.slurm_client import check_clients
from jobs.site import load_site
from jobs.survey.cluster import ask_cluster
from jobs.survey.site_file import site_text
from rodin.store.atomic import publish_bytes

site = typer.Typer(name="site", help="Describe a cluster to rodin.", rich_markup_mode=None)


@site.callback()
def options() -> None:
    """Describe a cluster to rodin."""


@site.command()
def init(
    output: Annotated[Path | None, path_option("--output", help="file to write; default: print it")] = None,
    as_json: JSON = False,
) -> None:
    """Write a site file with what the cluster says of itself: partitions, machines, limits, accounts, MPI.

    It asks scontrol, sinfo, srun and, where there is accounting, sacctmgr; run it on a login node. What it could not
    learn is a comment that names the command which tells it.

    \b
    Examples:
      rodin site init
      rodin site init --output mine.toml
    """
    if output is not None and output.exists():
        raise ValueError(f"{output}: is there already; move it away, or choose another --output")
    check_clients()
    screen = Screen(quiet=as_json)
    cluster = ask_cluster(screen.meter("asking"))
    screen.clear()
    text = site_text(cluster, datetime.date.today().isoformat())
    if output is not None:
        publish_bytes(output, text.encode())
        load_site(output, NAMES)
    if as_json:
        print(json.dumps({"output": None if output is None else str(output), "text": text, "untold": cluster.silent}))
    elif output is None:
        print(text, end="")
    else:
        print(f"{output}: {cluster.name}; look through it, then `rodin doctor --site {output}`")
        for question, why in cluster.silent.items():
            screen.note(f"note: `{question}` told nothing: {why}")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(site)
