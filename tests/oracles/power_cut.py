"""What a power cut may leave of a folder: names as of its last fsync or as they are now, bytes as of each file's fsync.

`kill -9` cannot show a missing fsync, since the operating system keeps what was written. This model watches each fsync,
rename and removal, and checks after each of them the worst that a disk without power could hold.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Left = dict[str, bytes | None]
"""name -> bytes on disk; None where the file has its name but its bytes were never fsynced"""


class Disk:
    """Watches one folder from now on; what lies there already counts as fsynced.

    Args:
        monkeypatch: undoes the watching.
        folder: the folder.
        check: called with each of the possible remains after every fsync, rename and removal.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, folder: Path, check: Callable[[Left], object] = lambda left: None
    ) -> None:
        self.folder, self.check = folder, check
        self.held: dict[int, int] = {}  # inode -> descriptor: keeps the number from being used again
        self.bytes: dict[int, bytes] = {}
        self.checks = 0
        self.real_fsync = os.fsync
        self.names = self._listing()
        for inode in self.names.values():
            self.bytes[inode] = self._content(self.held[inode])
        monkeypatch.setattr(os, "fsync", self._fsync)
        for name in ("replace", "rename", "unlink"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))

    def remains(self) -> list[Left]:
        """Names as last fsynced; as they are now; and as last fsynced but with later removals; bytes as last fsynced.

        A rename over an older file leaves the older or the new one, never neither.
        """
        now = self._listing()
        survivors = {name: inode for name, inode in self.names.items() if name in now}
        return [
            {name: self.bytes.get(inode) for name, inode in names.items()} for names in (self.names, now, survivors)
        ]

    def _listing(self) -> dict[str, int]:
        found = {}
        for path in self.folder.iterdir() if self.folder.exists() else []:
            if path.is_file():
                inode = path.stat().st_ino
                found[path.name] = inode
                if inode not in self.held:
                    self.held[inode] = os.open(path, os.O_RDONLY)
        return found

    @staticmethod
    def _content(handle: int) -> bytes:
        return Path(f"/proc/self/fd/{handle}").read_bytes()

    def _fsync(self, handle: int) -> None:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            if self.folder.exists() and os.path.samestat(status, self.folder.stat()):
                self.names = self._listing()
        else:
            self.held.setdefault(status.st_ino, os.dup(handle))
            self.bytes[status.st_ino] = self._content(handle)
        self._look()

    def _watched(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> None:
            self._listing()
            real(*arguments, **options)
            self._look()

        return call

    def _look(self) -> None:
        self.checks += 1
        for left in self.remains():
            self.check(left)
