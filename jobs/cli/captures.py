"""`rodin import`: captured data as the views of a run, from three formats with the same options."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.cli.options import JSON, SET, path_argument, path_option
from jobs.cli.prepare import check_change, config_of
from jobs.cli.screen import Screen
from jobs.graph.changes import change_of, make_change
from jobs.graph.reads import values_read
from jobs.run.begun import begun, keep_settings, settings_of
from jobs.run.lock import driving
from rodin.config import Config
from rodin.store.manifest import plain
from rodin.store.run_folder import RunFolder

if TYPE_CHECKING:
    from rodin.captures.importing import CapturedSubject

SOURCE = Annotated[Path, path_argument(metavar="SRC", help="one person's folder, or a folder of such folders")]
RUN = Annotated[Path | None, path_option("--run", help="run folder; created if absent")]
PRESET = Annotated[str, typer.Option("--preset", help="preset of a new run, or a TOML file as of `rodin run`")]
SCALE = Annotated[str, typer.Option("--scale", help="our units in one unit of the capture, or auto")]
CENTRE = Annotated[str, typer.Option("--centre", metavar="X,Y,Z", help="middle of the head in the capture, or auto")]
UP = Annotated[str, typer.Option("--up", help="upward axis of the capture: y, z or auto")]
FRONT = Annotated[
    str | None,
    typer.Option("--front", metavar="FILE", help="the picture that shows the face, as listed"),
]
MASKS = Annotated[Path | None, path_option("--masks", metavar="DIR", help="masks, with the names of the pictures")]
INVERT = Annotated[bool, typer.Option("--invert-masks", help="masks are black where the person is")]
BACKGROUND = Annotated[
    str | None, typer.Option("--background", help="of photographs: border, white, #rrggbb or none (kept whole)")
]
FRAME = Annotated[
    str | None,
    typer.Option("--frame", help="pad or crop: how pictures become square; default pad, with `--background none` crop"),
]
SKIP = Annotated[bool, typer.Option("--skip-missing", help="leave out pictures that are listed but absent")]
LINKS = Annotated[bool, typer.Option("--follow-links", help="read pictures that symbolic links out of SRC lead to")]
CHECK = Annotated[Path | None, path_option("--check", metavar="PNG", help="draw the import; write no views")]

AUTO = "auto"

HELP = """Import captured data: one folder a person, in one of three formats.

First draw the import with --check, which writes no views: it shows cameras, the fitted box and the hull that the
pictures carve. View 0 should show the face frontally, and the hull should fit the person tightly inside the box. Then
import, and continue with `rodin run`.

\b
Examples:
  rodin import colmap captures/ --check look.png --set data.subjects=20 --set data.held_out=2 --set data.views=40
  rodin import colmap captures/ --run runs/mine --set data.subjects=20 --set data.held_out=2 --set data.views=40
  rodin run runs/mine/run.toml --run runs/mine
