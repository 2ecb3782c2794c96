"""How good the pictures are: fits, Table 1, and reconstruction from one picture against two simple guesses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.results.paper import DASH, METRICS, TABLE_1, format_number, scale_name
from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import Interval, mean_interval

MEASURED = {"subject": str, "psnr": float, "ssim": float, "lpips": float}
OURS, MEAN_PERSON, NEAREST_PERSON = "rodin", "mean person", "nearest person"


def table_1(run: Path) -> list[Row]:
    """Table 1: reconstruction of held-out people from one picture, one row a guidance scale, ours beside the paper's.

    Returns:
        Rows with guidance_scale, name, people, and for each metric its mean, ``_low`` and ``_high`` (95 % interval
        over people) and ``paper_`` value; null where not measured.
    """
    rows = results(run, "sweep-cfg", "sweep-cfg", MEASURED | {"guidance_scale": float}, optional=["lpips"])
    by_scale: dict[float, list[Row]] = defaultdict(list)
    for row in rows:
        by_scale[float(row["guidance_scale"])].append(row)
    table = []
    for scale in sorted(by_scale.keys() | TABLE_1.keys()):
        line: Row = {"guidance_scale": scale, "name": scale_name(scale), "subjects": _people(by_scale[scale])}
        for metric in METRICS:
            line |= spread(metric, mean_of(by_scale[scale], metric))
            line[f"paper_{metric}"] = TABLE_1.get(scale, {}).get(metric)
        line["note"] = "\n".join(
            ["mean over people, each the mean over their views, with its 95 % interval (Student's t)"]
            + (_no_lpips(by_scale[scale]) if line["lpips"] is None else [])
        )
        if not by_scale[scale]:
            line["note"] = f"guidance {scale:g} was not measured in this run (sweeps.guidance_scales)"
        table.append(line)
    return table


def table_fit(run: Path) -> list[Row]:
    """How well tri-planes were fitted, on views no fit saw and without any hull: one row a measure."""
    rows = results(
        run, "fit", "fit", {"subject": str, "psnr": float, "seconds": float, "ssim": float}, optional=["ssim"]
    )
    worst = min(rows, key=lambda row: row["psnr"])
    table = []
    for name, field in (
        ("PSNR on unseen views, dB", "psnr"),
        ("SSIM on unseen views", "ssim"),
        ("seconds a person", "seconds"),
    ):
        values = sorted(row[field] for row in rows if row.get(field) is not None)
        if values:
            line = {"measure": name, "key": field} | spread("mean", mean_interval(values))
            table.append(
                line | {"least": values[0], "median": _median(values), "most": values[-1], "subjects": len(values)}
            )
    table[0]["note"] = f"least well fitted: person {worst['subject']} with {worst['psnr']:.2f} dB"
    return table


def table_reconstruction(run: Path) -> list[Row]:
    """Held-out people from one picture: ours, everybody's mean, and the nearest training person; one row a method.

    Returns:
        Rows with method, guidance_scale, people, each metric with its interval, and ``gain_psnr`` with interval:
        how much better ours is than this method, person by person. The verdict stands in ``note``.
    """
    rows = results(run, "evaluate", "evaluate", MEASURED | {"method": str}, optional=["lpips"])
    by_method: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_method[row["method"]].append(row)
    names = [name for name in (OURS, MEAN_PERSON, NEAREST_PERSON) if name in by_method]
    table = []
    for name in names + sorted(by_method.keys() - set(names)):
        line: Row = {"method": name, "subjects": _people(by_method[name])}
        if name == OURS:
            line["guidance_scale"] = by_method[name][0].get("guidance_scale")
        for metric in METRICS:
            line |= spread(metric, mean_of(by_method[name], metric))
        for metric in ("psnr", "ssim"):
            gain = paired(by_method[OURS], by_method[name], metric) if name != OURS else None
            line |= spread(f"gain_{metric}", gain)
        table.append(line)
    lacks = _no_lpips(rows) if any(line["lpips"] is None for line in table) else []
    table[0]["note"] = "\n".join([verdict(table), *lacks])
    return table


def verdict(table: Sequence[Row]) -> str:
    """One plain sentence: does ours beat both the mean person and the nearest training person, and by how much.

    Args:
        table: rows of `table_reconstruction`.
    """
    gains = {row["method"]: row for row in table if row["method"] in (MEAN_PERSON, NEAREST_PERSON)}
    absent = [name for name in (MEAN_PERSON, NEAREST_PERSON) if name not in gains or gains[name]["gain_psnr"] is None]
    if absent:
        return f"No verdict: '{OURS}' and '{absent[0]}' were not both measured on the same people"
    beaten = [name for name, row in gains.items() if row["gain_psnr"] > 0]
    parts = [f"{signed(row)} over the {name}" for name, row in gains.items()]
    opening = {
        2: "Rodin beats both",
        1: f"Rodin beats only the {beaten[0] if beaten else ''}",
        0: "Rodin beats neither",
    }
    certain = all(sure_of(row, "gain_psnr") for row in gains.values())
    doubt = "" if certain else "; an interval reaches 0 or lacks, so more people are needed to be sure"
    people = gains[MEAN_PERSON]["gain_psnr_subjects"]
    return f"{opening[len(beaten)]} in PSNR: {', '.join(parts)}, person by person, {people} people{doubt}"


def paired(ours: Sequence[Row], theirs: Sequence[Row], metric: str) -> Interval | None:
    """Mean of ours − theirs over the people both have, with its interval; none if they share nobody."""
    left, right = _by_subject(ours, metric), _by_subject(theirs, metric)
    shared = sorted(left.keys() & right.keys())
    return mean_interval([left[person] - right[person] for person in shared]) if shared else None


def mean_of(rows: Sequence[Row], metric: str) -> Interval | None:
    """A metric's mean over people with its interval; none unless every row has it."""
    values = _by_subject(rows, metric)
    return mean_interval(list(values.values())) if values and len(values) == _people(rows) else None


