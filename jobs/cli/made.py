"""Options of commands that make avatars, names of the folders of their results, and how these are printed."""

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

from jobs.cli.marks import certificate
from jobs.cli.options import path_option
from jobs.run.record import read_config
from rodin.generate.options import MOST_SEED, SamplingOptions
from rodin.store.atomic import sha256_of
from rodin.store.manifest import canonical
from rodin.store.run_folder import RunFolder

SLUG_LENGTH = 40  # characters of a text in a folder's name: enough to tell folders apart by eye
DIGEST_LENGTH = 8  # hex digits: among a thousand requests in one run, two share a name once in ten thousand runs


OUTPUT = Annotated[
    Path | None,
    path_option("--output", "-o", help="folder for the results; default RUN/made/..."),
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
OWN_SEED = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        max=MOST_SEED,
        help="of an avatar that is made here, 0 by default; a person and a saved avatar have their own",
    ),
]
SIZE = Annotated[
    int | None,
    typer.Option(
        "--size",
        metavar="PIXELS",
        help="side of the pictures, 16 to 1024; default 256, or four times the run's pictures if less",
    ),
]
VIEWS = Annotated[int | None, typer.Option("--views", metavar="N", help="number of pictures")]
FORMAT = Annotated[str, typer.Option("--format", help="of what moves: gif, mp4, or png, a picture a frame")]
IMAGE = Annotated[Path | None, path_option("--image", help="a portrait")]
TEXT = Annotated[str | None, typer.Option("--text", help="a description")]
SUBJECT = Annotated[str | None, typer.Option("--subject", metavar="ID", help="a person of the run, as fitted")]
AVATAR = Annotated[Path | None, path_option("--avatar", metavar="FOLDER", help="an avatar that was made before")]


def sampling_options(
    run: Path,
    scale: float | None = None,
    steps: int | None = None,
    precision: str | None = None,
    marks: tuple[bool | None, Path | None, Path | None, Path | None] = (None, None, None, None),
) -> SamplingOptions:
    """Options of sampling, checked against the run's config.

    Args:
        run: the run.
        scale, steps, precision: as on the command line.
        marks: --watermark, --watermark-key, --c2pa-cert and --c2pa-key.
    """
    watermark, key, chain, private = marks
    options = SamplingOptions(scale, steps, precision, watermark, key, certificate(chain, private))
    options.marking(options.config(read_config(RunFolder(run))))
    return options


def told(options: SamplingOptions) -> list[Any]:
    """Options as what was asked for; marks only where they are given, so that names of folders stay without them."""
    marks = [str(one) for one in (options.watermark, options.watermark_key, options.c2pa) if one is not None]
    return [options.guidance_scale, options.steps, options.precision, *marks]


def seed_of(seed: int | None, subject: str | None, avatar: Path | None) -> int | None:
    """The seed of the noise that is asked for; None for a person or a saved avatar, which has its own."""
    return seed if seed is not None or subject is not None or avatar is not None else 0


def default_output(run: Path, slug: str, seed: int | None, asked: Sequence[Any], images: Sequence[Path] = ()) -> Path:
    """Folder of the results without `--output`: the same for the same request, another one for any other."""
    told = [slug, seed, [sha256_of(path) for path in images], *asked]
    digest = hashlib.sha256(canonical(told).encode(errors="surrogatepass")).hexdigest()[:DIGEST_LENGTH]
    return run / "made" / (f"{slug}-{digest}" if seed is None else f"{slug}-{digest}-seed-{seed}")


def slug_of(text: str, otherwise: str) -> str:
    """The first words of a text as part of a folder's name, of a-z, 0-9 and dashes; `otherwise` where it has none."""
    plain_letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    words = " ".join(re.findall("[a-z0-9]+", plain_letters))
    return textwrap.shorten(words, SLUG_LENGTH, placeholder="").replace(" ", "-") or otherwise


def tell(line: str) -> None:
    """Print one line that the user may not expect, to stderr: stdout is for results."""
    print(f"rodin: note: {line}", file=sys.stderr, flush=True)


def check_images(paths: Sequence[Path], background: str | None) -> None:
    """Refuse portraits in which nobody can be, before models are loaded; tell of those that seem to show no person."""
    if background is not None and not paths:
        raise ValueError(f"--background {background} is of a portrait; give one with --image")
    if paths:
        from rodin.data.portraits import FACE_PIXELS, read_cut_out, shows_face, why_no_person

        for path in paths:
            portrait = read_cut_out(path, FACE_PIXELS, background)
            if background != "none" and (why := why_no_person(portrait[..., 3])):
                tell(f"{path}: seems to be no portrait: {why}")
            elif not shows_face(portrait):
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
