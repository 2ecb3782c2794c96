"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def some_path(text: str) -> Path:
    """A path of the command line; an empty one is refused, where Python would take it for the current folder."""
    if not text:
        raise typer.BadParameter("is empty, wanted a path")
    return Path(text)


def path_option(*names: str, help: str, metavar: str = "PATH") -> Any:
    """An option that takes a path."""
    return typer.Option(*names, parser=some_path, metavar=metavar, help=help)


def path_argument(*, help: str, metavar: str) -> Any:
    """An argument that is a path."""
    return typer.Argument(parser=some_path, metavar=metavar, help=help)


PRESET = Annotated[
    str, typer.Argument(help="a preset (`rodin presets`), or a TOML file that names one and changes keys")
]
PRESET_OR_FROM = Annotated[
    str | None,
    typer.Argument(
        metavar="NAME",
        help="a preset (`rodin presets`), or a TOML file that names one and changes keys; default: as --from",
    ),
]
FROM = Annotated[
    Path | None, path_option("--from", metavar="RUN", help="another run, whose finished stages are taken over")
]
RUN_ARGUMENT = Annotated[Path, path_argument(metavar="RUN", help="run folder")]
RUN_OPTION = Annotated[Path, path_option("--run", help="run folder")]
NEW_RUN = Annotated[Path | None, path_option("--run", help="run folder; default runs/PRESET")]
SET = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one key; may be repeated")]
STAGES = Annotated[str | None, typer.Option("--stages", help="only these, separated by commas")]
CLUSTER = Annotated[str, typer.Option("--cluster", help="local or slurm")]
SITE = Annotated[
    Path | None, path_option("--site", help="site file; needed with slurm; without it, this machine's cores and GPUs")
]
ASKS = Annotated[
    Path | None,
    path_option("--asks", metavar="FILE", help="time and memory as measured: `rodin efficiency RUN --suggest FILE`"),
]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
MAX_FAILS = Annotated[
    int | None,
    typer.Option("--max-fails", min=1, help="slurm: begin no more of a stage once so many shards failed"),
]
