"""Pieces of a self-contained HTML page: no script, no outside resource, light or dark as the reader's system is."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from analysis.tables.layout import Grid, numeric_columns

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6675; --rule: #dfe3e8; --back: #fbfbfa; --card: #ffffff;
  --accent: #1f5fa8; --warn: #9a5b13; --warn-back: #fdf6ea; }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e9ef; --soft: #9aa5b4; --rule: #2d3541; --back: #12161c;
  --card: #1a2029; --accent: #7db4f0; --warn: #e5b36a; --warn-back: #2a2318; } img { filter: brightness(.92); } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--back); color: var(--ink); font: 16px/1.6 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 62rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; } footer { padding: 2rem 1.25rem 4rem; color: var(--soft); font-size: .875rem; }
h1 { font-size: clamp(1.6rem, 5vw, 2.2rem); line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.01em; }
h2 { font-size: 1.35rem; margin: 3rem 0 .75rem; padding-top: 1.5rem; border-top: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 2rem 0 .5rem; }
p { max-width: 46rem; } .soft, figcaption { color: var(--soft); }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.1rem; margin: 1.25rem 0; }
a { color: var(--accent); text-underline-offset: .2em; }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13.5rem), 1fr)); gap: .9rem;
  padding: 0; list-style: none; }
.cards li { background: var(--card); border: 1px solid var(--rule); border-radius: .7rem; padding: .9rem 1.1rem; }
.cards b { display: block; font-size: 1.55rem; line-height: 1.3; font-weight: 650; font-variant-numeric:
  tabular-nums; }
.cards span { display: block; } .cards small { color: var(--soft); display: block; margin-top: .25rem; line-height:
  1.45; }
.scroll { overflow-x: auto; margin: .75rem 0 .25rem; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .38rem .9rem .38rem 0; border-bottom: 1px solid var(--rule); vertical-align: top;
  }
th { color: var(--soft); font-weight: 600; white-space: nowrap; } td.number, th.number { text-align: right;
  white-space: nowrap; }
tr:last-child td { border-bottom: 0; }
figure { margin: 1.75rem 0; } figure img { display: block; max-width: 100%; height: auto; border-radius: .5rem;
  border: 1px solid var(--rule); background: #fff; }
figcaption { margin-top: .5rem; max-width: 46rem; font-size: .92rem; }
ul.notes { margin: .4rem 0 0; padding-left: 1.1rem; color: var(--soft); font-size: .875rem; }
.missing { background: var(--warn-back); border-left: 3px solid var(--warn); border-radius: .3rem; padding: .6rem
  1.1rem; }
.missing li { margin: .2rem 0; overflow-wrap: anywhere; }
pre { background: var(--card); border: 1px solid var(--rule); border-radius: .5rem; padding: .8rem 1rem; overflow-x:
  auto; font-size: .85rem; }
code { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .92em; }
details { margin: 1rem 0; } summary { cursor: pointer; color: var(--accent); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { nav { display: none; } details { display: block; } figure { break-inside: avoid; } }
"""


def document(title: str, header: str, body: Iterable[str], footer: str) -> str:
    """A whole page out of its parts, each already HTML but the title."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="rodin">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<header>{header}</header>\n<main>\n"
        + "\n".join(body)
        + f"\n</main>\n<footer>{footer}</footer>\n</body>\n</html>\n"
    )


def section(name: str, title: str, parts: Iterable[str]) -> str:
    """A headed section one can link to; nothing where it has no parts."""
    inside = "\n".join(part for part in parts if part)
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n{inside}\n</section>' if inside else ""


def paragraph(text: str, soft: bool = False) -> str:
    """A paragraph of plain text."""
    return f'<p class="soft">{escape(text)}</p>' if soft else f"<p>{escape(text)}</p>"


def cards(items: Sequence[tuple[str, str, str]]) -> str:
    """Headline numbers: (name, number, a few words under it)."""
    inside = "".join(
        f"<li><span>{escape(name)}</span><b>{escape(value)}</b><small>{escape(words)}</small></li>"
        for name, value, words in items
    )
    return f'<ul class="cards">{inside}</ul>' if items else ""


def html_table(shown: Grid, caption: str) -> str:
    """A table that scrolls sideways on a narrow screen, its notes beneath."""
    kinds = [' class="number"' if number else "" for number in numeric_columns(shown)]
    head = "".join(f'<th scope="col"{kind}>{escape(text)}</th>' for text, kind in zip(shown.header, kinds, strict=True))
    lines = "".join(
        "<tr>" + "".join(f"<td{kind}>{escape(text)}</td>" for text, kind in zip(line, kinds, strict=True)) + "</tr>"
        for line in shown.lines
    )
    notes = "".join(f"<li>{escape(note[:1].upper() + note[1:])}.</li>" for note in shown.notes)
    under = f'<ul class="notes">{notes}</ul>' if notes else ""
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>{under}"
    )


def picture(path: Path, title: str, caption: str) -> str:
    """A PNG inside the page itself, with its caption as alternative text."""
    with Image.open(path) as image:
        width, height = image.size
    data = base64.b64encode(path.read_bytes()).decode()
    return (
        f'<figure id="{escape(path.stem)}"><h3>{escape(title)}</h3>'
        f'<img alt="{escape(caption)}" width="{width}" height="{height}" '
        f'src="data:image/png;base64,{data}"><figcaption>{escape(caption)}</figcaption></figure>'
    )


def missing(items: Mapping[str, str]) -> str:
    """What could not be made, and why; what lacks for the same reason stands together."""
    together: dict[str, list[str]] = {}
    for name, why in items.items():
        together.setdefault(why, []).append(name)
    inside = "".join(f"<li><b>{escape(', '.join(names))}</b>: {escape(why)}</li>" for why, names in together.items())
    return f'<ul class="missing">{inside}</ul>' if items else ""


def folded(summary: str, inside: str) -> str:
    """Something long that opens on a click."""
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def code(text: str) -> str:
    """Commands, as they are typed."""
    return f"<pre><code>{escape(text)}</code></pre>"
