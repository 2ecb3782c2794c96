"""`rodin import`: captured people as the views of a run, from three formats with the same options."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.screen import Screen
from jobs.late import library
from jobs.run.lock import driving
from jobs.run.record import check_config, write_config
from rodin.config import Config
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

SOURCE = Annotated[Path, typer.Argument(metavar="SRC", help="one person's folder, or a folder of such folders")]
RUN = Annotated[Path | None, typer.Option("--run", help="run folder; made where it is not there")]
PRESET = Annotated[str, typer.Option("--preset", help="preset of a new run")]
SET = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one key; may be repeated")]
SCALE = Annotated[str, typer.Option("--scale", help="our units in one of the capture's, or auto")]
CENTRE = Annotated[str, typer.Option("--centre", metavar="X,Y,Z", help="middle of the head there, or auto")]
UP = Annotated[str, typer.Option("--up", help="upward axis of the capture: y, z or auto")]
FRONT = Annotated[str | None, typer.Option("--front", metavar="FILE", help="the picture that looks into the face")]
MASKS = Annotated[Path | None, typer.Option("--masks", metavar="DIR", help="masks, named as the pictures are")]
GROUND = Annotated[
    str | None, typer.Option("--background", help="of photographs: border, white, #rrggbb or none (kept whole)")
]
FRAME = Annotated[str | None, typer.Option("--frame", help="pad pictures to squares, or crop them")]
SKIP = Annotated[bool, typer.Option("--skip-missing", help="leave out pictures that are listed and not there")]
CHECK = Annotated[Path | None, typer.Option("--check", metavar="PNG", help="draw what would come in; write no views")]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]

READ = "rodin.captures.importing"
PLACING = "rodin.captures.placing"
ALPHA = "rodin.captures.alpha"
AUTO = "auto"

HELP = """Bring in captured data: one folder a person, of one of three formats.

Look first, and write nothing: --check draws cameras, the fitted box and the hull that the pictures carve. View 0 should
look into the face, and the hull hug the person inside the box. Then bring them in, and go on with `rodin run`.

\b
Examples:
  rodin import colmap captures/ --check look.png --set data.subjects=20 --set data.held_out=2 --set data.views=40
  rodin import colmap captures/ --run runs/mine --set data.subjects=20 --set data.held_out=2 --set data.views=40
  rodin run runs/mine/run.toml --run runs/mine
"""

importing = typer.Typer(help=HELP, rich_markup_mode=None)


def bring_in(kind: str, what: str, placed: tuple[str, str, str]) -> Callable[..., None]:
    """The command for one format; placed: its defaults of --scale, --centre and --up."""

    def command(
        source: SOURCE,
        run: RUN = None,
        name: PRESET = "small",
        changes: SET = None,
        scale: SCALE = placed[0],
        centre: CENTRE = placed[1],
        up: UP = placed[2],
        front: FRONT = None,
        masks: MASKS = None,
        background: GROUND = None,
        frame: FRAME = None,
        skip_missing: SKIP = False,
        check: CHECK = None,
        as_json: JSON = False,
    ) -> None:
        config = preset(name, [*(changes or []), "data.source=import"])
        folder = RunFolder(run) if run is not None else None
        if folder is not None:
            check_config(folder, config)
        elif check is None:
            raise ValueError("--run is missing: the run folder that the views go to, or --check PNG to look first")
        world = library(PLACING, "Alignment")(config.triplane.box, numbers(centre), number(scale), word(up), front)
        alpha = library(ALPHA, "Alpha")(masks, background)
        people = library(READ, "plan_import")(kind, source, config, world, alpha, frame, skip_missing)
        if check is not None:
            show(people, check, as_json)
        elif folder is not None:
            bring(people, config, folder, as_json)

    command.__doc__ = f"Bring in {what} as the views of a run.\n\n\b\nExamples:\n" + "\n".join(
        f"  rodin import {kind} captures/ --{words} --set data.subjects=20 --set data.held_out=2"
        for words in ("check look.png", "run runs/mine")
    )
    return command


for _kind, _what, _placed in (
    ("transforms", "NeRF, instant-ngp or nerfstudio data (transforms.json)", ("1", "0,0,0", "y")),
    ("eg3d", "EG3D data (dataset.json), one folder of pictures a person,", ("1", "0,0,0", "y")),
    ("colmap", "COLMAP reconstructions (sparse/0, text or binary)", (AUTO, AUTO, AUTO)),
):
    importing.command(_kind)(bring_in(_kind, _what, _placed))


def bring(people: list[Any], config: Config, folder: RunFolder, as_json: bool) -> None:
    """Write the views, and say how to go on."""
    screen = Screen(quiet=as_json)
    with driving(folder):
        write_config(folder, config)
        made = library(READ, "write_views")(people, config.data.shard_subjects, folder, screen.meter("import"))
    screen.clear()
    if as_json:
        print(json.dumps(made))
        return
    left = f", {made['skipped']} pictures left out" if made["skipped"] else ""
    print(
        f"{folder.path}: {made['subjects']} people with {made['views']} views each{left}; "
        f"go on with `rodin run {folder.path}/run.toml --run {folder.path}`"
    )


def show(people: list[Any], path: Path, as_json: bool) -> None:
    """Draw the first person, and say what was guessed."""
    told, drawn = library("rodin.captures.inspection", "inspect")(people)
    library("analysis.figures.capture_check", "save")(
        library("analysis.figures.capture_check", "CaptureCheck")(**drawn), path
    )
    if as_json:
        print(json.dumps(told | {"png": str(path)}))
    else:
        print("\n".join([f"{path}: {drawn['title']}; no views were written", *drawn["notes"]]))


def number(text: str) -> float | None:
    """A number, or None for auto."""
    try:
        return None if text == AUTO else float(text)
    except ValueError:
        raise ValueError(f"--scale got '{text}', wanted a number or auto") from None


def numbers(text: str) -> tuple[float, float, float] | None:
    """`X,Y,Z` as numbers, or None for auto."""
    try:
        x, y, z = (None, None, None) if text == AUTO else (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--centre got '{text}', wanted three numbers such as 0,1.6,0, or auto") from None
    return None if x is None or y is None or z is None else (x, y, z)


def word(text: str) -> str | None:
    """A word, or None for auto."""
    return None if text == AUTO else text
