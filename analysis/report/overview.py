"""One page with all runs of a folder: name, preset, date, state, main numbers, and a link to each run's page."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from analysis.report.headlines import headlines
from analysis.report.links import without_paths
from analysis.report.pictures import webp
from analysis.report.report import TEMPLATES, cost_of, date_of
from analysis.results.large import Pictures
from analysis.results.provenance import config_of
from analysis.results.renders import samples_of_kind
from analysis.results.rows import MissingRows, Row
from analysis.tables.costs import ORDER, table_timings
from analysis.tables.prompts import table_prompts
from analysis.tables.quality import table_fit, table_reconstruction
from analysis.tables.tables import table
from rodin.compositing import bytes_over_white
from rodin.store import manifest
from rodin.store.reading import entries
from rodin.store.run_folder import RunFolder

FACES, SIDE = 3, 96  # samples shown of each run; px, their side: sharp at half of it
TABLES: dict[str, Callable[[Path], list[Row]]] = {
    "fit": table_fit,
    "reconstruction": table_reconstruction,
    "1": lambda run: table(run, "1"),
    "prompts": table_prompts,
    "timings": table_timings,
}
"""tables whose headlines the page shows"""
NUMBERS = ("Fit quality", "Table 1, PSNR", "Gain over simple guesses", "Colour prompts that came out")
"""headlines that are columns"""


@dataclass(frozen=True)
class RunLine:
    """A run's line: its name, the relative path of its page if it has one, texts, and small pictures in base64."""

    name: str
    link: str | None
    preset: str
    date: str
    state: str
    numbers: list[str]
    cost: str
    faces: list[str]


def overview_page(runs: Path, place: Path) -> bytes:
    """The page.

    Args:
        runs: folder with run folders in it.
        place: folder that the page will lie in, for its links.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: there is no run in it.
    """
    if not runs.is_dir():
        raise FileNotFoundError(f"{runs}: no such folder; give one that holds run folders, such as runs/")
    found = [path for path in sorted(entries(runs)) if RunFolder(path).config_file.is_file()]
    if not found:
        raise ValueError(f"{runs}: holds no run folder (none has a run.toml); `rodin run PRESET` makes one")
    lines = [run_line(path, place) for path in found]
    title = f"RODIN runs: {runs.resolve().name}"
    content = {"title": title, "lines": lines, "numbers": NUMBERS}
    return TEMPLATES.get_template("overview.html.jinja").render(content).encode()


def run_line(run: Path, place: Path) -> RunLine:
    """What the page tells of a run; of a damaged one, what is damaged."""
    page = RunFolder(run).report
    link = quote(os.path.relpath(page.resolve(), place.resolve())) if page.is_file() else None
    try:
        config, tables = config_of(run), {}
        for name, make in TABLES.items():
            try:
                tables[name] = make(run)
            except MissingRows:
                continue
        shown = headlines(tables, config)
        cards = {card.name: card.number + ("" if card.sure else " (not sure)") for card in shown}
        numbers = [cards.get(name, "") for name in NUMBERS]
        facts = str(config.get("preset", "")), date_of(run), state_of(run)
        return RunLine(run.name, link, *facts, numbers, cost_of(tables), _faces(run))
    except ValueError as problem:
        return RunLine(run.name, link, "", "", without_paths(str(problem), run), [""] * len(NUMBERS), "", [])


def state_of(run: Path) -> str:
    """Whether a run is finished, or the last of its stages that is begun."""
    folder = RunFolder(run)
    if manifest.complete(folder.manifest("report")):
        return "finished"
    begun = [stage for stage in ORDER if any(entries(folder.stage(stage)))]
    return f"as far as {begun[-1]}" if begun else "not begun"


def _faces(run: Path) -> list[str]:
    try:
        pictures = Pictures(run)
    except MissingRows:
        return []
    names = [name for name, _ in samples_of_kind(pictures.stored, "unconditional")][:FACES]
    images = [Image.fromarray(bytes_over_white(pictures.front(name))).resize((SIDE, SIDE)) for name in names]
    return [base64.b64encode(webp(image)).decode() for image in images]
