"""`rodin sample` and `edit`: avatars from a run's models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.options import JSON, RUN_OPTION
from jobs.cli.screen import Screen
from jobs.run.record import read_config
from rodin.store.run_folder import RunFolder

OUTPUT = Annotated[Path | None, typer.Option("--output", "-o", help="folder for the results; default RUN/made/...")]
SCALE = Annotated[
    float | None, typer.Option("--guidance-scale", help="1: without guidance; default: that of the run's config")
]
STEPS = Annotated[
    int | None,
    typer.Option("--steps", min=1, help="DDIM steps of base model and upsampler; default: the config's sampler"),
]
PRECISION = Annotated[
    str | None, typer.Option("--precision", help="float32 or bfloat16; default: that of the run's config")
]
BACKGROUND = Annotated[
    str | None, typer.Option("--background", help="of a portrait without alpha: border, white, #rrggbb or none (kept)")
]
SEED = Annotated[int, typer.Option("--seed", min=0, help="the same seed makes the same avatar")]


def sample(
    run: RUN_OPTION,
    text: Annotated[list[str] | None, typer.Option("--text", help="description of the avatar; may be repeated")] = None,
    image: Annotated[list[Path] | None, typer.Option("--image", help="portrait of the avatar; may be repeated")] = None,
    background: BACKGROUND = None,
    seed: SEED = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="avatars of each text or portrait; seeds count up")] = 1,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    precision: PRECISION = None,
    as_json: JSON = False,
) -> None:
    """Make avatars by the whole cascade: from texts, from portraits, or without a condition.

    One avatar is a folder of pictures, a turntable and a mesh; several avatars are one such folder each. A seed makes
    the same avatar however many are made with it. The same command again makes those of several that are missing.

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
        raise ValueError("got both --text and --image, wanted one of them, or neither for an unconditional avatar")
    for one in texts:
        check_text("--text", one)
    check_images(images, background)
    check_scale(guidance_scale)
    from rodin.generate.options import SamplingOptions
    from rodin.generate.requests import sample_avatar, sample_avatars

    options = SamplingOptions(guidance_scale, steps, precision)
    kind = "text" if texts else f"image-{images[0].stem}" if images else "nothing"
    screen = Screen(quiet=as_json)
    progress = screen.meter("sample")
    if count == 1 and len(texts) + len(images) <= 1:
        target = output or default_output(run, kind, seed)
        first_text, first_image = next(iter(texts), None), next(iter(images), None)
        made = sample_avatar(
            run,
            text=first_text,
            image=first_image,
            background=background,
            seed=seed,
            output=target,
            options=options,
            progress=progress,
        )
        screen.clear()
        print_avatar(made, as_json)
    else:
        target = output or default_output(run, f"{kind}-many", seed)
        several = sample_avatars(
            run,
            texts=texts,
            images=images,
            background=background,
            seed=seed,
            count=count,
            output=target,
            options=options,
            progress=progress,
        )
        screen.clear()
        print_avatars(several, as_json)


def edit(
    run: RUN_OPTION,
    target: Annotated[str, typer.Option("--to", help="description of the avatar after the change")],
    image: Annotated[Path | None, typer.Option("--image", help="the portrait to change")] = None,
    text: Annotated[str | None, typer.Option("--text", help="a text to start from instead of a portrait")] = None,
    background: BACKGROUND = None,
    source: Annotated[
        str | None, typer.Option("--from", help="description before the change; default: that of any person")
    ] = None,
    seed: SEED = 0,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    precision: PRECISION = None,
    as_json: JSON = False,
) -> None:
    """Change an avatar by a text: one of a portrait, of a text, or an unconditional one.

    \b
    Example:
      rodin edit --run runs/demo --image me.png --from "a man" --to "a man with blue hair"
    """
    read_config(RunFolder(run))
    if text is not None and image is not None:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an unconditional avatar")
    check_text("--text", text)
    check_text("--to", target)
    check_text("--from", source)
    check_images([] if image is None else [image], background)
    check_scale(guidance_scale)
    from rodin.generate.options import SamplingOptions
    from rodin.generate.requests import edit_avatar

    screen = Screen(quiet=as_json)
    made = edit_avatar(
        run,
        image=image,
        text=text,
        background=background,
        source=source,
        target=target,
        seed=seed,
        output=output or default_output(run, "edit", seed),
        options=SamplingOptions(guidance_scale, steps, precision),
        progress=screen.meter("edit"),
    )
    screen.clear()
    print_avatar(made, as_json)


def default_output(run: Path, kind: str, seed: int) -> Path:
    """Folder of the results without `--output`."""
    return run / "made" / f"{kind}-{seed}"


def check_text(option: str, text: str | None) -> None:
    """Refuse an empty text."""
    if text is not None and not text.strip():
        raise ValueError(f"{option} is empty; wanted a text such as 'a man with short black hair'")


def check_images(paths: list[Path], background: str | None) -> None:
    """Refuse portraits in which nobody can be, before models are loaded; tell of those that seem to show no face."""
    if background is not None and not paths:
        raise ValueError(f"--background {background} is of a portrait; give one with --image")
    if paths:
        from rodin.data.portraits import FACE_PIXELS, read_portrait, shows_face

        for path in paths:
            if not shows_face(read_portrait(path, FACE_PIXELS, background)):
                print(
                    f"note: {path}: no frontal face found, so the avatar may not be like the picture", file=sys.stderr
                )


def check_scale(scale: float | None) -> None:
    """Refuse a guidance scale that is no positive finite number."""
    if scale is not None and not 0 < scale < float("inf"):
        raise ValueError(f"--guidance-scale got {scale}, wanted a number over 0")


def print_avatar(made: dict[str, Any], as_json: bool) -> None:
    """Print the files of one avatar."""
    found = {key: plain(value) for key, value in made.items()}
    print(json.dumps(found, indent=1) if as_json else "\n".join(f"{key}: {value}" for key, value in found.items()))


def print_avatars(made: list[dict[str, Any]], as_json: bool) -> None:
    """Print the folder of each avatar, or with JSON all their files."""
    found = [{key: plain(value) for key, value in one.items()} for one in made]
    print(json.dumps(found, indent=1) if as_json else "\n".join(one["output"] for one in found))


def plain(value: Any) -> Any:
    """The same value with paths as text, also inside lists."""
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (sample, edit):
        app.command()(command)
