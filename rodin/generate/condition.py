"""What an avatar is made from: a seed and a text, an image or nothing; or it is there: a person, a saved avatar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from rodin.data.portraits import Picture
from rodin.generate.existing import seed_of_saved
from rodin.generate.export import PLANES
from rodin.generate.options import MOST_AVATARS, MOST_SEED
from rodin.generate.texts import checked_text
from rodin.shapes import check_whole
from rodin.store.atomic import sha256_of
from rodin.store.manifest import readable


@dataclass(frozen=True)
class AvatarRequest:
    """Request for one avatar: a seed, and a text, an image and its background, or neither (unconditional).

    Or for one that is there already: the id of a person of the run, or the folder of a saved avatar.
    """

    seed: int
    text: str | None = None
    image: Picture | None = None
    background: str | None = None
    subject: str | None = None
    saved: Path | None = None

    @property
    def condition(self) -> str:
        """What the avatar is made from: text, image or nothing; or "fit", for one that is there."""
        if self.subject is not None or self.saved is not None:
            return "fit"
        return "image" if self.image is not None else "nothing" if self.text is None else "text"

    def metadata(self) -> dict[str, Any]:
        """The request as metadata of the avatar."""
        if self.subject is not None:
            return {"from": "subject", "subject": self.subject, "seed": self.seed}
        if self.saved is not None:
            planes = self.saved / PLANES
            digest = {"avatar_sha256": sha256_of(planes)} if planes.is_file() else {}
            return {"from": "avatar", "avatar": readable(self.saved.name), "seed": self.seed} | digest
        source: dict[str, Any] = {"from": self.condition}
        if isinstance(self.image, str | Path):
            path = Path(self.image)
            source |= {"image": readable(path.name), "image_sha256": sha256_of(path)}
        if self.image is not None:
            source["background"] = self.background or "border"
        if self.text is not None:
            source["prompt"] = self.text
        return source | {"seed": self.seed}


def avatar_requests(
    texts: Sequence[str], images: Sequence[Picture], seed: int, count: int, background: str | None = None
) -> list[AvatarRequest]:
    """Requests for avatars, in order: `count` of each text or image, or `count` unconditional ones.

    Raises:
        ValueError: both texts and images, a text that cannot be read, a background without an image, or a count or seed
            out of range.
        FileNotFoundError: no such image.
    """
    if len(texts) and len(images):
        raise ValueError("got both a text and an image, wanted at most one of them")
    if background is not None and not len(images):
        raise ValueError(f"got the background '{background}' but no image; wanted both or none")
    if not isinstance(count, Integral) or count < 1:
        raise ValueError(f"count: got {count!r}, wanted at least 1 avatar")
    if (total := count * max(1, len(texts), len(images))) > MOST_AVATARS:
        raise ValueError(f"count: got {total} avatars in all, wanted at most {MOST_AVATARS} at once")
    check_whole("seed", seed, 0, MOST_SEED + 1 - count)
    for image in images:
        if not isinstance(image, str | Path | Image.Image | np.ndarray):
            raise ValueError(f"image: got {type(image).__name__}, wanted a file's path, a PIL image or a numpy array")
        if isinstance(image, str | Path) and not Path(image).is_file():
            raise FileNotFoundError(f"{image}: no such picture; wanted the path of a PNG or JPEG file")
    seeds = range(seed, seed + count)
    if texts := [checked_text("text", text) for text in texts]:
        return [AvatarRequest(number, text=text) for text in texts for number in seeds]
    return [AvatarRequest(number, None, image, background) for image in images or [None] for number in seeds]


def one_request(
    *,
    text: str | None = None,
    image: Picture | None = None,
    background: str | None = None,
    subject: str | None = None,
    saved: Path | None = None,
    seed: int | None = None,
) -> AvatarRequest:
    """Request for one avatar of a text, an image, a person of the run, a saved avatar, or nothing.

    Args:
        seed: None: 0, or that of the saved avatar.

    Raises:
        ValueError: more than one of them, a seed for one that is there, or as `avatar_requests`.
        FileNotFoundError: no such image.
    """
    given = {"a text": text, "an image": image, "a subject": subject, "an avatar": saved}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ValueError(f"got {' and '.join(named)}, wanted one of them, or none for an unconditional avatar")
    if subject is not None or saved is not None:
        if background is not None:
            raise ValueError(f"got the background '{background}' but no image; wanted both or none")
        if seed is not None:
            raise ValueError(f"seed: got {seed} for {named[0]} that is there already, with its own; leave it out")
        return AvatarRequest(0 if saved is None else seed_of_saved(saved), subject=subject, saved=saved)
    texts, images = [] if text is None else [text], [] if image is None else [image]
    return avatar_requests(texts, images, seed or 0, 1, background)[0]
