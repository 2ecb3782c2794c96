"""`rodin render`, `mesh` and `interpolate`: what one makes of avatars."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.cli.made import (
    AVATAR,
    BACKGROUND,
    FORMAT,
    IMAGE,
    OUTPUT,
    OWN_SEED,
    PRECISION,
    SCALE,
    SIZE,
    STEPS,
    SUBJECT,
    TEXT,
    VIEWS,
    check_images,
    default_output,
    print_avatar,
    sampling_options,
    seed_of,
    slug_of,
    tell,
    told,
)
from jobs.cli.marks import C2PA_CERT, C2PA_KEY, WATERMARK, WATERMARK_KEY
from jobs.cli.options import JSON, RUN_OPTION, path_option
from jobs.cli.screen import Screen
from rodin.generate.options import MOST_BETWEEN
from rodin.generate.texts import checked_text

MESH_FORMATS = ".glb, .ply or .obj"


def render(
    run: RUN_OPTION,
    subject: SUBJECT = None,
    avatar: AVATAR = None,
    text: TEXT = None,
    image: IMAGE = None,
    background: BACKGROUND = None,
    seed: OWN_SEED = None,
    path: Annotated[
        str, typer.Option("--path", help="of the camera: ring, swing, spiral, or a transforms.json with its cameras")
    ] = "ring",
    output: OUTPUT = None,
    size: SIZE = None,
    views: VIEWS = None,
    format: FORMAT = "gif",
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    watermark: WATERMARK = None,
    watermark_key: WATERMARK_KEY = None,
    c2pa_cert: C2PA_CERT = None,
    c2pa_key: C2PA_KEY = None,
    as_json: JSON = False,
) -> None:
    """Render an avatar, or a person of the run, along a path of cameras.

    \b
    Examples:
      rodin render --run runs/demo --subject 000003
      rodin render --run runs/demo --avatar me/ --path spiral --views 72 --size 512 --format mp4
      rodin render --run runs/demo --text "a man with a beard" --path cameras/transforms.json --format png
    """
    options = sampling_options(run, guidance_scale, steps, marks=(watermark, watermark_key, c2pa_cert, c2pa_key))
    from rodin.captures.cameras_file import read_cameras
    from rodin.field.cameras import PATHS
    from rodin.generate.look import Look
    from rodin.generate.uses import render_avatar

    look, file = Look(size, views, format), None if path in PATHS else Path(path)
    if file is not None and not file.is_file():
        raise ValueError(f"--path {path}: wanted {', '.join(PATHS)}, or the path of a transforms.json file")
    if file is not None and views is not None:
        raise ValueError(f"--views {views}: the cameras of {path} are all rendered; leave it out")
    seed = seed_of(seed, subject, avatar)
    request, asked, images = _request(subject, avatar, text, image, background, seed)
    asked += [path, *told(options), *vars(look).values()]
    screen = Screen(quiet=as_json)
    made = render_avatar(
        run,
        request,
        cameras=path if file is None else read_cameras(file),
        look=look,
        output=output
        or default_output(run, f"render-{_name(request)}", seed, asked, [*images, *([file] if file else [])]),
        options=options,
        progress=screen.meter("render"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def mesh(
    run: RUN_OPTION,
    subject: SUBJECT = None,
    avatar: AVATAR = None,
    text: TEXT = None,
    image: IMAGE = None,
    background: BACKGROUND = None,
    seed: OWN_SEED = None,
    resolution: Annotated[
        int, typer.Option("--resolution", help="grid points a side, 16 to 512; 256 take seconds, 512 a minute and 4 GB")
    ] = 256,
    faces: Annotated[int | None, typer.Option("--faces", help="about how many to keep; default: all")] = None,
    output: Annotated[
        Path | None,
        path_option("--output", "-o", metavar="FILE", help=f"{MESH_FORMATS}; default RUN/made/..."),
    ] = None,
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    as_json: JSON = False,
) -> None:
    """Write the mesh of an avatar, or of a person of the run: closed, coloured at its vertices, in metres.

    \b
    Examples:
      rodin mesh --run runs/demo --subject 000003 --output person.glb
      rodin mesh --run runs/demo --avatar me/ --resolution 512 --faces 20000 --output me.obj
    """
    options = sampling_options(run, guidance_scale, steps)
    seed = seed_of(seed, subject, avatar)
    request, asked, images = _request(subject, avatar, text, image, background, seed)
    from rodin.generate.uses import mesh_avatar

    asked += [resolution, faces, *told(options)]
    where = default_output(run, f"mesh-{_name(request)}", seed, asked, images)
    screen = Screen(quiet=as_json)
    made = mesh_avatar(
        run,
        request,
        resolution=resolution,
        faces=faces,
        output=output or where.with_name(f"{where.name}.glb"),
        options=options,
        progress=screen.meter("mesh"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def interpolate(
    run: RUN_OPTION,
    text: Annotated[list[str] | None, typer.Option("--text", help="a description; may be repeated")] = None,
    image: Annotated[
        list[Path] | None,
        path_option("--image", help="a portrait; may be repeated"),
    ] = None,
    subject: Annotated[
        list[str] | None, typer.Option("--subject", metavar="ID", help="a person of the run; may be repeated")
    ] = None,
    avatar: Annotated[
        list[Path] | None,
        path_option("--avatar", metavar="FOLDER", help="an avatar made before; may be repeated"),
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="an unconditional avatar; may be repeated")
    ] = None,
    background: BACKGROUND = None,
    between: Annotated[
        int, typer.Option("--between", min=2, max=MOST_BETWEEN, help="avatars from each to the next, both counted")
    ] = 8,
    how: Annotated[str, typer.Option("--how", help="the way of latents: slerp or lerp")] = "slerp",
    output: OUTPUT = None,
    size: SIZE = None,
    views: Annotated[int | None, typer.Option("--views", metavar="N", help="frames of each film; default 48")] = None,
    format: FORMAT = "gif",
    guidance_scale: SCALE = None,
    steps: STEPS = None,
    precision: PRECISION = None,
    watermark: WATERMARK = None,
    watermark_key: WATERMARK_KEY = None,
    c2pa_cert: C2PA_CERT = None,
    c2pa_key: C2PA_KEY = None,
    as_json: JSON = False,
) -> None:
    """Go from one avatar to another, or through several: seeds first, then texts, images, people, saved avatars.

    sheet.png shows the avatars, morph the way there and back from the front, and turning the same on a turntable.

    \b
    Examples:
      rodin interpolate --run runs/demo --seed 1 --seed 2
      rodin interpolate --run runs/demo --text "a bald man" --image me.png --avatar made/her --between 5
    """
    options = sampling_options(run, guidance_scale, steps, precision, (watermark, watermark_key, c2pa_cert, c2pa_key))
    check_images(image or [], background)
    from rodin.generate.condition import one_request
    from rodin.generate.look import Look
    from rodin.generate.uses import interpolate_avatars

    look = Look(size, views, format)
    requests = [one_request(seed=one) for one in seed or []]
    requests += [one_request(text=checked_text("--text", one)) for one in text or []]
    requests += [one_request(image=one, background=background) for one in image or []]
    requests += [one_request(subject=one) for one in subject or []]
    requests += [one_request(saved=one) for one in avatar or []]
    asked = [seed, text, subject, [str(one.resolve()) for one in avatar or []], background, between, how]
    asked += [*told(options), *vars(look).values()]
    slug = f"interpolate-{_name(requests[0])}" if requests else "interpolate"
    screen = Screen(quiet=as_json)
    made = interpolate_avatars(
        run,
        requests,
        steps=between,
        how=how,
        look=look,
        output=output or default_output(run, slug, 0, asked, image or []),
        options=options,
        progress=screen.meter("interpolate"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def _request(
    subject: str | None,
    avatar: Path | None,
    text: str | None,
    image: Path | None,
    background: str | None,
    seed: int | None,
) -> tuple[Any, list[Any], Sequence[Path]]:
    """The request for one avatar, checked; what was asked, for the name of a folder; and its images."""
    from rodin.generate.condition import one_request

    text = None if text is None else checked_text("--text", text)
    images = [] if image is None else [image]
    check_images(images, background)
    of = {"subject": subject, "saved": avatar, "seed": seed}
    asked = [subject, avatar and str(avatar.resolve()), text, background]
    return one_request(text=text, image=image, background=background, **of), asked, images


def _name(request: Any) -> str:
    """What an avatar is called in a folder's name."""
    if request.saved is not None:
        return slug_of(request.saved.resolve().name, "avatar")
    if request.image is not None:
        return slug_of(Path(request.image).stem, "image")
    return slug_of(request.subject or request.text or "nothing", "text")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (render, mesh, interpolate):
        app.command()(command)
