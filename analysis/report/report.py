"""report.html: one calm page that holds all a run found, readable without a network and on a phone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from analysis.figures.figures import FIGURES
from analysis.report.gather import Findings, gather
from analysis.report.headlines import headlines
from analysis.report.page import cards, code, document, folded, html_table, missing, paragraph, picture, section
from analysis.results.paper import DASH, SCALE
from analysis.results.provenance import about, config_of, flat_config, fresh_command, setting
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
    "reconstruction": "Reconstruction against two simple guesses",
    "prompts": "Prompt hit rate",
    "frechet": "Fréchet distance",
    "clip": "The small CLIP: finding captions and pictures",
    "losses": "What loss is normal?",
    "timings": "By stage",
    "resolution": "Tri-plane resolution",
    "views": "Number of views",
    "convolution": "Roll-out and 3D-aware convolution",
}
WHY = (
    "The paper's people come from a private pipeline and its private assets, ours from public ones: other faces, "
    "other light, other cameras. PSNR and SSIM depend on picture size and on how much of a picture is white, so levels "
    "do not carry over from one data set to another. What can be compared is the shape: how quality moves with "
    "guidance, and that conditioning beats guessing. The scales of the two stand here side by side."
)


def write_report(run: Path, found: Findings | None = None) -> Path:
    """Write ``report.html``: one self-contained page, of whatever the run has so far.

    Args:
        run: a run folder, finished or not.
        found: tables and figures made before; made now where not given.

    Returns:
        Its path.

    Raises:
        FileNotFoundError: no such run folder.
        ValueError: run.toml is damaged.
    """
    run = Path(run)
    if not run.is_dir():
        raise FileNotFoundError(f"{run}: no such run folder; `rodin run` makes one")
    found = found or gather(run)
    config, facts = config_of(run), about(run)
    title = f"RODIN run: {run.resolve().name}"
    path = RunFolder(run).report
    publish_bytes(
        path, document(title, _header(title, config, facts), _body(run, found, config, facts), _footer(facts)).encode()
    )
    return path


def _header(title: str, config: dict[str, Any], facts: dict[str, str]) -> str:
    say = [
        f"preset {config['preset']}" if "preset" in config else "",
        f"seed {config['seed']}" if "seed" in config else "",
    ]
    say += [f"code {facts['code.commit'][:12]}" if "code.commit" in facts else ""]
    say += [f"{name} {facts[f'versions.{name}']}" for name in ("torch", "numpy", "bpy") if f"versions.{name}" in facts]
    links = "".join(f'<a href="#{name}">{escape(words)}</a>' for name, words in SECTIONS.items())
    people = setting(config, "data.subjects")
    what = f"A generator of 3-D avatars{f', trained on {people:,} people' if people else ''}: tri-plane diffusion."
    facts_line = escape(" · ".join(one for one in say if one))
    return f'<h1>{escape(title)}</h1><p>{escape(what)}</p><p class="soft">{facts_line}</p><nav>{links}</nav>'


def _body(run: Path, found: Findings, config: dict[str, Any], facts: dict[str, str]) -> list[str]:
    gaps = section("missing", "Not there yet", [missing(found.missing)])
    return [
        section(
            "summary",
            SECTIONS["summary"],
            [cards(headlines(found.tables, config)) or paragraph("Nothing was measured yet."), _verdict(found)],
        ),
        section("data", SECTIONS["data"], _made(found, ["fit"], ["subjects", "fit"])),
        section(
            "samples",
            SECTIONS["samples"],
            _made(found, ["frechet"], ["11", "9", "5", "12", "7", "8"]) + _folded_table(found, "neighbours"),
        ),
        section(
            "control",
            SECTIONS["control"],
            _made(found, ["prompts"], ["prompts"])
            + _if_there(found, "clip")
            + _made(found, ["reconstruction"], ["reconstruction"]),
        ),
        section("paper", SECTIONS["paper"], _made(found, ["1"], ["guidance"]) + _why_different(config)),
        section(
            "ablations",
            SECTIONS["ablations"],
            _made(found, ["resolution"], ["3"]) + _made(found, ["views"], ["4"]) + _made(found, ["convolution"], ["6"]),
        ),
        section("losses", SECTIONS["losses"], _made(found, ["losses"], ["losses"])),
        section("cost", SECTIONS["cost"], _made(found, ["timings"], [])),
        section("reproduce", SECTIONS["reproduce"], _reproduce(run, config, facts)),
        gaps,
    ]


def _made(found: Findings, tables: Sequence[str], figures: Sequence[str]) -> list[str]:
    parts = []
    for name in tables:
        if name in found.tables:
            parts.append(
                f"<h3>{escape(TABLE_TITLES[name])}</h3>" + html_table(grid(found.tables[name]), TABLE_TITLES[name])
            )
    parts += [
        picture(found.figures[name], FIGURES[name].title, FIGURES[name].caption)
        for name in figures
        if name in found.figures
    ]
    wanted = [*(f"table {name}" for name in tables), *(f"figure {name}" for name in figures)]
    lacking = [what for what in wanted if what in found.missing]
    return parts + (
        [paragraph(f"Not there yet: {', '.join(lacking)}; the end of the page says what to run.", soft=True)]
        if lacking
        else []
    )


def _if_there(found: Findings, name: str) -> list[str]:
    return _made(found, [name], []) if name in found.tables else []


def _folded_table(found: Findings, name: str) -> list[str]:
    return (
        [folded(TABLE_TITLES[name], html_table(grid(found.tables[name]), TABLE_TITLES[name]))]
        if name in found.tables
        else []
    )


def _verdict(found: Findings) -> str:
    rows = found.tables.get("reconstruction")
    return paragraph(rows[0]["note"].splitlines()[0] + ".") if rows else ""


def _why_different(config: dict[str, Any]) -> list[str]:
    """Why ours and the paper's numbers are not the same measurement, and the scales side by side."""
    lines = [[what, _scale(setting(config, key), theirs), theirs] for what, (key, theirs) in SCALE.items()]
    return [
        "<h3>Why the numbers differ</h3>",
        paragraph(WHY),
        html_table(Grid(["", "this run", "paper"], lines, []), "Scale of this run and of the paper"),
        paragraph("Not measured here: Table 2, the paper's user study, needs people's answers.", soft=True),
    ]


def _scale(value: Any, theirs: str) -> str:
    """A value of the config as the paper writes its own: a side as a square."""
    return DASH if value is None else f"{value:,}" + ("²" if theirs.endswith("²") else "")


def _reproduce(run: Path, config: dict[str, Any], facts: dict[str, str]) -> list[str]:
    lines = ["pip install -c constraints.txt -e '.[demo]'", fresh_command(run)]
    if commit := facts.get("code.commit", "").split(" ")[0]:
        lines.insert(0, f"git checkout {commit}")
    settings = Grid(["key", "value"], [[key, value] for key, value in flat_config(config).items()], [])
    versions = Grid(["what", "value"], [[key, value] for key, value in facts.items()], [])
    return [
        paragraph("Same commands, same versions, same run; the same command again goes on with whatever is missing."),
        code("\n".join(lines)),
        folded("The whole config", html_table(settings, "The whole config")) if settings.lines else "",
        folded("Code and versions", html_table(versions, "Code and versions")) if versions.lines else "",
    ]


def _footer(facts: dict[str, str]) -> str:
    version = facts.get("code.version", "")
    return escape(f"Made by rodin {version}".rstrip() + ". Pictures are tagged “generated by rodin” in their metadata.")
