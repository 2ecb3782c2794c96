"""Links from the page to files of its run, by relative paths, and texts without absolute ones."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from rodin.store.reading import entries
from rodin.store.run_folder import RunFolder

ABSOLUTE = re.compile(r"(?<![\w.~/…-])/(?:[^\s/'\"`<>|,;()]+/)+(?=[^\s/'\"`<>|,;()])")


class Links:
    """Relative paths of a run's files, as a page sees them.

    Args:
        run: the run folder.
        page: folder of the page.
    """

    def __init__(self, run: Path, page: Path) -> None:
        self.run, self.page = RunFolder(Path(run).resolve()), Path(page).resolve()

    def to(self, path: Path) -> str | None:
        """Relative path of a file or folder of the run; None if it is not there."""
        path = self.run.path / path
        return quote(os.path.relpath(path, self.page)) if path.exists() else None

    def files(self, named: dict[str, Path]) -> dict[str, str]:
        """Name -> relative path, of those files that are there."""
        return {name: link for name, path in named.items() if (link := self.to(path)) is not None}

    def table(self, name: str) -> dict[str, str]:
        """Files of a table."""
        return self.files({kind: Path("tables") / f"table-{name}.{end}" for kind, end in TABLE_FILES.items()})

    def figure(self, name: str) -> dict[str, str]:
        """Files of a figure."""
        return self.files({end.upper(): Path("figures") / f"figure-{name}.{end}" for end in ("png", "pdf")})

    def mesh(self, name: str) -> str | None:
        """File of a sample's mesh."""
        return self.to(self.run.stage("sample") / "meshes" / f"{name}.glb")

    def logs(self) -> dict[str, str]:
        """Stage -> the folder of its logs."""
        folders = [path for path in entries(self.run.jobs / "logs") if path.is_dir()]
        return self.files({path.name: path for path in sorted(folders)})


TABLE_FILES = {"CSV": "csv", "LaTeX": "tex", "text": "txt"}
"""name of a kind of file -> its ending"""


def without_paths(text: str, run: Path) -> str:
    """A text with the run's name for its path, and of other absolute paths only the last name."""
    run = Path(run)
    for path in sorted({str(run), str(run.resolve())} - {"."}, key=len, reverse=True):
        place = rf"{re.escape(path)}(?![\w-])"
        if "/" not in path:  # a word such as "run" or "last" stands in commands and notes too
            place = rf"(?<=--run ){place}|(?<![\w./-]){re.escape(path)}(?=/)"
        text = re.sub(place, lambda found: run.resolve().name, text)
    return ABSOLUTE.sub("…/", text)
