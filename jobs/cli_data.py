"""`rodin store`, `weights` and `presets`: what a run rests on and how it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.late import library
from jobs.lock import driving
from jobs.record import read_config
from jobs.screen import Screen
from jobs.weights import KNOWN, fetch, find, rows
from rodin.presets import PRESETS, describe, preset
from rodin.presets.toml import to_toml
from rodin.store.run_folder import RunFolder
from rodin.store.weights import weights_folder

JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
RUN = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]

store = typer.Typer(help="Look after a run's stores.", rich_markup_mode=None)
weights = typer.Typer(help="Pretrained weights.", rich_markup_mode=None)


@store.command("verify")
def verify(run: RUN, as_json: JSON = False) -> None:
    """Hold every shard, checkpoint and table of a run against its manifest; exit 2 on damage.

    \b
    Example:
      rodin store verify runs/demo
    """
    folder = RunFolder(run)
    read_config(folder)
    screen = Screen(quiet=as_json)
    problems: list[str] = library("rodin.store.repair", "verify")(folder, screen.meter("verify"))
    screen.clear()
    if as_json:
        print(json.dumps({"run": str(run), "problems": problems}, indent=1))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise ValueError(f"{problems[0]}{more}; `rodin store repair {run}` sets what is damaged aside")
    if not as_json:
        print(f"{run}: everything is whole")


@store.command("repair")
def repair(run: RUN, as_json: JSON = False) -> None:
    """Set damaged shards aside, so that the next `rodin run` makes them again.

    \b
    Example:
      rodin store repair runs/demo
    """
    folder = RunFolder(run)
    read_config(folder)
    screen = Screen(quiet=as_json)
    with driving(folder):
        problems = library("rodin.store.repair", "repair")(folder, screen.meter("verify"))
    screen.clear()
    if as_json:
        print(json.dumps({"run": str(run), "problems": problems}, indent=1))
    else:
        for problem in problems:
            print(problem)
        print(f"{run}: {len(problems)} problems" + ("; run its preset again to mend them" if problems else ""))


@store.command("info")
def info(run: RUN, as_json: JSON = False) -> None:
    """What a run's stores hold.

    \b
    Example:
      rodin store info runs/demo
    """
    folder = RunFolder(run)
    read_config(folder)
    found = []
    for kind, place in library("rodin.store.repair", "FOLDERS").items():  # pyright: ignore[reportFunctionMemberAccess]
        manifests = list((folder.path / place).glob("[0-9]*.json"))
        if not manifests:
            continue
        shards = library("rodin.store.reader", "Shards")(folder.path / place, kind)
        size = sum(path.stat().st_size for path in (folder.path / place).glob("*.h5"))
        fields = {field: list(shards.shape(field)) for field in shards.fields()}
        found.append({"store": place, "rows": len(shards), "shards": len(manifests), "bytes": size, "fields": fields})
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for one in found:
        fields = ", ".join(f"{field} {tuple(shape)}" for field, shape in one["fields"].items())
        print(
            f"{one['store']:<8} {one['rows']:>7} rows in {one['shards']} shards, {one['bytes'] / 1e6:.1f} MB: {fields}"
        )
    if not found:
        print(f"{run}: no shards yet")


@weights.command("fetch")
def fetch_weights(
    names: Annotated[list[str] | None, typer.Argument(help="clip, lpips; default all")] = None,
    folder: Annotated[Path | None, typer.Option("--folder", help="where to; default $RODIN_WEIGHTS")] = None,
    url: Annotated[str | None, typer.Option("--url", help="another address of the one file named")] = None,
    as_json: JSON = False,
) -> None:
    """Fetch pretrained weights on a login node; compute nodes only read them.

    \b
    Examples:
      rodin weights fetch
      rodin weights fetch clip --url file:///media/usb/open_clip_model.safetensors
    """
    chosen = [find(name) for name in names or [one.name for one in KNOWN]]
    if url is not None and len(chosen) != 1:
        raise ValueError("--url needs exactly one name, such as `rodin weights fetch clip --url ...`")
    screen = Screen(quiet=as_json)
    made = []
    for one in chosen:
        path, fresh = fetch(one, folder or weights_folder(), screen.meter(one.name), url)
        screen.clear()
        made.append({"name": one.name, "path": str(path), "fetched": fresh})
        if not as_json:
            print(f"{one.name}: {path}" + ("" if fresh else " (was there, and whole)"))
    if as_json:
        print(json.dumps(made, indent=1))


@weights.command("list")
def list_weights(as_json: JSON = False) -> None:
    """Which weights there are, what for, and whether they are here."""
    found = rows(weights_folder())
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for row in found:
            print(f"{row['name']:<6} {'here   ' if row['here'] else 'missing'} {row['file']}: {row['for']}")


def presets(
    name: Annotated[str | None, typer.Argument(help="print this one whole, as TOML")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="print every key with its meaning")] = False,
    as_json: JSON = False,
) -> None:
    """The presets; one of them whole; or every key that --set knows.

    \b
    Examples:
      rodin presets
      rodin presets demo > mine.toml
      rodin presets --keys
    """
    if keys:
        found = describe()
        print(json.dumps(found, indent=1) if as_json else "\n".join(f"{key}: {text}" for key, text in found.items()))
    elif name is not None:
        config = preset(name)
        print(json.dumps(config.model_dump(mode="json"), indent=1) if as_json else to_toml(config).rstrip())
    elif as_json:
        print(json.dumps(list(PRESETS)))
    else:
        for one in PRESETS.values():
            data = one.data
            print(f"{one.preset:<6} {data.subjects:>7,} people x {data.views} views of {data.resolution}²")


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    app.add_typer(store, name="store")
    app.add_typer(weights, name="weights")
    app.command()(presets)
