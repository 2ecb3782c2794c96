"""What a report on people's judgements should say: filled from the study, and what it cannot know from facts.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

from analysis.results.rows import Row
from analysis.study.design import DEGRADED
from analysis.study.record import Study
from analysis.study.tally import Tally
from analysis.tables.layout import grid, markdown
from rodin.store.reading import read_text

ITEMS = "items"
FACTS = {
    "recruitment": "how raters were found, and from where",
    "qualification": "what raters had to know or pass before; such as language, age, normal sight",
    "compensation": "what raters got for taking part, and for how long it was reckoned",
    "ethics": "which review board approved the study, or why none was needed",
    "instructions": "what raters were told beyond the page itself",
    "dates": "from when to when answers were collected",
    "data": "where the pictures and the votes can be had",
    ITEMS: "how the items were chosen, and by whom; not asked where all of a run are shown",
}
"""key of facts.toml -> what to write there"""
FACTS_TEMPLATE = "# What only you can tell. `rodin study tally` puts it into checklist.md.\n" + "".join(
    f'\n# {what}\n{name} = ""\n' for name, what in FACTS.items()
)
OPEN = "**to be told**; write it into facts.toml"


def checklist(study: Study, tally: Tally, tables: Sequence[tuple[str, Sequence[Row]]]) -> str:
    """The reporting checklist of a study, as Markdown.

    Args:
        study: a built study.
        tally: its answers.
        tables: (heading, rows) of the results.

    Source: after Otani et al., Toward Verifiable and Reproducible Human Evaluation for Text-to-Image Generation,
    CVPR 2023: what of a study must be told so that others can judge and repeat it.
    """
    told = facts(study)
    lines = ["# Reporting checklist of the user study", ""]
    lines += ["After Otani et al., CVPR 2023. A box without a cross needs a word from you in `facts.toml`.", ""]
    for heading, entries in (
        ("What was asked", asked(study)),
        ("Pictures", pictures(study, told.get(ITEMS) or OPEN)),
        ("Raters", [(name, told.get(name) or OPEN) for name in FACTS if name != ITEMS] + raters(tally)),
        ("Quality of the answers", quality(study, tally)),
    ):
        lines += [f"## {heading}", ""]
        lines += [f"- [{' ' if text == OPEN else 'x'}] **{name}**: {text}" for name, text in entries]
        lines += [""]
    for heading, rows in tables:
        lines += [f"## {heading}", "", markdown(grid(rows))]
    return "\n".join(lines)


def facts(study: Study) -> dict[str, str]:
    """What facts.toml tells, on one line each; empty where it is not there.

    Raises:
        ValueError: it is not TOML, or has another key or kind of value.
    """
    if not study.facts.is_file():
        return {}
    try:
        found = tomllib.loads(read_text(study.facts))
    except tomllib.TOMLDecodeError as problem:
        raise ValueError(f"{study.facts}: not TOML ({problem}); mend it, or delete it") from None
    for name, value in found.items():
        if name not in FACTS or not isinstance(value, str):
            raise ValueError(f"{study.facts}: {name} = {value!r}; wanted texts for {', '.join(FACTS)}")
    return {name: " ".join(value.split()) for name, value in found.items()}


def asked(study: Study) -> list[tuple[str, str]]:
    """Question, scale and page."""
    shown = "two pictures" + (", and above them the one to compare with" if study.has_reference else "")
    return [
        ("question", f"“{study.question}”"),
        ("scale", "forced choice of one of two; no tie, no “don't know”"),
        (
            "page",
            f"`rodin study serve`: {shown}, side by side or, on upright screens, one above the other; keys or taps",
        ),
        ("consent", f"asked for before the first pair: “{study.record['consent']}”"),
    ]


def pictures(study: Study, choice: str) -> list[tuple[str, str]]:
    """Methods, items and how they were shown.

    Args:
        study: a built study.
        choice: how the items were chosen, where they are not all that runs have.
    """
    unchosen = study.record.get("unchosen") is True  # of a study of an older rodin it is not known
    design, size = study.design, study.record["size"]
    methods = "; ".join(f"{name} ({source})" for name, source in study.record["methods"].items())
    entries = [
        ("methods", methods),
        ("items", f"{len(design.items)}, the same of each method{', chosen by nobody' if unchosen else ''}"),
        *([] if unchosen else [("choice of items", choice)]),
        ("size", f"{size} × {size} pixels over white, re-encoded alike, under names that tell no method"),
        ("order", f"shuffled for each rater (Fisher-Yates, seed {design.seed}); pairs and sides balanced over raters"),
        ("checksums", f"SHA-256 of all {len(study.record['pictures'])} pictures in study.json"),
    ]
    if study.has_reference:
        entries.append(("compared with", str(study.record["reference"])))
    return entries


def raters(tally: Tally) -> list[tuple[str, str]]:
    """Numbers of raters and answers."""
    design, kept = tally.design, len(tally.raters)
    main = len(tally.main)
    return [
        ("raters", f"{kept} kept, {len(tally.left_out)} left out"),
        (
            "answers",
            f"{main} that count, {main / kept:.1f} a rater, {main / design.combinations:.1f} a pair of pictures",
        ),
        ("personal data", "none is stored"),
    ]


def quality(study: Study, tally: Tally) -> list[tuple[str, str]]:
    """Checks in the study, and statistics."""
    design = study.design
    wrong = sum(entry["method"].endswith(DEGRADED) for entry in study.record["pictures"].values())
    return [
        ("catch trials", f"{design.catch} a rater, a picture against a mosaic of itself ({wrong} mosaics)"),
        ("left out", f"raters with less than {tally.threshold:.0%} of them right"),
        ("repetitions", f"{design.repeats} a rater, later on, with swapped sides; not among the answers that count"),
        ("intervals", "95 %: Wilson over answers, and a bootstrap over raters"),
        ("agreement", "Krippendorff's alpha and the share of equal answers, for each pair of methods"),
    ]
