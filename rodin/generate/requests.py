"""Avatars on request, each to a folder that says what was asked: sampled, inverted, edited, interpolated.

Called again, a request keeps the avatars that are there and makes what is missing. All are made by `Rodin`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rodin.generate.api import Rodin
from rodin.generate.avatar import Avatar
from rodin.generate.changes import checked_edit, edit_metadata, inversion_metadata
from rodin.generate.condition import AvatarRequest, avatar_requests, one_request
from rodin.generate.edits import GENERAL_TEXTS
from rodin.generate.existing import check_person, check_saved
from rodin.generate.export import FOUND_OUT, check_export, exported_paths, is_exported, metadata_of, replaced
from rodin.generate.inversion import InversionSettings
from rodin.generate.look import Look
from rodin.generate.models import check_models
from rodin.generate.options import SamplingOptions, sampling_metadata
from rodin.generate.texts import Tell
from rodin.hooks import Progress


def sample_avatar(
    run: Path,
    *,
    text: str | None = None,
    image: Path | None = None,
    background: str | None = None,
    seed: int = 0,
    output: Path,
    options: SamplingOptions | None = None,
    look: Look | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Sample one avatar: from a text, from an image, or unconditionally.

    Args:
        run: a run folder with trained models.
        text: description of the avatar.
        image: an image of a person; give text or image or neither, not both.
        background: of an image without alpha: "border" (the default), "white", "#rrggbb" or "none", kept whole.
        seed: the same seed gives the same avatar.
        output: folder to write; an avatar of this very request there is kept, another one replaced.
        options: sampling options; None: the run's config.
        look: size, number and format of the pictures.
        progress: progress callback (done, total, note).
        tell: called with one line for whatever the user may not expect: words of a text that are left out, an earlier
            avatar that is kept or replaced.

    Returns:
        as `export_avatar`: paths of what was written, and the words of a text that were left out.

    Raises:
        ValueError: text and image both given, a text that cannot be read, a file that is not an image, an option out
            of range, a damaged model, or an output folder with other contents or that cannot be written.
        FileNotFoundError: no such run, image or trained model.
    """
    (request,) = avatar_requests([] if text is None else [text], [] if image is None else [image], seed, 1, background)
    rodin = opened(run, options, progress, tell, request)
    check_export(output)
    cut = rodin.read([] if request.text is None else [("text", request.text)])
    source = request.metadata() | sampling_metadata(rodin.config) | cut
    return _made(rodin, output, source, look, lambda: rodin.made([request], told=True)[0])


