"""`rodin sample` and `edit`: avatars from a run's models."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.marks import C2PA_CERT, C2PA_KEY, WATERMARK, WATERMARK_KEY, certificate
from jobs.cli.options import JSON, RUN_OPTION
from jobs.cli.screen import Screen
from jobs.run.record import read_config
from rodin.generate.options import MOST_AVATARS, MOST_SEED, SamplingOptions
from rodin.generate.texts import checked_text
from rodin.store.atomic import sha256_of
from rodin.store.manifest import canonical
from rodin.store.run_folder import RunFolder

SLUG_LENGTH = 40  # characters of a text in a folder's name: enough to tell folders apart by eye
DIGEST_LENGTH = 8  # hex digits: among a thousand requests in one run, two share a name once in ten thousand runs


def some_path(text: str) -> Path:
    """A path of the command line; an empty one is refused, where Python would take it for the current folder."""
    if not text:
        raise typer.BadParameter("is empty, wanted a path")
    return Path(text)


OUTPUT = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", parser=some_path, metavar="PATH", help="folder for the results; default RUN/made/..."
    ),
]
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
SEED = Annotated[int, typer.Option("--seed", min=0, max=MOST_SEED, help="the same seed makes the same avatar")]


def sample(
    run: RUN_OPTION,
    text: Annotated[list[str] | None, typer.Option("--text", help="description of the avatar; may be repeated")] = None,
    image: Annotated[
        list[Path] | None,
        typer.Option("--image", parser=some_path, metavar="PATH", help="portrait of the avatar; may be repeated"),
    ] = None,
    background: BACKGROUND = None,
    seed: SEED = 0,
    count: Annotated[
        int, typer.Option("--count", min=1, max=MOST_AVATARS, help="avatars of each text or portrait; seeds count up")
    ] = 1,
    output: OUTPUT = None,
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    precision: PRECISION = None,
    watermark: WATERMARK = None,
    watermark_key: WATERMARK_KEY = None,
    c2pa_cert: C2PA_CERT = None,
    c2pa_key: C2PA_KEY = None,
    as_json: JSON = False,
) -> None:
    """Make avatars by the whole cascade: from texts, from portraits, or without a condition.

    One avatar is a folder of pictures, a turntable and a mesh; several avatars are one such folder each. A seed makes
    the same avatar however many are made with it. The same command again keeps what is there and makes what is missing;
    without --output, each request has a folder of its own. All files say that they are generated; pictures also hide a
    watermark with --watermark, and are signed with --c2pa-cert and --c2pa-key, else not.

    \b
    Examples:
      rodin sample --run runs/demo --seed 3
      rodin sample --run runs/demo --text "a woman with long red hair and a green shirt"
      rodin sample --run runs/demo --image me.png --output me/
      rodin sample --run runs/demo --count 100 --steps 25 --output crowd/
      rodin sample --run runs/demo --text "a bald man" --text "a woman with a hat" --count 4 --json
    """
    marks = watermark, watermark_key, certificate(c2pa_cert, c2pa_key)
    config, options = read_config(RunFolder(run)), SamplingOptions(guidance_scale, steps, precision, *marks)
    options.marking(options.config(config))
    texts, images = [checked_text("--text", one) for one in text or []], image or []
    if texts and images:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an unconditional avatar")
    check_images(images, background)
    slug = slug_of(texts[0], "text") if texts else slug_of(images[0].stem, "image") if images else "nothing"
    if count * max(1, len(texts), len(images)) > 1:
        slug += f"-x{count}"
    target = output or default_output(run, slug, seed, options, texts, images, background, count)
    from rodin.generate.requests import sample_avatar, sample_avatars

    screen = Screen(quiet=as_json)
    named = {"background": background, "seed": seed, "output": target, "options": options, "tell": tell}
    named["progress"] = screen.meter("sample")
    if count == 1 and len(texts) + len(images) <= 1:
        made = sample_avatar(run, text=next(iter(texts), None), image=next(iter(images), None), **named)
        screen.clear()
        print_avatar(made, as_json)
    else:
        several = sample_avatars(run, texts=texts, images=images, count=count, **named)
        screen.clear()
        print_avatars(several, as_json)


def edit(
    run: RUN_OPTION,
    target: Annotated[str, typer.Option("--to", help="description of the avatar after the change")],
    image: Annotated[
        Path | None, typer.Option("--image", parser=some_path, metavar="PATH", help="the portrait to change")
    ] = None,
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
    watermark: WATERMARK = None,
    watermark_key: WATERMARK_KEY = None,
    c2pa_cert: C2PA_CERT = None,
    c2pa_key: C2PA_KEY = None,
    as_json: JSON = False,
) -> None:
    """Change an avatar by a text: one of a portrait, of a text, or an unconditional one.

    \b
    Example:
      rodin edit --run runs/demo --image me.png --from "a man" --to "a man with blue hair"
    """
    marks = watermark, watermark_key, certificate(c2pa_cert, c2pa_key)
    config, options = read_config(RunFolder(run)), SamplingOptions(guidance_scale, steps, precision, *marks)
    options.marking(options.config(config))
    if text is not None and image is not None:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an unconditional avatar")
    target = checked_text("--to", target)
    text = None if text is None else checked_text("--text", text)
    source = None if source is None else checked_text("--from", source)
    slug, images = f"edit-{slug_of(target, 'to')}", [] if image is None else [image]
    check_images(images, background)
    output = output or default_output(run, slug, seed, options, [target, source, text], images, background)
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
        output=output,
        options=options,
        progress=screen.meter("edit"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def default_output(
    run: Path,
    slug: str,
    seed: int,
    options: SamplingOptions,
    texts: Sequence[str | None],
    images: Sequence[Path],
    background: str | None,
    count: int = 1,
) -> Path:
    """Folder of the results without `--output`: the same for the same request, another one for any other."""
    asked = [slug, seed, count, texts, [sha256_of(path) for path in images], background]
    asked += [options.guidance_scale, options.steps, options.precision]
    if marks := [str(one) for one in (options.watermark, options.watermark_key, options.c2pa) if one is not None]:
        asked += marks
    digest = hashlib.sha256(canonical(asked).encode()).hexdigest()[:DIGEST_LENGTH]
    return run / "made" / f"{slug}-{digest}-seed-{seed}"


def slug_of(text: str, otherwise: str) -> str:
    """The first words of a text as part of a folder's name, of a-z, 0-9 and dashes; `otherwise` where it has none."""
    plain_letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = " ".join(re.findall("[a-z0-9]+", plain_letters))
    return textwrap.shorten(words, SLUG_LENGTH, placeholder="").replace(" ", "-") or otherwise


def tell(line: str) -> None:
    """Print one line that the user may not expect, to stderr: stdout is for results."""
    print(f"rodin: note: {line}", file=sys.stderr, flush=True)


def check_images(paths: list[Path], background: str | None) -> None:
    """Refuse portraits in which nobody can be, before models are loaded; tell of those that seem to show no face."""
    if background is not None and not paths:
        raise ValueError(f"--background {background} is of a portrait; give one with --image")
    if paths:
        from rodin.data.portraits import FACE_PIXELS, read_portrait, shows_face

        for path in paths:
            if not shows_face(read_portrait(path, FACE_PIXELS, background)):
                tell(f"{path}: no frontal face found, so the avatar may not be like the picture")


def print_avatar(made: dict[str, Any], as_json: bool) -> None:
    """Print the files of one avatar, one a line; or with JSON all in one object."""
    found = {key: plain(value) for key, value in made.items()}
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for key, value in found.items():
        for one in value if isinstance(value, list) else [value]:
            print(f"{key}: {'none, the avatar has no surface' if one is None else one}")


def print_avatars(made: list[dict[str, Any]], as_json: bool) -> None:
    """Print the folder of each avatar, one a line; or with JSON all their files."""
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
