"""`rodin sample`, `edit` and `invert`: avatars from a run's models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

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
    SEED,
    SIZE,
    STEPS,
    SUBJECT,
    TEXT,
    VIEWS,
    check_images,
    default_output,
    print_avatar,
    print_avatars,
    sampling_options,
    seed_of,
    slug_of,
    tell,
    told,
)
from jobs.cli.marks import C2PA_CERT, C2PA_KEY, WATERMARK, WATERMARK_KEY
from jobs.cli.options import JSON, RUN_OPTION, path_option
from jobs.cli.screen import Screen
from rodin.generate.options import MOST_AVATARS, MOST_STRENGTH
from rodin.generate.texts import checked_text


def sample(
    run: RUN_OPTION,
    text: Annotated[list[str] | None, typer.Option("--text", help="description of the avatar; may be repeated")] = None,
    image: Annotated[
        list[Path] | None,
        path_option("--image", help="portrait of the avatar; may be repeated"),
    ] = None,
    background: BACKGROUND = None,
    seed: SEED = 0,
    count: Annotated[
        int, typer.Option("--count", min=1, max=MOST_AVATARS, help="avatars of each text or portrait; seeds count up")
    ] = 1,
    output: OUTPUT = None,
    size: SIZE = None,
    views: VIEWS = None,
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
    """Make avatars by the whole cascade: from texts, from portraits, or without a condition.

    One avatar is a folder of pictures, a turntable and a mesh; several avatars are one such folder each. A seed makes
    the same avatar however many are made with it. The same command again keeps what is there and makes what is missing;
    without --output, each request has a folder of its own. All files say that they are generated; pictures also hide a
    watermark with --watermark, and are signed with --c2pa-cert and --c2pa-key, else not.

    \b
    Examples:
      rodin sample --run runs/demo --seed 3
      rodin sample --run runs/demo --text "a woman with long red hair and a green shirt"
      rodin sample --run runs/demo --image me.png --output me/ --size 512 --format mp4
      rodin sample --run runs/demo --count 100 --steps 25 --size 128 --output crowd/
      rodin sample --run runs/demo --text "a bald man" --text "a woman with a hat" --count 4 --json
    """
    options = sampling_options(run, guidance_scale, steps, precision, (watermark, watermark_key, c2pa_cert, c2pa_key))
    texts, images = [checked_text("--text", one) for one in text or []], image or []
    if texts and images:
        raise ValueError("got both --text and --image, wanted one of them, or neither for an unconditional avatar")
    from rodin.generate.look import Look

    look = Look(size, views, format)
    check_images(images, background)
    slug = slug_of(texts[0], "text") if texts else slug_of(images[0].stem, "image") if images else "nothing"
    if count * max(1, len(texts), len(images)) > 1:
        slug += f"-x{count}"
    asked = [count, texts, background, *told(options), *vars(look).values()]
    target = output or default_output(run, slug, seed, asked, images)
    from rodin.generate.requests import sample_avatar, sample_avatars

    screen = Screen(quiet=as_json)
    named = {"background": background, "seed": seed, "output": target, "options": options, "look": look, "tell": tell}
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
    image: IMAGE = None,
    text: TEXT = None,
    subject: SUBJECT = None,
    avatar: AVATAR = None,
    background: BACKGROUND = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--from", help="description before the change; may be repeated; default: that of any person"),
    ] = None,
    strength: Annotated[float, typer.Option("--strength", help="of the change; 2 is far, and changes more else")] = 1.0,
    seed: OWN_SEED = None,
    output: OUTPUT = None,
    size: SIZE = None,
    views: VIEWS = None,
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
    """Change an avatar by a text: one of a portrait, of a text, of the run, made before, or an unconditional one.

    \b
    Examples:
      rodin edit --run runs/demo --image me.png --to "a person with blue hair"
      rodin edit --run runs/demo --avatar me/ --from "a man" --from "a portrait of a man" --to "a man with glasses"
    """
    options = sampling_options(run, guidance_scale, steps, precision, (watermark, watermark_key, c2pa_cert, c2pa_key))
    given = {"--text": text, "--image": image, "--subject": subject, "--avatar": avatar}
    if len(named_ones := [name for name, value in given.items() if value is not None]) > 1:
        raise ValueError(
            f"got both {' and '.join(named_ones)}, wanted one of them, or none for an unconditional avatar"
        )
    target = checked_text("--to", target)
    text = None if text is None else checked_text("--text", text)
    source = [checked_text("--from", one) for one in source or []]
    from rodin.generate.look import Look

    look = Look(size, views, format)
    slug, images = f"edit-{slug_of(target, 'to')}", [] if image is None else [image]
    check_images(images, background)
    seed = seed_of(seed, subject, avatar)
    if not math.isfinite(strength):
        raise ValueError(f"--strength: got {strength}, wanted a number over 0 and up to {MOST_STRENGTH:g}")
    asked = [target, source, text, subject, avatar and str(avatar.resolve()), strength, background]
    asked += [*told(options), *vars(look).values()]
    from rodin.generate.requests import edit_avatar

    screen = Screen(quiet=as_json)
    made = edit_avatar(
        run,
        image=image,
        text=text,
        subject=subject,
        saved=avatar,
        background=background,
        source=source,
        target=target,
        strength=strength,
        seed=seed,
        output=output or default_output(run, slug, seed, asked, images),
        options=options,
        look=look,
        progress=screen.meter("edit"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def invert(
    run: RUN_OPTION,
    image: Annotated[Path, path_option("--image", help="the portrait")],
    background: BACKGROUND = None,
    planes: Annotated[
        bool, typer.Option("--planes/--no-planes", help="fit the planes too, or the latent alone")
    ] = True,
    latent_steps: Annotated[int, typer.Option("--latent-steps", help="steps on the latent")] = 15,
    planes_steps: Annotated[int, typer.Option("--planes-steps", help="steps on the planes")] = 60,
    yaw: Annotated[
        float | None, typer.Option("--yaw", help="of the camera in degrees, over 0 from the person's left side")
    ] = None,
    pitch: Annotated[float | None, typer.Option("--pitch", help="of the camera in degrees, over 0 from above")] = None,
    camera: Annotated[
        Path | None,
        path_option("--camera", metavar="JSON", help="transforms.json; its first frame is the camera of the picture"),
    ] = None,
    seed: SEED = 0,
    output: OUTPUT = None,
    size: SIZE = None,
    views: VIEWS = None,
    format: FORMAT = "gif",
    watermark: WATERMARK = None,
    watermark_key: WATERMARK_KEY = None,
    c2pa_cert: C2PA_CERT = None,
    c2pa_key: C2PA_KEY = None,
    as_json: JSON = False,
) -> None:
    """Make an avatar that looks like one portrait: find its camera, then its latent, then its planes.

    `sample --image` makes an avatar of what CLIP says of a picture; this one is fitted to the picture. comparison.png
    shows the picture and both. The camera is told from the run's views of other people; where it keeps none, or
    of fewer than 20 people, it is looked for on the run's sphere within 40 degrees of the front.

    \b
    Examples:
      rodin invert --run runs/demo --image me.png
      rodin invert --run runs/demo --image me.png --yaw 30 --output me/
    """
    options = sampling_options(run, marks=(watermark, watermark_key, c2pa_cert, c2pa_key))
    check_images([image], background)
    if camera is not None and (yaw is not None or pitch is not None):
        raise ValueError("got both --camera and --yaw or --pitch, wanted the camera in one way")
    from rodin.captures.cameras_file import read_camera_of
    from rodin.generate.inversion import InversionSettings
    from rodin.generate.look import Look
    from rodin.generate.requests import invert_avatar

    known = None if camera is None else read_camera_of(camera, image)
    settings = InversionSettings(latent_steps, planes_steps if planes else 0, yaw, pitch, known)
    look = Look(size, views, format)
    asked = [background, latent_steps, settings.planes_steps, yaw, pitch, camera and str(camera.resolve())]
    asked += [*told(options), *vars(look).values()]
    screen = Screen(quiet=as_json)
    made = invert_avatar(
        run,
        image=image,
        background=background,
        seed=seed,
        settings=settings,
        output=output or default_output(run, f"invert-{slug_of(image.stem, 'image')}", seed, asked, [image]),
        options=options,
        look=look,
        progress=screen.meter("invert"),
        tell=tell,
    )
    screen.clear()
    print_avatar(made, as_json)


def add_to(app: typer.Typer) -> None:
    """Add these commands to the command line."""
    for command in (sample, edit, invert):
        app.command()(command)
