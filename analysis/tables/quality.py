"""Picture quality: fits, and reconstruction from one picture against two baselines."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from analysis.results.paper import DASH, METRICS, format_number
from analysis.results.rows import Row, results
from analysis.results.statistics import ANYWHERE, FEWEST, RANGES, Interval, mean_interval
from rodin.evaluation.steps import MEAN_PERSON, NEAREST_PERSON, OURS, POSTERIOR_MEAN
from rodin.store.run_folder import RunFolder
from rodin.store.shards.catalogue import missing_people

MEASURED = {"subject": str, "psnr": float, "ssim": float, "lpips": float}


def mean_sentences(by_method: Mapping[str, Sequence[Row]]) -> list[str]:
    """A sentence on the posterior mean beside the sampled avatars; none where it was not measured."""
    rows = by_method.get(POSTERIOR_MEAN, [])
    means = {metric: mean_of(rows, metric) for metric in METRICS}
    gain = paired_gain(by_method.get(OURS, []), rows, "psnr")
    if gain is None:
        return []
    found = [
        f"{METRICS[metric][0].split()[0]} {format_number(mean.mean, METRICS[metric][1])}"
        for metric, mean in means.items()
        if mean is not None
    ]
    against = gain_text(interval_fields("gain_psnr", gain))
    return [
        f"beside it the posterior mean (one step of the base model in place of all): {', '.join(found)}; "
        f"the avatars have {against} against it: PSNR favours such a mean, however blurred, over a sample"
    ]


def table_fit(run: Path) -> list[Row]:
    """Fit quality on views that were not fitted, rendered without the hull, and fitting time; one row per measure."""
    rows = results(
        run,
        "fit",
        "fit",
        {"subject": str, "psnr": float, "seconds": float, "ssim": float, "haze": float},
        optional=["ssim", "haze"],
    )
    worst = min(rows, key=lambda row: row["psnr"])
    table = []
    for name, field in (
        ("PSNR on unseen views, dB", "psnr"),
        ("SSIM on unseen views", "ssim"),
        ("haze: opacity beside the person, %", "haze"),
        ("seconds a person", "seconds"),
    ):
        scale = 100 if field == "haze" else 1
        values = sorted(scale * row[field] for row in rows if row.get(field) is not None)
        if values:
            median = statistics.median(values)
            spread = {"least": values[0], "median": median, "most": values[-1], "subjects": len(values)}
            mean = mean_interval(values, (scale * RANGES[field][0], scale * RANGES[field][1]))
            table.append({"measure": name, "key": field} | interval_fields("mean", mean) | spread)
    lacking = missing_people(RunFolder(run).stage("fit"))
    told = f"least well fitted: person {worst['subject']} with {worst['psnr']:.2f} dB"
    table[0]["note"] = f"{told}; {lacking}" if lacking else told
    return table


def table_reconstruction(run: Path) -> list[Row]:
    """Reconstruction of held-out subjects from one picture; one row per method.

    Methods: ours, ours with one step of the base model (the posterior mean), the mean of the training subjects, and the
    training subject nearest to the picture.

    Returns:
        Rows with method, guidance_scale, subjects, each metric with its interval, ``haze`` (% of the opacity beside the
        main body; absent in runs that did not measure it), and ``gain_METRIC`` with its interval: by how much ours is
        better than this method, the mean over subjects. ``note`` of the first row holds the verdict.
    """
    by_method = by_method_of(run)
    names = [name for name in (OURS, POSTERIOR_MEAN, MEAN_PERSON, NEAREST_PERSON) if name in by_method]
    table = []
    for name in names + sorted(by_method.keys() - set(names)):
        line: Row = {"method": name, "subjects": subject_count(by_method[name])}
        if name in (OURS, POSTERIOR_MEAN):
            line["guidance_scale"] = by_method[name][0].get("guidance_scale")
        for metric in METRICS:
            line |= interval_fields(metric, mean_of(by_method[name], metric))
        if (seen := mean_of(by_method[name], "haze")) is not None:
            line["haze"] = 100 * seen.mean
        for metric in METRICS:
            gain = paired_gain(by_method[OURS], by_method[name], metric) if name != OURS else None
            line |= interval_fields(f"gain_{metric}", gain)
        table.append(line)
    missing = no_lpips([*chain(*by_method.values())]) if any(line["lpips"] is None for line in table) else []
    sentences = [verdict(table), *other_metrics(table), *mean_sentences(by_method), *missing]
    table[0]["note"] = "\n".join(sentences)
    return table


def verdict(table: Sequence[Row]) -> str:
    """One sentence: whether ours beats the two baselines in PSNR, and by how much.

    Args:
        table: rows of `table_reconstruction`.
    """
    gains = {row["method"]: row for row in table if row["method"] in (MEAN_PERSON, NEAREST_PERSON)}
    missing = [name for name in (MEAN_PERSON, NEAREST_PERSON) if name not in gains or gains[name]["gain_psnr"] is None]
    if missing:
        return f"No verdict: '{OURS}' and '{missing[0]}' were not both measured on the same people"
    parts = ", ".join(f"{gain_text(row)} over the {name}" for name, row in gains.items())
    count = gains[MEAN_PERSON]["gain_psnr_subjects"]
    if any(row["gain_psnr_low"] is None for row in gains.values()):
        return f"{count} people are too few to tell, {FEWEST} are wanted at least: {parts} in PSNR, person by person"
    groups: dict[str, list[str]] = {"beats": [], "cannot be told apart from": [], "loses to": []}
    for name, row in gains.items():
        groups[standing(row)].append(f"the {name}")
    sentence = ", and ".join(f"{verb} {' and '.join(names)}" for verb, names in groups.items() if names)
    return f"Rodin {sentence} in PSNR: {parts}, person by person, {count} people"


def standing(row: Row) -> str:
    """How ours stands to a guess by its gain in PSNR: "beats", "loses to", or "cannot be told apart from"."""
    if not excludes_zero(row, "gain_psnr"):
        return "cannot be told apart from"
    return "beats" if row["gain_psnr"] > 0 else "loses to"


def other_metrics(table: Sequence[Row]) -> list[str]:
    """One sentence for SSIM and one for LPIPS, where measured: by how much ours is better than the two guesses.

    Args:
        table: rows of `table_reconstruction`.
    """
    gains = {row["method"]: row for row in table if row["method"] in (MEAN_PERSON, NEAREST_PERSON)}
    sentences = []
    for metric in ("ssim", "lpips"):
        name = f"gain_{metric}"
        parts = [f"{gain_text(row, name)} over the {method}" for method, row in gains.items() if row[name] is not None]
        if parts:
            same = [method for method, row in gains.items() if row[name] is not None and not excludes_zero(row, name)]
            doubt = f"; cannot be told apart from the {' and the '.join(same)}" if same else ""
            sentences.append(f"in {metric.upper()}, + is better: {', '.join(parts)}{doubt}")
    return sentences


def paired_gain(ours: Sequence[Row], theirs: Sequence[Row], metric: str) -> Interval | None:
    """By how much ours is better, person by person: the mean over the subjects in both, with its interval.

    Ours − theirs, or theirs − ours for LPIPS, of which less is better; none if they have no subject in common.
    """
    left, right = subject_values(ours, metric), subject_values(theirs, metric)
    shared, sign = sorted(left.keys() & right.keys()), -1 if metric == "lpips" else 1
    return mean_interval([sign * (left[subject] - right[subject]) for subject in shared]) if shared else None


def mean_of(rows: Sequence[Row], metric: str) -> Interval | None:
    """A metric's mean over subjects with its interval; none unless every subject has it."""
    values = subject_values(rows, metric)
    whole = values and len(values) == subject_count(rows)
    return mean_interval(list(values.values()), RANGES.get(metric, ANYWHERE)) if whole else None


