"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
    Path | None, typer.Option("--from", metavar="RUN", help="another run, whose finished stages are taken over")
]
RUN_ARGUMENT = Annotated[Path, typer.Argument(metavar="RUN", help="run folder")]
RUN_OPTION = Annotated[Path, typer.Option("--run", help="run folder")]
NEW_RUN = Annotated[Path | None, typer.Option("--run", help="run folder; default runs/PRESET")]
SET = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change one key; may be repeated")]
STAGES = Annotated[str | None, typer.Option("--stages", help="only these, separated by commas")]
CLUSTER = Annotated[str, typer.Option("--cluster", help="local or slurm")]
SITE = Annotated[Path | None, typer.Option("--site", help="site file, slurm/sites/NAME.toml; needed with slurm")]
ASKS = Annotated[
    Path | None,
    typer.Option("--asks", metavar="FILE", help="time and memory as measured: `rodin efficiency RUN --suggest FILE`"),
]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
MAX_FAILS = Annotated[
    int | None,
    typer.Option("--max-fails", min=1, help="slurm: begin no more of a stage once so many shards failed"),
]
