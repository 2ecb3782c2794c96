"""What an avatar's files are marked with besides their tags: an invisible watermark, and content credentials."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rodin.marks.credentials import SIGNED, Credentials
from rodin.marks.keys import PUBLIC_KEY
from rodin.marks.tags import AVATAR, COMPOSITE, Origin

if TYPE_CHECKING:
    import numpy as np

MARKS = ("watermark", "c2pa_certificate_sha256")  # keys of metadata that tell of the marks


@dataclass(frozen=True)
class Marking:
    """Marks of an avatar's files.

    Args:
        key: of the watermark in its pictures; None: none.
        credentials: to sign its pictures with; None: they are not signed.
    """

    key: bytes | None = None
    credentials: Credentials | None = None

    def metadata(self) -> dict[str, Any]:
        """The marks as metadata of the avatar; empty where there are none. A key is told by its fingerprint alone."""
        told: dict[str, Any] = {}
        if self.key is not None:
            told["watermark"] = (
                "public key" if self.key == PUBLIC_KEY else f"key {hashlib.sha256(self.key).hexdigest()[:8]}"
            )
        if self.credentials is not None:
            told["c2pa_certificate_sha256"] = self.credentials.fingerprint
        return told

    def marked(self, pictures: np.ndarray) -> np.ndarray:
        """Pictures [V, H, W, 4] uint8 with the watermark, where there is one."""
        if self.key is None:
            return pictures
        import numpy as np  # here, as the command line reads options without them: numpy and scipy load slowly

        from rodin.marks.watermark import mark

        return np.stack([mark(picture, self.key) for picture in pictures])

    def sign(self, folder: Path, composites: Collection[str] = (), origin: Origin = AVATAR) -> None:
        """Sign the pictures of a folder, where there are credentials.

        Args:
            folder: of the pictures.
            composites: names of those that show given pictures beside generated ones.
            origin: of the others.
        """
        if self.credentials is not None:
            for path in sorted(path for path in folder.iterdir() if path.suffix in SIGNED):
                self.credentials.sign(path, COMPOSITE if path.name in composites else origin)
