"""`rodin sample`, `edit`, `table`, `figure`, `report` and `bench`: using a run's models and results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.late import library
from jobs.record import read_config
from jobs.screen import Screen
from rodin.store.run_folder import RunFolder

RUN = Annotated[Path, typer.Option("--run", help="run folder")]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
OUTPUT = Annotated[Path | None, typer.Option("--output", "-o", help="folder for the results; default RUN/made/...")]
SCALE = Annotated[float | None, typer.Option("--guidance-scale", help="1: without guidance; default the run's")]
SEED = Annotated[int, typer.Option("--seed", min=0, help="the same seed makes the same avatar")]

BENCHES = {
    "fit": ("rodin.field.bench", "bench_fit"),
    "conv": ("rodin.nets.bench", "bench_conv"),
    "sample": ("rodin.nets.bench", "bench_sample"),
    "train": ("rodin.train.bench", "bench_train"),
    "store": ("rodin.stages.bench_store", "bench_store"),
}
RUN_BENCHES = {
    "fit": ("rodin.stages.bench_fit", "bench_run"),
    "decoder": ("rodin.stages.bench_decoder", "bench_decoder"),
}


def sample(
    run: RUN,
    text: Annotated[str | None, typer.Option("--text", help="what the avatar shall look like")] = None,
    image: Annotated[Path | None, typer.Option("--image", help="a portrait to rebuild")] = None,
    seed: SEED = 0,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    as_json: JSON = False,
) -> None:
    """Make one avatar: from a text, from a portrait, or from nothing but a seed.

    \b
    Examples:
      rodin sample --run runs/demo --seed 3
      rodin sample --run runs/demo --text "a woman with long red hair and a green shirt"
      rodin sample --run runs/demo --image me.png --output me/
    """
    read_config(RunFolder(run))
    if text is not None and image is not None:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an avatar from nothing")
    check_text("--text", text)
    check_image(image)
    check_scale(guidance_scale)
    kind = "text" if text is not None else f"image-{image.stem}" if image is not None else "nothing"
    screen = Screen(quiet=as_json)
    made = library("rodin.stages.one_off", "sample_command")(
        run,
        text=text,
        image=image,
        seed=seed,
        output=output or default_output(run, kind, seed),
        guidance_scale=guidance_scale,
        progress=screen.meter("sample"),
    )
    screen.clear()
    show_made(made, as_json)


def edit(
    run: RUN,
    target: Annotated[str, typer.Option("--to", help="what it shall become")],
    image: Annotated[Path | None, typer.Option("--image", help="the portrait to change")] = None,
    text: Annotated[str | None, typer.Option("--text", help="a text to start from instead")] = None,
    source: Annotated[str | None, typer.Option("--from", help="what it is; default: a general portrait")] = None,
    seed: SEED = 0,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    as_json: JSON = False,
) -> None:
    """Change an avatar by words: that of a portrait, of a text, or one from nothing but a seed.

    \b
    Example:
      rodin edit --run runs/demo --image me.png --from "a man" --to "a man with blue hair"
    """
    read_config(RunFolder(run))
    if text is not None and image is not None:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an avatar from nothing")
    check_text("--text", text)
    check_text("--to", target)
    check_text("--from", source)
    check_image(image)
    check_scale(guidance_scale)
    screen = Screen(quiet=as_json)
    made = library("rodin.stages.one_off", "edit_command")(
        run,
        image=image,
        text=text,
        source=source,
        target=target,
        seed=seed,
        output=output or default_output(run, "edit", seed),
        guidance_scale=guidance_scale,
        progress=screen.meter("edit"),
    )
    screen.clear()
    show_made(made, as_json)


def default_output(run: Path, kind: str, seed: int) -> Path:
    """Where a one-off result lies when the user does not say."""
    return run / "made" / f"{kind}-{seed}"


def check_text(option: str, text: str | None) -> None:
    """Refuse an empty text."""
    if text is not None and not text.strip():
        raise ValueError(f"{option} is empty; wanted words, such as 'a man with short black hair'")


def check_image(path: Path | None) -> None:
    """Refuse what is no picture, before any model is loaded."""
    if path is None:
        return
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; wanted a picture (PNG, JPEG)")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            picture.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError):
        raise ValueError(f"{path}: not a picture that can be read; wanted PNG or JPEG") from None


def check_scale(scale: float | None) -> None:
    """Refuse a guidance scale that is no positive number."""
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"--guidance-scale got {scale}, wanted a number over 0")


def show_made(made: Any, as_json: bool) -> None:
    """Name what was written."""
    if isinstance(made, dict):
        found = {key: plain(value) for key, value in made.items()}
        print(json.dumps(found, indent=1) if as_json else "\n".join(f"{key}: {value}" for key, value in found.items()))
    else:
        paths = [str(path) for path in (made if isinstance(made, list | tuple) else [made])]
        print(json.dumps(paths) if as_json else "\n".join(paths))


def plain(value: Any) -> Any:
    """Paths as text, also inside lists."""
    return (
        [plain(one) for one in value]
        if isinstance(value, list | tuple)
        else str(value)
        if isinstance(value, Path)
        else value
    )


def table(
    name: Annotated[str, typer.Argument(help="1, or another table of the report")], run: RUN, as_json: JSON = False
) -> None:
    """Print a table of the paper out of a run's results.

    \b
    Examples:
      rodin table 1 --run runs/demo
      rodin table 1 --run runs/demo --json
    """
    read_config(RunFolder(run))
    rows = library("analysis.tables", "table")(run, name)
    print(json.dumps(rows, indent=1) if as_json else library("analysis.tables", "render_table")(rows))


def figure(
    name: Annotated[str, typer.Argument(help="3 to 13, or another figure of the report")],
    run: RUN,
    as_json: JSON = False,
) -> None:
    """Draw a figure of the paper out of a run's results and print its path.

    \b
    Example:
      rodin figure 9 --run runs/demo
    """
    read_config(RunFolder(run))
    path = library("analysis.figures", "figure")(run, name)
    print(json.dumps({"figure": name, "path": str(path)}) if as_json else path)


def report(run: RUN, as_json: JSON = False) -> None:
    """Write report.html of whatever the run has, and print its path.

    \b
    Example:
      rodin report --run runs/demo
    """
    read_config(RunFolder(run))
    path = library("analysis.report", "write_report")(run)
    print(json.dumps({"report": str(path)}) if as_json else path)


def bench(
    name: Annotated[str, typer.Argument(help="fit, decoder, conv, sample, train or store")],
    run: Annotated[Path | None, typer.Option("--run", help="fit, decoder: take this run's people and decoder")] = None,
    people: Annotated[int, typer.Option("--people", min=1, help="with --run: how many of the run's people")] = 8,
    as_json: JSON = False,
) -> None:
    """Measure how fast this machine does a part of the work, and against what.

    `fit --run` keeps each fit as it is measured, so that the same command goes on after a stop.

    \b
    Examples:
      rodin bench fit
      rodin bench fit --run runs/demo --people 4
      rodin bench decoder --run runs/demo --people 2
      rodin bench conv --json
    """
    if name not in BENCHES | RUN_BENCHES:
        raise ValueError(f"unknown bench '{name}'; there are {', '.join(BENCHES | RUN_BENCHES)}")
    if run is None and name not in BENCHES:
        raise ValueError(f"--run is missing: the run whose people `rodin bench {name}` takes")
    if run is None:
        rows = library(*BENCHES[name])()
    elif name in RUN_BENCHES:
        screen, folder = Screen(quiet=as_json), RunFolder(run)
        rows = library(*RUN_BENCHES[name])(read_config(folder), folder, people, screen.meter(name))
        screen.clear()
    else:
        raise ValueError(f"--run goes with `rodin bench {'` or `'.join(RUN_BENCHES)}`, not with `{name}`")
    if as_json:
        on = library("jobs.hardware", "hardware")(len(os.sched_getaffinity(0)))
        print(json.dumps([row | on for row in rows], indent=1))
        return
    for row in rows:
        against = f"  ({row['baseline']}: {row['baseline_value']:.4g} {row['unit']})" if row.get("baseline") else ""
        ratio = f"  x{row['ratio']:.2f}" if row.get("ratio") else ""
        print(f"{row['name']:<32} {row['value']:>10.4g} {row['unit']}{ratio}{against}")


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    for command in (sample, edit, table, figure, report, bench):
        app.command()(command)