def spread(name: str, interval: Interval | None) -> Row:
    """An interval as flat fields: name, name_low, name_high (all null where there is none)."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    row: Row = {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | ({f"{name}_subjects": interval.count} if name.startswith("gain_") else {})


def sure_of(row: Row, name: str) -> bool:
    """Whether a gain's interval leaves out 0; not where it has none."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return low is not None and (low > 0 or high < 0)


def signed(row: Row) -> str:
    """The `gain_psnr` of a row with its interval, as text: +0.32 dB [+0.14, +0.51]."""
    low, high = row["gain_psnr_low"], row["gain_psnr_high"]
    inside = "" if low is None else f" [{format_number(low, 2, signed=True)}, {format_number(high, 2, signed=True)}]"
    return f"{format_number(row['gain_psnr'], 2, signed=True)} dB{inside}"


def or_none(make: Callable[[Path], list[Row]], run: Path) -> list[Row]:
    """A table's rows, or none of them where its stage has not run yet."""
    try:
        return make(run)
    except MissingRows:
        return []


def _no_lpips(rows: Sequence[Row]) -> list[str]:
    """Why LPIPS is —, as the stage that measured says."""
    reasons = {str(row.get("lpips_reason") or "it was not measured") for row in rows if row.get("lpips") is None}
    return [f"LPIPS is {DASH}: {reason.removeprefix('LPIPS: ')}" for reason in sorted(reasons)]


def _by_subject(rows: Sequence[Row], metric: str) -> dict[str, float]:
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(metric) is not None:
            values[row["subject"]].append(row[metric])
    return {person: sum(all_of) / len(all_of) for person, all_of in values.items()}


def _people(rows: Sequence[Row]) -> int:
    return len({row["subject"] for row in rows})


def _median(values: Sequence[float]) -> float:
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2
