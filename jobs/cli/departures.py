"""`rodin departures`: the list of departures from the paper."""

from __future__ import annotations

import json
from dataclasses import asdict

import typer

from jobs.cli.options import JSON
from rodin.config.departures import departures


def show_departures(as_json: JSON = False) -> None:
    """Print every departure from the paper and every addition to it, one a line, with its place in the code.

    \b
    Examples:
      rodin departures
      rodin departures --json
    """
    found = departures()
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=1))
        return
    for one in found:
        print(f"{one.where}: {one.name}: {one.text}")


def add_to(app: typer.Typer) -> None:
    """Add this command to the command line."""
    app.command(name="departures")(show_departures)