def interval_fields(name: str, interval: Interval | None) -> Row:
    """An interval as fields of a row: name, name_low, name_high; a gain also has name_subjects. All null for none."""
    if interval is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    row: Row = {name: interval.mean, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return row | ({f"{name}_subjects": interval.count} if name.startswith("gain_") else {})


def interval_of(row: Row, name: str) -> Interval:
    """The interval that `interval_fields` wrote into a row."""
    return Interval(row[name], row[f"{name}_low"], row[f"{name}_high"], row.get(f"{name}_subjects", row["subjects"]))


def excludes_zero(row: Row, name: str) -> bool:
    """Whether a gain's interval excludes 0; false if it has no interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return low is not None and (low > 0 or high < 0)


def gain_text(row: Row, name: str = "gain_psnr") -> str:
    """A gain of a row with its interval: +0.32 dB [+0.14, +0.51]; `name` ends in its metric."""
    metric = name.rpartition("_")[2]
    decimals, unit = METRICS[metric][1], {"psnr": " dB"}.get(metric, f" {metric.upper()}")
    mean, low, high = row[name], row[f"{name}_low"], row[f"{name}_high"]
    ends = "" if low is None else f" [{', '.join(format_number(end, decimals, signed=True) for end in (low, high))}]"
    return f"{format_number(mean, decimals, signed=True)}{unit}{ends}"


def by_method_of(run: Path) -> dict[str, list[Row]]:
    """Checked rows of `evaluate` by method."""
    by_method: dict[str, list[Row]] = defaultdict(list)
    fields = MEASURED | {"method": str, "haze": float}
    for row in results(run, "evaluate", "evaluate", fields, optional=["lpips", "haze"]):
        by_method[row["method"]].append(row)
    return by_method


def no_lpips(rows: Sequence[Row]) -> list[str]:
    """Reasons why LPIPS is missing, as the stage recorded them."""
    reasons = {str(row.get("lpips_reason") or "it was not measured") for row in rows if row.get("lpips") is None}
    return [f"LPIPS is {DASH}: {reason.removeprefix('LPIPS: ')}" for reason in sorted(reasons)]


def subject_values(rows: Sequence[Row], metric: str) -> dict[str, float]:
    """The metric of each subject that has it, the mean of its rows."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.get(metric) is not None:
            values[row["subject"]].append(row[metric])
    return {subject: sum(views) / len(views) for subject, views in values.items()}


def subject_count(rows: Sequence[Row]) -> int:
    """Number of different people in rows."""
    return len({row["subject"] for row in rows})
