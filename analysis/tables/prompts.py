"""Text to avatar: how often what a prompt asks for is generated, beside chance and the measure's own ceiling."""

from __future__ import annotations

from pathlib import Path

from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import RANGES, mean_interval, mean_of_rates, rate_interval, shuffled_hit_rate
from analysis.tables.quality import interval_fields

PROMPT = {"prompt": str, "attribute": str, "wanted": str, "measured": str, "hit": bool, "sample": str}
PRESENCE = {"control": bool, "counted": bool, "pair": int}  # further fields of a prompt for glasses, a hat or a beard
CHECK = {"attribute": str, "accuracy": float, "counted": bool}
TRIED = {"with_it": int, "without_it": int, "found": int, "false_alarms": int}  # of a measure of presence
COLOURS = "colours"  # name of the row of all that are asked for
NOTE = (
    "interval: Wilson, 95 %\nchance: the measured colours dealt to the prompts at random\n"
    "ceiling: the same measure on pictures of real training people"
)
SCORES = {"clip_score": float, "clip_score_others": float}
SCORE_NOTE = (
    "CLIP score: 100 times the cosine between prompt and frontal picture, by the run's own CLIP, with its 95 % "
    "interval (Student's t); of other texts: what the same pictures score with the words of other prompts"
)
PRESENCE_NOTE = (
    "unasked: share of controls, the same prompts without the attribute, whose avatars have it all the same\n"
    "the measure of glasses, hats and beards is tried on people it did not learn from; its ceiling weighs people with "
    "and without one equally"
)


def prompt_rows(run: Path) -> list[Row]:
    """Checked rows, one per prompt and attribute, of attributes whose measure is good enough."""
    return [row for row in _rows(run) if row.get("counted", True)]


def table_prompts(run: Path) -> list[Row]:
    """Hit rate and CLIP score over all colour prompts and per colour, then over glasses, hats and beards asked for.

    Returns:
        Rows with attribute ("colours" first: all of them), prompts, hits, hit_rate with Wilson's 95 % interval, chance
        (the expected hit rate if the measured colours were assigned to the prompts at random), unasked (share of
        controls that have the attribute), clip_score with its interval, clip_score_others (of the same pictures with
        the words of other prompts), and ceiling (how often the same measure is right on pictures of training subjects;
        null where that was not measured). Hits of a measure that is not good enough are null; a note says why.
    """
    plain = _plain(run)
    try:
        rows = _rows(run)
    except MissingRows:
        if not plain:
            raise
        rows = []
    checks = _checks(run)
    colours, others = ([row for row in rows if (row.get("counted") is None) == flag] for flag in (True, False))
    table = _colour_lines(colours, checks) if colours else []
    names = sorted({row["attribute"] for row in others})
    counted = [row for row in others if row["counted"]]
    if len(together := sorted({row["attribute"] for row in counted})) > 1:
        table.append(_presence_line(", ".join(together), counted, None))
    table += [
        _presence_line(name, [row for row in others if row["attribute"] == name], checks.get(name)) for name in names
    ]
    unlearned = [one for name, one in checks.items() if one.get("counted") is not None and name not in names]
    table += [_presence_line(check["attribute"], [], check) for check in unlearned]
    if plain:
        line: Row = {
            "attribute": "none (captions)",
            "prompts": len(plain),
            "hits": None,
            "chance": None,
            "ceiling": None,
        }
        table.append(line | interval_fields("hit_rate", None) | interval_fields("unasked", None) | _scores(plain))
    reasons = [_reason(check) for check in checks.values() if check.get("counted") is False]
    notes = ([NOTE] if colours else []) + ([PRESENCE_NOTE] if names or unlearned else [])
    notes += [SCORE_NOTE] if any(line["clip_score"] is not None for line in table) else []
    table[0]["note"] = "\n".join([*notes, *reasons])
    return table


def _rows(run: Path) -> list[Row]:
    return results(run, "evaluate", "prompts", PROMPT | PRESENCE | SCORES, optional=[*PRESENCE, *SCORES])


