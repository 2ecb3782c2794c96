"""`rodin sample`, `edit`, `table`, `figure`, `report` and `bench`: using a run's models and results."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.screen import Screen
from jobs.late import library
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

RUN = Annotated[Path, typer.Option("--run", help="run folder")]
JSON = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]
OUTPUT = Annotated[Path | None, typer.Option("--output", "-o", help="folder for the results; default RUN/made/...")]
SCALE = Annotated[float | None, typer.Option("--guidance-scale", help="1: without guidance; default the run's")]
STEPS = Annotated[
    int | None, typer.Option("--steps", min=1, help="DDIM steps of base model and upsampler; default the run's sampler")
]
PRECISION = Annotated[str | None, typer.Option("--precision", help="float32 or bfloat16; default the run's")]
SEED = Annotated[int, typer.Option("--seed", min=0, help="the same seed makes the same avatar")]

BENCHES = {
    "fit": ("rodin.bench.fit", "bench_fit"),
    "conv": ("rodin.bench.conv", "bench_conv"),
    "unet": ("rodin.bench.unet", "bench_unet"),
    "sample": ("rodin.bench.guidance", "bench_guidance"),
    "train": ("rodin.bench.train", "bench_train"),
    "metrics": ("rodin.bench.metrics", "bench_metrics"),
    "store": ("rodin.bench.reading", "bench_store"),
}
RUN_BENCHES = {
    "fit": ("rodin.bench.fit_run", "bench_run"),
    "decoder": ("rodin.bench.decoder", "bench_decoder"),
    "sample": ("rodin.bench.cascade", "bench_run"),
}


def sample(
    run: RUN,
    text: Annotated[
        list[str] | None, typer.Option("--text", help="what the avatar shall look like; may be repeated")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", help="a portrait to rebuild; may be repeated")] = None,
    seed: SEED = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="avatars of each text or portrait; seeds count up")] = 1,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    precision: PRECISION = None,
    as_json: JSON = False,
) -> None:
    """Make avatars by the whole cascade: from texts, from portraits, or from nothing but a seed.

    One avatar is a folder of pictures, a turntable and a mesh; many are a folder each. A seed makes the same avatar
    however many are made with it. Many, run again, go on with those that are not there yet.

    \b
    Examples:
      rodin sample --run runs/demo --seed 3
      rodin sample --run runs/demo --text "a woman with long red hair and a green shirt"
      rodin sample --run runs/demo --image me.png --output me/
      rodin sample --run runs/demo --count 100 --steps 25 --output crowd/
      rodin sample --run runs/demo --text "a bald man" --text "a woman with a hat" --count 4 --json
    """
    read_config(RunFolder(run))
    texts, images = text or [], image or []
    if texts and images:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an avatar from nothing")
    for words in texts:
        check_text("--text", words)
    for picture in images:
        check_image(picture)
    check_scale(guidance_scale)
    one = count == 1 and len(texts) + len(images) <= 1
    kind = "text" if texts else f"image-{images[0].stem}" if images else "nothing"
    screen = Screen(quiet=as_json)
    wanted = {"text": next(iter(texts), None), "image": next(iter(images), None)}
    made = library("rodin.generate.requests", "sample_avatar" if one else "sample_avatars")(
        run,
        **(wanted if one else {"texts": texts, "images": images, "count": count}),
        seed=seed,
        output=output or default_output(run, kind if one else f"{kind}-many", seed),
        options=library("rodin.generate.options", "SamplingOptions")(guidance_scale, steps, precision),
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
    steps: STEPS = None,
    precision: PRECISION = None,
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
    made = library("rodin.generate.requests", "edit_avatar")(
        run,
        image=image,
        text=text,
        source=source,
        target=target,
        seed=seed,
        output=output or default_output(run, "edit", seed),
        options=library("rodin.generate.options", "SamplingOptions")(guidance_scale, steps, precision),
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
    if isinstance(made, list) and made and isinstance(made[0], dict):
        found = [{key: plain(value) for key, value in one.items()} for one in made]
        print(json.dumps(found, indent=1) if as_json else "\n".join(one["output"] for one in found))
    elif isinstance(made, dict):
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
    rows = library("analysis.tables.tables", "table")(run, name)
    print(json.dumps(rows, indent=1) if as_json else library("analysis.tables.tables", "render_table")(rows))


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
    path = library("analysis.figures.figures", "figure")(run, name)
    print(json.dumps({"figure": name, "path": str(path)}) if as_json else path)


def report(run: RUN, as_json: JSON = False) -> None:
    """Write report.html of whatever the run has, and print its path.

    \b
    Example:
      rodin report --run runs/demo
    """
    read_config(RunFolder(run))
    path = library("analysis.report.report", "write_report")(run)
    print(json.dumps({"report": str(path)}) if as_json else path)


def bench(
    name: Annotated[str, typer.Argument(help="fit, decoder, conv, unet, sample, train, metrics or store")],
    run: Annotated[Path | None, typer.Option("--run", help="with this run's people and models")] = None,
    people: Annotated[
        int, typer.Option("--subjects", min=1, help="with --run: how many of its people, or avatars")
    ] = 8,
    as_json: JSON = False,
) -> None:
    """Measure how fast this machine does a part of the work, and against what.

    `fit --run` keeps each fit as it is measured, so that the same command goes on after a stop. `unet` is as wide as
    the paper's base model: minutes on a CPU, and 10 GB.

    \b
    Examples:
      rodin bench fit
      rodin bench fit --run runs/demo --people 4
      rodin bench decoder --run runs/demo --people 2
      rodin bench conv --json
      rodin bench sample --run runs/demo --people 4
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
        on = library("jobs.run.hardware", "hardware")(len(os.sched_getaffinity(0)))
        print(json.dumps([row | on for row in rows], indent=1))
        return
    for row in rows:
        against = f"  ({row['baseline']}: {row['baseline_value']:.4g} {row['unit']})" if row.get("baseline") else ""
        ratio = f"  x{row['ratio']:.2f}" if row.get("ratio") else ""
        over = {key.replace("_", " "): value for key, value in row.items() if key.startswith("over_")}
        cost = "".join(f"  {key} {value:.2f}" for key, value in over.items())
        print(f"{row['name']:<32} {row['value']:>10.4g} {row['unit']}{ratio}{against}{cost}")


def add_to(app: typer.Typer) -> None:
    """Put these commands on the command line."""
    for command in (sample, edit, table, figure, report, bench):
        app.command()(command)