"""

IMPORTED = "imported"  # the record of what an import was asked for, beside those of stages' settings
SHOWN = 60  # characters of a value that a message quotes

importing = typer.Typer(help=HELP, rich_markup_mode=None)


def import_command(kind: str, format_name: str, defaults: tuple[str, str, str]) -> Callable[..., None]:
    """The command of one format.

    Args:
        kind: the format, a key of `rodin.captures.importing.READERS`.
        format_name: its name in the help text.
        defaults: of --scale, --centre and --up.
    """

    def command(
        source: SOURCE,
        run: RUN = None,
        name: PRESET = "small",
        changes: SET = None,
        scale: SCALE = defaults[0],
        centre: CENTRE = defaults[1],
        up: UP = defaults[2],
        front: FRONT = None,
        masks: MASKS = None,
        invert_masks: INVERT = False,
        background: BACKGROUND = None,
        frame: FRAME = None,
        skip_missing: SKIP = False,
        follow_links: LINKS = False,
        check: CHECK = None,
        as_json: JSON = False,
    ) -> None:
        config = config_of(name, [*(changes or []), "data.source=import"])
        folder = RunFolder(run) if run is not None else None
        if folder is not None:
            check_change(folder, change_of(folder, config))
        elif check is None:
            raise ValueError("--run is missing: the run folder for the views, or --check PNG to draw the import first")
        from rodin.captures.alpha import Alpha
        from rodin.captures.importing import plan_import
        from rodin.captures.placing import Alignment

        alignment = Alignment(
            config.triplane.box, numbers_or_auto(centre), number_or_auto(scale), None if up == AUTO else up, front
        )
        alpha = Alpha(masks, background, invert_masks)
        subjects = plan_import(kind, source, config, alignment, alpha, frame, skip_missing, follow_links)
        if check is not None:
            draw_check(subjects, check, as_json)
        elif folder is not None:
            asked = {"format": kind, "source": str(source.resolve()), "frame": frame, "skip_missing": skip_missing}
            asked |= {"people": [subject.capture.name for subject in subjects], **vars(alignment), **vars(alpha)}
            asked["masks"] = None if masks is None else str(masks.resolve())
            import_views(subjects, config, folder, json.loads(json.dumps(asked, default=plain)), as_json)

    command.__doc__ = f"Import {format_name} as the views of a run.\n\n\b\nExamples:\n" + "\n".join(
        f"  rodin import {kind} captures/ --{option} --set data.subjects=20 --set data.held_out=2"
        for option in ("check look.png", "run runs/mine")
    )
    return command


for _kind, _format, _defaults in (
    ("transforms", "NeRF, instant-ngp or nerfstudio data (transforms.json)", ("1", "0,0,0", "y")),
    ("eg3d", "EG3D data (dataset.json), one folder of pictures a person,", ("1", "0,0,0", "y")),
    ("colmap", "COLMAP reconstructions (sparse/0, text or binary)", (AUTO, AUTO, AUTO)),
):
    importing.command(_kind)(import_command(_kind, _format, _defaults))


def import_views(
    subjects: list[CapturedSubject], config: Config, folder: RunFolder, asked: dict[str, Any], as_json: bool
) -> None:
    """Write the views of a run and print the next command.

    Args:
        subjects: of `plan_import`.
        config: of the run.
        folder: the run.
        asked: what is imported, and how it is placed and cut out: views that are there must be of the same.
        as_json: print what was made as JSON.

    Raises:
        ValueError: the run holds views of another import.
    """
    from rodin.captures.importing import write_views

    screen = Screen(quiet=as_json)
    with driving(folder, screen.note):
        check_same_import(folder, asked)
        make_change(folder, config, change_of(folder, config))
        if not begun(folder, "import"):
            keep_settings(folder, IMPORTED, asked)
        keep_settings(folder, "import", values_read("import", config))
        made = write_views(subjects, config.data.shard_subjects, folder, screen.meter("import"))
    screen.clear()
    if as_json:
        print(json.dumps(made))
        return
    skipped = f", {made['skipped']} pictures left out" if made["skipped"] else ""
    print(
        f"{folder.path}: {made['subjects']} people with {made['views']} views each{skipped}; "
        f"continue with `rodin run {folder.path}/run.toml --run {folder.path}`"
    )
    for note in made["notes"]:
        print(f"note: {note}")


def check_same_import(folder: RunFolder, asked: dict[str, Any]) -> None:
    """Refuse to import into a run that holds views of another import, whose people would be mixed with these.

    Raises:
        ValueError: names what differs.
    """
    before = settings_of(folder, IMPORTED)
    if before is None or not begun(folder, "import"):
        return
    for key in sorted(before.keys() | asked.keys()):
        if before.get(key) != asked.get(key):
            raise ValueError(
                f"{folder.path}: holds views of another import: {key} was {shown(before.get(key))}, "
                f"now {shown(asked.get(key))}; give a new run folder"
            )


def shown(value: Any) -> str:
    """A value of an import, cut where a message would be long."""
    return textwrap.shorten(json.dumps(value), SHOWN, placeholder="…")


def draw_check(subjects: list[CapturedSubject], path: Path, as_json: bool) -> None:
    """Draw the first person's import and print the guessed alignment."""
    from analysis.figures.capture_check import CaptureCheck, save
    from rodin.captures.inspection import inspect

    report, drawn = inspect(subjects)
    save(CaptureCheck(**drawn), path)
    if as_json:
        print(json.dumps(report | {"png": str(path)}))
    else:
        print("\n".join([f"{path}: {drawn['title']}; no views were written", *drawn["notes"]]))


def number_or_auto(text: str) -> float | None:
    """The number in a text, or None for auto."""
    try:
        return None if text == AUTO else float(text)
    except ValueError:
        raise ValueError(f"--scale got '{text}', wanted a number or auto") from None


def numbers_or_auto(text: str) -> tuple[float, float, float] | None:
    """The three numbers in a text `X,Y,Z`, or None for auto."""
    if text == AUTO:
        return None
    try:
        x, y, z = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--centre got '{text}', wanted three numbers such as 0,1.6,0, or auto") from None
    return x, y, z


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(importing, name="import")
