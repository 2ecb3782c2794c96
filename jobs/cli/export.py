"""`rodin export`: a run's people for other projects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import JSON, RUN_OPTION, path_option
from jobs.cli.screen import Screen
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder
from rodin.units import byte_size

FORMAT = Annotated[str, typer.Option("--format", help="transforms (NeRF, instant-ngp, nerfstudio) or eg3d (no alpha)")]
OUTPUT = Annotated[Path, path_option("--output", "-o", metavar="DIR", help="folder to write; new, or an export's")]
SUBJECTS = Annotated[
    str | None, typer.Option("--subjects", metavar="IDS", help="such as 000003,000010:000019; default: all")
]
DRY_RUN = Annotated[bool, typer.Option("--dry-run", help="say how much it is and write nothing")]

UNWRITTEN = "nothing was written"

exporting = typer.Typer(
    help="Write a run's people for other projects. The same command again goes on where it stopped.",
    rich_markup_mode=None,
)


@exporting.command("views")
def views(
    run: RUN_OPTION,
    form: FORMAT,
    output: OUTPUT,
    subjects: SUBJECTS = None,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """Write pictures, cameras and captions, a folder a person, for other projects and for `rodin import`.

    It reads `transforms` back to the last bit. EG3D trains on pictures without alpha, so `eg3d` shows people over
    white, and what is imported has the same cameras and an alpha that is told by the colours.

    \b
    Examples:
      rodin export views --run runs/demo --format transforms --output people/
      rodin export views --run runs/demo --format eg3d --output people/ --subjects 000000:000099
    """
    folder = RunFolder(run)
    config = read_config(folder)
    from rodin.export.folder import chosen
    from rodin.export.views import ViewsExport, export_views, size_of
    from rodin.store.shards.reader import Shards

    shards = Shards(folder.stage("render"), "views")
    export = ViewsExport(folder, config, form, output, shards, chosen(shards, subjects))
    if dry_run:
        count, pictures = len(export.subjects), len(export.subjects) * shards.shape("rgba")[0]
        size = size_of(export, export.subjects[0]) * count
        planned = {"output": str(output), "subjects": count, "pictures": pictures, "bytes": size}
        say(
            planned, f"{output}: {count:,} people, {pictures:,} pictures, about {byte_size(size)}; {UNWRITTEN}", as_json
        )
        return
    screen = Screen(quiet=as_json)
    made = export_views(export, screen.meter("export"), screen.meter("look"))
    screen.clear()
    kept = f" ({made['kept']} of them were there)" if made["kept"] else ""
    there = f"{output}: {many(made['subjects'], 'folder')} of {made['views']} views each{kept}"
    say(made, f"{there}; import them with `{made['import']}`", as_json)


@exporting.command("planes")
def planes(
    run: RUN_OPTION,
    output: OUTPUT,
    subjects: SUBJECTS = None,
    dry_run: DRY_RUN = False,
    as_json: JSON = False,
) -> None:
    """Write fitted tri-planes and their decoder as safetensors, and in README.json how they are rendered.

    \b
    Examples:
      rodin export planes --run runs/demo --output planes/
      rodin export planes --run runs/paper --output planes/ --subjects 000000:000999 --dry-run
    """
    folder = RunFolder(run)
    config = read_config(folder)
    from rodin.export.folder import chosen
    from rodin.export.planes import PlanesExport, export_planes
    from rodin.store.shards.reader import Shards

    shards = Shards(folder.stage("fit"), "planes")
    export = PlanesExport(folder, config, output, shards, chosen(shards, subjects))
    if dry_run:
        count, files, size = len(export.subjects), len(export.files), len(export.subjects) * export.row_bytes
        planned = {"output": str(output), "subjects": count, "files": files, "bytes": size}
        say(planned, f"{output}: {count:,} people in {many(files, 'file')}, {byte_size(size)}; {UNWRITTEN}", as_json)
        return
    screen = Screen(quiet=as_json)
    made = export_planes(export, screen.meter("export"))
    screen.clear()
    kept = f" ({made['kept']} of them were there)" if made["kept"] else ""
    there = f"{output}: planes of {made['subjects']} people in {many(made['files'], 'file')}{kept}"
    say(made, f"{there}; README.json says how to render them", as_json)


def many(count: int, noun: str) -> str:
    """A number and its noun."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def say(result: dict[str, Any], sentence: str, as_json: bool) -> None:
    """Print a result as one line for people or as JSON."""
    print(json.dumps(result) if as_json else sentence)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    app.add_typer(exporting, name="export")
