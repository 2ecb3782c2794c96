"""report.html: one page with all results of a run, readable without a network and on a phone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.figures.edits import edits_of
from analysis.report.findings import Findings, write_findings
from analysis.report.headlines import headlines
from analysis.report.links import Links, without_paths
from analysis.report.meshes import viewer_meshes
from analysis.report.pictures import embedded, turning, write_turns
from analysis.results.paper import DASH, SCALE
from analysis.results.provenance import config_of, facts_of, flat_config, fresh_command, setting
from analysis.tables.costs import hardware
from analysis.tables.layout import Grid, grid
from rodin.store.atomic import publish_bytes
from rodin.store.errors import Unwritable
from rodin.store.results import row_files
from rodin.store.run_folder import RunFolder

SECTIONS = {
    "summary": "In short",
    "meshes": "Look around them",
    "paper": "Table 1 beside the paper",
    "figures": "Figures 3 to 13",
    "control": "Text and pictures as input",
    "edits": "Edits",
    "data": "Data and fits",
    "losses": "Losses",
    "cost": "Cost",
    "reproduce": "Reproduce",
}
PAPER_FIGURES = tuple(str(number) for number in range(3, 14))
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
    "resolution": "Figure 3 in numbers: tri-plane resolution",
    "views": "Figure 4 in numbers: number of views",
    "convolution": "Figure 6 in numbers: roll-out and 3D-aware convolution",
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
class ShownTable:
    """A table on the page: its title, its texts, and the relative paths of its files."""

    title: str
    grid: Grid
    files: dict[str, str]


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
            publish_bytes(path, report_page(run, Path(folder), path.parent))
    return path


def report_page(run: Path, output: Path | None = None, place: Path | None = None) -> bytes:
    """Write tables and figures, and return the page that shows them.

    Args:
        run: a run folder, finished or not.
        output: folder for `tables/` and `figures/`; default: the run folder.
        place: folder that the page will lie in, for its links; default: the run folder.

    Raises:
        FileNotFoundError: no such run folder.
        ValueError: run.toml is damaged.
        Unwritable: a table or figure cannot be written.
    """
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    found = write_findings(run, output)
    turns: Mapping[str, Path] = {}
    try:
        turns = write_turns(run, RunFolder(output or run).figures)
    except Unwritable:
        raise
    except ValueError as problem:
        found.missing["turning avatars"] = str(problem)
    content = page_content(run, found, turns, Links(run, place or run))
    return TEMPLATES.get_template("report.html.jinja").render(content).encode()


def page_content(run: Path, found: Findings, turns: Mapping[str, Path], links: Links) -> dict[str, Any]:
    """Variables of the template report.html.jinja."""
    config, facts = config_of(run), facts_of(run)
    verdict = found.tables["reconstruction"][0]["note"].splitlines()[0] if "reconstruction" in found.tables else ""
    subjects, meshes = setting(config, "data.subjects"), []
    missing = {name: without_paths(reason, run) for name, reason in found.missing.items()}
    try:
        meshes = viewer_meshes(run)
    except ValueError as problem:
        missing["meshes"] = without_paths(str(problem), run)
    return {
        "title": f"RODIN run: {run.resolve().name}",
        "run": run.resolve().name,
        "subjects": f"{subjects:,}" if subjects else "",
        "facts": _header_facts(run, config, facts, found),
        "sections": {key: words for key, words in SECTIONS.items() if key != "edits" or edits_of(run)},
        "paper_figures": PAPER_FIGURES,
        "cards": headlines(found.tables, config),
        "verdict": verdict,
        "meshes": [{"name": mesh.name, "faces": mesh.faces, "file": links.mesh(mesh.name)} for mesh in meshes],
        "mesh_data": json.dumps([asdict(mesh) for mesh in meshes]).replace("<", "\\u003c"),
        "turns": [turning(name, path, links.to(Path("figures") / path.name)) for name, path in turns.items()],
        "tables": {
            f"table {name}": ShownTable(TABLE_TITLES[name], _without_paths(grid(rows), run), links.table(name))
            for name, rows in found.tables.items()
        },
        "figures": {
            f"figure {name}": embedded(run, name, path, links.figure(name)) for name, path in found.figures.items()
        },
        "scale": scales_of(config),
        "logs": links.logs(),
        "commands": [without_paths(line, run) for line in _commands(run, facts)],
        "config": _key_values("key", flat_config(config), run),
        "versions": _key_values("what", facts, run),
        "missing": missing,
        "reasons": _by_reason(missing),
        "version": facts.get("code.version", ""),
    }


def date_of(run: Path) -> str:
    """Day on which the newest results were written, in UTC; empty where there are none."""
    times = [path.stat().st_mtime for path in row_files(RunFolder(run))]
    return datetime.fromtimestamp(max(times), UTC).strftime("%-d %B %Y") if times else ""


def cost_of(tables: Mapping[str, Any]) -> str:
    """GPU-hours and core-hours of a run; empty where they were not measured."""
    total = tables["timings"][-1] if "timings" in tables else {}
    named = (("gpu_hours", "GPU-hours"), ("cpu_hours", "core-hours"))
    return ", ".join(f"{hours:.1f} {words}" for key, words in named if (hours := total.get(key)))


def _header_facts(run: Path, config: Mapping[str, Any], facts: Mapping[str, str], found: Findings) -> list[str]:
    shown = [f"{key} {config[key]}" for key in ("preset", "seed") if key in config]
    shown += [text for text in (date_of(run), hardware(run), cost_of(found.tables)) if text]
    shown += [f"code {facts['code.commit'][:COMMIT_LETTERS]}"] if "code.commit" in facts else []
    return shown + [f"{name} {facts[key]}" for name in VERSIONS_SHOWN if (key := f"versions.{name}") in facts]


def scales_of(config: dict[str, Any]) -> Grid:
    """Scale of this run beside the paper's; a side is printed as a square, as the paper prints it."""
    lines = []
    for what, (keys, theirs) in SCALE.items():
        ours = min((value for key in keys if (value := setting(config, key)) is not None), default=None)
        lines.append([what, DASH if ours is None else f"{ours:,}" + ("²" if theirs.endswith("²") else ""), theirs])
    return Grid(["", "this run", "paper"], lines, [])


def _commands(run: Path, facts: Mapping[str, str]) -> list[str]:
    """Commands that make the same run again."""
    commit = facts.get("code.commit", "").split(" ")[0]
    checkout = [f"git checkout {commit}"] if commit else []
    return [*checkout, "pip install -c constraints.txt -e '.[demo]'", fresh_command(run)]


def _without_paths(shown: Grid, run: Path) -> Grid:
    lines = [[without_paths(text, run) for text in line] for line in shown.lines]
    return Grid(shown.header, lines, [without_paths(note, run) for note in shown.notes])


def _key_values(heading: str, values: Mapping[str, str], run: Path) -> Grid:
    return Grid([heading, "value"], [[key, without_paths(value, run)] for key, value in values.items()], [])


def _by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """What is missing, grouped by the reason."""
    groups: dict[str, list[str]] = {}
    for name, reason in missing.items():
        groups.setdefault(reason, []).append(name)
    return groups