def sample_avatars(
    run: Path,
    *,
    texts: Sequence[str] = (),
    images: Sequence[Path] = (),
    background: str | None = None,
    seed: int = 0,
    count: int = 1,
    output: Path,
    options: SamplingOptions | None = None,
    look: Look | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> list[dict[str, Any]]:
    """Sample many avatars, each to a folder of its own; called again, it continues with the missing ones.

    Args:
        run, background, options, look, progress, tell: as in `sample_avatar`.
        texts: descriptions of avatars.
        images: images of people; give texts or images or neither, not both.
        seed: seed of the first avatar of each text or image; the others count up.
        count: avatars of each text or image.
        output: folder that holds one folder for each avatar: 0000, 0001, ...

    Returns:
        one dict for each avatar, as `sample_avatar`. An avatar does not depend on how many are sampled with it.

    Raises:
        ValueError, FileNotFoundError: as `sample_avatar`.
    """
    requests = avatar_requests(texts, images, seed, count, background)
    rodin, look = opened(run, options, None, tell, requests[0]), look or Look()
    outputs = [output / f"{number:04d}" for number in range(len(requests))]
    for number, path in enumerate(outputs):
        if number == 0 or path.exists():
            check_export(path)
    if others := [path.name for path in output.glob("*") if path not in outputs and not path.name.startswith(".")]:
        raise ValueError(f"{output}: holds {others[0]}, not of these avatars; wanted a new folder's name for them")
    cut = {
        text: rodin.read([] if text is None else [("text", text)]) for text in dict.fromkeys(r.text for r in requests)
    }
    settings = sampling_metadata(rodin.config)
    sources = [request.metadata() | settings | cut[request.text] for request in requests]
    abouts = [metadata_of(rodin.models, source, look) for source in sources]
    missing = [n for n, path in enumerate(outputs) if not is_exported(path, abouts[n])]
    if tell and (lines := [line for n in missing if (line := replaced(outputs[n], abouts[n]))]):
        tell(lines[0] + (f"; and {len(lines) - 1} more" if len(lines) > 1 else ""))
    if tell and len(missing) < len(requests):
        tell(f"{output}: {len(requests) - len(missing)} of {len(requests)} avatars are there already and kept")
    size = rodin.config.sample.batch
    for first in range(0, len(missing), size):
        batch, done = missing[first : first + size], len(requests) - len(missing) + first
        report = None if progress is None else _batch_progress(progress, done, len(batch), len(requests))
        for number, avatar in zip(batch, rodin.made([requests[n] for n in batch], report, told=True), strict=True):
            replace(avatar, provenance=sources[number]).save(outputs[number], look=look)
    return [exported_paths(path) for path in outputs]


def edit_avatar(
    run: Path,
    *,
    image: Path | None = None,
    text: str | None = None,
    background: str | None = None,
    subject: str | None = None,
    saved: Path | None = None,
    target: str,
    source: str | Sequence[str] | None = None,
    strength: float = 1.0,
    seed: int | None = None,
    output: Path,
    options: SamplingOptions | None = None,
    look: Look | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Edit an avatar by texts, see `Rodin.edit`.

    Args:
        run, background, output, options, look, progress, tell: as in `sample_avatar`.
        seed: of an avatar that is made (None: 0); a person or a saved avatar has its own.
        image: an image of the avatar to edit.
        text: a text to sample the avatar from instead.
        subject: id of a person of the run instead.
        saved: folder of a saved avatar instead; nothing of these: an unconditional avatar.
        target: description of the avatar after the edit.
        source: descriptions of the avatar before the edit, one or several; None: general descriptions of a person.
        strength: of the edit.

    Returns:
        as `sample_avatar`; views of the avatar before the edit are written as well.

    Raises:
        ValueError: as `sample_avatar`; or target and source have the same embedding.
        FileNotFoundError: as `sample_avatar`.

    Source: R35-R37.
    """
    target_text, sources = checked_edit(target, source, strength)
    of = {"subject": subject, "saved": saved, "seed": seed}
    request = one_request(text=text, image=image, background=background, **of)
    rodin = opened(run, options, progress, tell, request, edits=True)
    check_output_of(output, request)
    texts = [("target text", target_text), *(("source text", one) for one in sources)]
    texts += [] if request.text is None else [("text", request.text)]
    cut = rodin.read(texts)
    source_of = request.metadata() | edit_metadata(target_text, sources or GENERAL_TEXTS, strength)
    source_of |= sampling_metadata(rodin.config) | cut

    def make() -> Avatar:
        (avatar,) = rodin.made([request], told=True)
        return rodin.edit(avatar, target_text, source=sources, strength=strength, told=True)

    return _made(rodin, output, source_of, look, make)


def invert_avatar(
    run: Path,
    *,
    image: Path,
    background: str | None = None,
    seed: int = 0,
    settings: InversionSettings | None = None,
    output: Path,
    options: SamplingOptions | None = None,
    look: Look | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> dict[str, Any]:
    """Invert a picture, see `Rodin.invert`.

    Args:
        run, image, background, seed, output, options, look, progress, tell: as in `sample_avatar`.
        settings: steps, and the camera where it is known.

    Returns:
        as `sample_avatar`; views of the avatar before and `comparison.png` are written as well.

    Raises:
        ValueError, FileNotFoundError: as `Rodin.invert`.
    """
    (request,) = avatar_requests([], [image], seed, 1, background)
    rodin, settings = opened(run, options, progress, tell, request), settings or InversionSettings()
    check_export(output)
    source = request.metadata() | {"inverted": inversion_metadata(settings)} | sampling_metadata(rodin.config)

    def make() -> Avatar:
        return rodin.invert(image, seed=seed, background=background, settings=settings)

    return _made(rodin, output, source, look, make)


def opened(
    run: Path,
    options: SamplingOptions | None,
    progress: Progress | None,
    tell: Tell | None,
    *requests: AvatarRequest,
    edits: bool = False,
) -> Rodin:
    """The run's models, checked to be all that avatars like these need."""
    rodin = Rodin(run, options=options, progress=progress, tell=tell)
    for condition in dict.fromkeys(request.condition for request in requests):
        check_models(rodin.config, rodin.models.folder, condition, edits)
    for request in requests:
        if request.saved is not None:
            check_saved(request.saved)
        elif request.subject is not None:
            check_person(rodin.models.folder, request.subject)
    return rodin


def check_output_of(output: Path, *requests: AvatarRequest) -> None:
    """Refuse a folder for output that holds other things, or the very avatar that is read.

    Raises:
        ValueError: names it.
    """
    check_export(output)
    if any(request.saved is not None and request.saved.resolve() == output.resolve() for request in requests):
        raise ValueError(f"{output}: holds the avatar that is read, and would be replaced; give another folder's name")


def _made(
    rodin: Rodin, output: Path, source: Mapping[str, Any], look: Look | None, make: Callable[[], Avatar]
) -> dict[str, Any]:
    """The avatar in a folder, made where it is not there; tells of one that is kept or replaced."""
    look = look or Look()
    if kept(rodin, output, source, look):
        return exported_paths(output)
    avatar = make()
    found = {key: avatar.provenance[key] for key in FOUND_OUT if key in avatar.provenance}
    return replace(avatar, provenance={**source, **found}).save(output, look=look, progress=rodin.progress)


def kept(rodin: Rodin, output: Path, source: Mapping[str, Any], look: Look) -> bool:
    """Whether what was asked for is in the folder already; tells of that, or of another thing that it replaces."""
    metadata = metadata_of(rodin.models, source, look)
    there = is_exported(output, metadata)
    line = f"{output}: this very avatar is there already and kept" if there else replaced(output, metadata)
    if rodin.tell and line:
        rodin.tell(line)
    return there


def _batch_progress(progress: Progress, done: int, batch: int, total: int) -> Progress:
    """Progress over all avatars, from the sampling steps of one batch."""
    return lambda step, steps, note: progress(done * steps + batch * step, total * steps, f"{done} avatars done")