def _plain(run: Path) -> list[Row]:
    """Rows of prompts that name nothing that is looked for, such as captions: these have a CLIP score alone."""
    fields = {"prompt": str, "sample": str} | SCORES
    try:
        return results(run, "evaluate", "clip-score", fields, optional=["clip_score_others"])
    except MissingRows:
        return []


def _scores(rows: list[Row]) -> Row:
    """CLIP scores of the avatars of some prompts, each once, as fields of a line; null where one lacks."""
    by_sample = {row["sample"]: row for row in rows}
    found: Row = {}
    for name in SCORES:
        values = [row[name] for row in by_sample.values() if row.get(name) is not None]
        whole = bool(values) and len(values) == len(by_sample)
        mean = mean_interval(values, RANGES["clip_score"]) if whole else None
        found |= interval_fields(name, mean) if name == "clip_score" else {name: mean.mean if mean else None}
    return found


def _checks(run: Path) -> dict[str, Row]:
    try:
        rows = results(run, "evaluate", "prompts-check", CHECK | TRIED, optional=["accuracy", "counted", *TRIED])
    except MissingRows:
        return {}
    return {row["attribute"]: row for row in rows}


def _colour_lines(rows: list[Row], checks: dict[str, Row]) -> list[Row]:
    names = sorted({row["attribute"] for row in rows})
    ceilings = {name: check["accuracy"] for name, check in checks.items()}
    lines = []
    for name in [COLOURS, *names]:
        of = [row for row in rows if name in (COLOURS, row["attribute"])]
        weights = {one: sum(row["attribute"] == one for row in of) for one in names}
        hits = sum(row["hit"] for row in of)
        line: Row = {"attribute": name, "prompts": len(of), "hits": hits}
        line |= interval_fields("hit_rate", rate_interval(hits, len(of)))
        line |= {"chance": _weighted({one: _chance(of, one) for one in names if weights[one]}, weights)}
        line |= interval_fields("unasked", None)
        ceiling = _weighted({one: ceilings.get(one) for one in names if weights[one]}, weights)
        lines.append(line | _scores(of) | {"ceiling": ceiling})
    return lines


def _presence_line(name: str, rows: list[Row], check: Row | None) -> Row:
    """Line of an attribute, or of several together (check is None): of prompts that ask for it, and of controls."""
    asked, controls = ([row for row in rows if row["control"] == flag] for flag in (False, True))
    hits = sum(row["hit"] for row in asked)
    line: Row = {"attribute": name, "prompts": len(asked), "hits": hits}
    counted = bool(asked) and (check is None or check["counted"])
    line |= interval_fields("hit_rate", rate_interval(hits, len(asked)) if counted else None)
    there = sum(not row["hit"] for row in controls)
    line |= {"chance": None} | interval_fields(
        "unasked", rate_interval(there, len(controls)) if counted and controls else None
    )
    line |= _scores(asked)
    if not counted:
        line["hits"] = None
    if check is None or check["accuracy"] is None:
        return line | {"ceiling": None}
    with_it, without_it = check["with_it"], check["without_it"]
    return line | interval_fields(
        "ceiling",
        mean_of_rates(
            rate_interval(check["found"], with_it), rate_interval(without_it - check["false_alarms"], without_it)
        ),
    )


def _reason(check: Row) -> str:
    right = "cannot be learned"
    if check["accuracy"] is not None:
        right = f"is right on {check['accuracy']:.0%} of pictures and {check['accuracy_on']['fits']:.0%} of fits"
    return (
        f"{check['attribute']}: not counted, as its measure {right}, tried on {check['with_it']} people with and "
        f"{check['without_it']} without; 90% and ten of each are wanted"
    )


def _chance(rows: list[Row], attribute: str) -> float:
    of = [row for row in rows if row["attribute"] == attribute]
    return shuffled_hit_rate([row["wanted"] for row in of], [row["measured"] for row in of])


def _weighted(values: dict[str, float | None], weights: dict[str, int]) -> float | None:
    known = {name: value for name, value in values.items() if value is not None}
    if len(known) < len(values):
        return None
    return sum(value * weights[name] for name, value in known.items()) / sum(weights[name] for name in known)
