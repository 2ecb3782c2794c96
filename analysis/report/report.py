"""report.html: one page with all results of a run, readable without a network and on a phone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from analysis.figures.figures import FIGURES
from analysis.report.findings import Findings, write_findings
from analysis.report.headlines import headlines
from analysis.results.paper import DASH, SCALE
from analysis.results.provenance import config_of, facts_of, flat_config, fresh_command, setting
from analysis.tables.layout import Grid, grid
from rodin.store.atomic import publish_bytes
from rodin.store.run_folder import RunFolder

SECTIONS = {
    "summary": "In short",
    "data": "Data and fits",
    "samples": "Samples",
    "control": "Text and pictures as input",
    "paper": "Beside the paper",
    "ablations": "Ablations",
    "losses": "Losses",
    "cost": "Time and memory",
    "reproduce": "Reproduce",
}
TABLE_TITLES = {
    "1": "Table 1: reconstruction of unseen people from one picture",
    "fit": "Fits",
    "neighbours": "Nearest training people",
    "reconstruction": "Reconstruction beside the posterior mean and two simple guesses",
    "cascade": "Where detail is lost along the cascade",
    "memorisation": "Figure 7 in numbers: copies of training people",
    "prompts": "Prompt hit rate",
    "frechet": "Fréchet distance",
    "clip": "The small CLIP: finding captions and pictures",
    "losses": "What loss is normal?",
    "timings": "By stage",
    "resolution": "Tri-plane resolution",
    "views": "Number of views",
    "convolution": "Roll-out and 3D-aware convolution",
}
VERSIONS_SHOWN = ("torch", "numpy", "bpy")
COMMIT_LETTERS = 12  # of the commit's hash at the head of the page: enough to be unique, short enough for a phone
TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class EmbeddedFigure:
    """A PNG inside the page.

    Args:
        id: its anchor.
        title, caption: heading, and caption, which is also the alternative text.
        width, height: pixels.
        data: the file in base64.
    """

    id: str
    title: str
    caption: str
    width: int
    height: int
    data: str


def write_report(run: Path, path: Path | None = None) -> Path:
    """Write one self-contained page of all results that the run has so far.

    Args:
        run: a run folder, finished or not.
        path: the page; nothing else is then written. Default: the run's ``report.html``, with its tables and figures.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: no such run folder.
        ValueError: run.toml is damaged.
        Unwritable: a file cannot be written.
    """
    if path is None:
        path = RunFolder(run).report
        publish_bytes(path, report_page(run))
    else:
        with TemporaryDirectory() as folder:
            publish_bytes(path, report_page(run, Path(folder)))
    return path


def report_page(run: Path, output: Path | None = None) -> bytes:
    """Write tables and figures, and return the page that shows them.

    Args:
        run: a run folder, finished or not.
        output: folder for `tables/` and `figures/`; default: the run folder.

    Raises:
        FileNotFoundError: no such run folder.
        ValueError: run.toml is damaged.
        Unwritable: a table or figure cannot be written.
    """
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    content = page_content(run, write_findings(run, output))
    return TEMPLATES.get_template("report.html.jinja").render(content).encode()


def page_content(run: Path, found: Findings) -> dict[str, Any]:
    """Variables of the template report.html.jinja."""
    config, facts = config_of(run), facts_of(run)
    verdict = found.tables["reconstruction"][0]["note"].splitlines()[0] if "reconstruction" in found.tables else ""
    subjects = setting(config, "data.subjects")
    return {
        "title": f"RODIN run: {run.resolve().name}",
        "subjects": f"{subjects:,}" if subjects else "",
        "facts": _header_facts(config, facts),
        "sections": SECTIONS,
        "cards": headlines(found.tables, config),
        "verdict": verdict,
        "tables": {f"table {name}": (TABLE_TITLES[name], grid(rows)) for name, rows in found.tables.items()},
        "figures": {f"figure {name}": _embedded(name, path) for name, path in found.figures.items()},
        "scale": _scales(config),
        "commands": _commands(run, facts),
        "config": _key_values("key", flat_config(config)),
        "versions": _key_values("what", facts),
        "missing": found.missing,
        "reasons": _by_reason(found.missing),
        "version": facts.get("code.version", ""),
    }


def _header_facts(config: Mapping[str, Any], facts: Mapping[str, str]) -> list[str]:
    shown = [f"{key} {config[key]}" for key in ("preset", "seed") if key in config]
    shown += [f"code {facts['code.commit'][:COMMIT_LETTERS]}"] if "code.commit" in facts else []
    return shown + [f"{name} {facts[key]}" for name in VERSIONS_SHOWN if (key := f"versions.{name}") in facts]


def _embedded(name: str, path: Path) -> EmbeddedFigure:
    with Image.open(path) as image:
        width, height = image.size
    data = base64.b64encode(path.read_bytes()).decode()
    return EmbeddedFigure(path.stem, FIGURES[name].title, FIGURES[name].caption, width, height, data)


def _scales(config: dict[str, Any]) -> Grid:
    """Scale of this run beside the paper's; a side is printed as a square, as the paper prints it."""
    lines = []
    for what, (key, theirs) in SCALE.items():
        ours = setting(config, key)
        lines.append([what, DASH if ours is None else f"{ours:,}" + ("²" if theirs.endswith("²") else ""), theirs])
    return Grid(["", "this run", "paper"], lines, [])


def _commands(run: Path, facts: Mapping[str, str]) -> list[str]:
    """Commands that make the same run again."""
    commit = facts.get("code.commit", "").split(" ")[0]
    checkout = [f"git checkout {commit}"] if commit else []
    return [*checkout, "pip install -c constraints.txt -e '.[demo]'", fresh_command(run)]


def _key_values(heading: str, values: Mapping[str, str]) -> Grid:
    return Grid([heading, "value"], [[key, value] for key, value in values.items()], [])


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """What is missing, grouped by the reason."""
    groups: dict[str, list[str]] = {}
    for name, reason in missing.items():
        groups.setdefault(reason, []).append(name)
    return groups
