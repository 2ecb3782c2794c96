"""What a run measured, as values by person or prompt, under names that are the same in every run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from analysis.results.paper import METRICS, scale_name
from analysis.results.rows import MissingRows, Row, results
from analysis.results.statistics import ANYWHERE, RANGES, Interval, mean_interval, rate_interval
from rodin.evaluation.steps import OURS
from rodin.store.results import row_files, whole_seconds
from rodin.store.run_folder import RunFolder

PEOPLE, PROMPTS, ONE = "people", "prompts", "run"
QUALITY = {"subject": str, "psnr": float, "ssim": float, "lpips": float, "haze": float}
HAZE = ("haze, % ↓", 2, 100.0)  # heading, decimals, factor from a share
FITS = "Tri-planes on views not fitted"
TIMING = "timing-"


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    Args:
        name: `SECTION.METRIC`, as for --metric.
        section: heading of the table that it is in.
        heading: of its column; an arrow points to better values.
        decimals: printed.
        unit: of what there is one value each: people, prompts, or the run itself.
        within: its least and greatest value, where its interval ends.
    """

    name: str
    section: str
    heading: str
    decimals: int
    unit: str = PEOPLE
    within: tuple[float, float] = ANYWHERE

    @property
    def of_people(self) -> bool:
        """Whether its values are of people."""
        return self.unit == PEOPLE

    def interval(self, values: Mapping[str, float]) -> Interval:
        """Mean of its values with its 95 % interval; of prompts the share of hits."""
        if self.unit == PROMPTS:
            return rate_interval(round(sum(values.values())), len(values))
        return mean_interval(list(values.values()), self.within)


Measured = tuple[Measure, dict[str, float]]


def reconstruction(run: Path) -> list[Measured]:
    """Held-out people made of one picture, beside their views."""
    rows = results(run, "evaluate", "evaluate", QUALITY | {"method": str}, optional=["lpips", "haze"])
    ours = [row for row in rows if row["method"] == OURS]
    return _quality("reconstruction", "Reconstruction from one picture, people never seen", ours)


def table_1(run: Path) -> list[Measured]:
    """The same by guidance scale."""
    fields = {key: kind for key, kind in QUALITY.items() if key != "haze"} | {"guidance_scale": float}
    rows = results(run, "sweep-cfg", "sweep-cfg", fields, optional=["lpips"])
    found = []
    for metric, (heading, decimals) in METRICS.items():
        for scale in sorted({float(row["guidance_scale"]) for row in rows}):
            of = [row for row in rows if row["guidance_scale"] == scale]
            measure = Measure(f"table-1.{metric}.{scale:g}", f"Table 1, {heading}", scale_name(scale), decimals)
            found += _values(measure, of, metric)
    return found


def fits(run: Path) -> list[Measured]:
    """Fitted tri-planes on views that no fit saw."""
    fields = {key: kind for key, kind in QUALITY.items() if key != "lpips"} | {"seconds": float}
    rows = results(run, "fit", "fit", fields, optional=["ssim", "haze"])
    seconds = Measure("fit.seconds", FITS, "seconds a person", 1)
    return [*_quality("fit", FITS, rows), *_values(seconds, rows, "seconds")]


def prompts(run: Path) -> list[Measured]:
    """Whether what a prompt asks for came out; measures that are not good enough are left out."""
    fields = {"prompt": str, "attribute": str, "hit": bool, "sample": str, "control": bool, "counted": bool}
    rows = results(run, "evaluate", "prompts", fields, optional=["control", "counted"])
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("counted", True) and not row.get("control"):
            groups.setdefault("colours" if row.get("counted") is None else row["attribute"], []).append(row)
    found = []
    for name, of in groups.items():
        measure = Measure(f"prompts.{name}", "Text to avatar, share of prompts that came out ↑", name, 2, PROMPTS)
        found.append((measure, {f"{row['sample']} {row['prompt']}": float(row["hit"]) for row in of}))
    return found


def frechet(run: Path) -> list[Measured]:
    """Fréchet distance of samples and training people."""
    rows = results(run, "evaluate", "frechet", {"value": float})
    measure = Measure("samples.frechet", "Samples", "Fréchet distance ↓", 3, ONE)
    return [(measure, {"": rows[0]["value"]})]


def costs(run: Path) -> list[Measured]:
    """Seconds of all stages, of those that the run made itself, and the largest memory of a process."""
    stems = (path.stem.rpartition("-")[0] for path in row_files(RunFolder(run)))
    names = sorted({stem for stem in stems if stem.startswith(TIMING) and stem != f"{TIMING}report"})
    fields = {"seconds": float, "peak_rss_mb": float, "paced_seconds": float}
    optional = ["peak_rss_mb", "paced_seconds"]
    rows = [row for name in names for row in results(run, name, "timing", fields, optional=optional)]
    if not rows:
        raise MissingRows(f"{run}: no times")
    own = sum(whole_seconds(row) for row in rows if "taken_from" not in row)
    found = {"all stages, s": sum(map(whole_seconds, rows)), "made here, s": own}
    memory = [row["peak_rss_mb"] for row in rows if row.get("peak_rss_mb") is not None]
    found |= {"peak memory, MB": max(memory)} if memory else {}
    keys = {"all stages, s": "seconds", "made here, s": "own_seconds", "peak memory, MB": "memory"}
    return [(Measure(f"costs.{keys[name]}", "Costs", name, 0, ONE), {"": value}) for name, value in found.items()]


def _quality(name: str, section: str, rows: Sequence[Row]) -> list[Measured]:
    found = []
    for metric, (heading, decimals) in METRICS.items():
        found += _values(Measure(f"{name}.{metric}", section, heading, decimals), rows, metric)
    heading, decimals, factor = HAZE
    return found + _values(Measure(f"{name}.haze", section, heading, decimals), rows, "haze", factor)


def _values(measure: Measure, rows: Sequence[Row], field: str, factor: float = 1.0) -> list[Measured]:
    """A measure with the mean of each person's rows; none unless every person has it."""
    values: dict[str, list[float]] = {}
    for row in rows:
        if row.get(field) is not None:
            values.setdefault(row["subject"], []).append(factor * row[field])
    if not values or len(values) < len({row["subject"] for row in rows}):
        return []
    low, high = RANGES[field]
    bounded = replace(measure, within=(factor * low, factor * high))
    return [(bounded, {subject: sum(of) / len(of) for subject, of in values.items()})]


MEASURES: tuple[Callable[[Path], list[Measured]], ...] = (
    reconstruction,
    table_1,
    fits,
    prompts,
    frechet,
    costs,
)
