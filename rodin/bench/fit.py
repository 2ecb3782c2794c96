"""`rodin bench fit`: speed of the fitter against the one of `reference`, and the gain of each idea."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from rodin.bench.bust import bust
from rodin.bench.look_up import look_up_row
from rodin.bench.race import LR, RaceSetup, RaceSubject, ReferenceTuning, Variant, learn_decoder
from rodin.bench.reference import COARSE, FINE
from rodin.fitting.scene import FitScene
from rodin.fitting.start import LearnedStart
from rodin.fitting.step import FitSettings
from rodin.hooks import Progress, no_progress

NO_CUT = 1e-30  # share of light; no ray loses more before its end
NEVER = 1e9  # dB; a target no fit reaches
GROUP = 4  # subjects fitted at once
VIEWS, SIDE = 24, 64  # of a bust: views, and pixels a side
LEARNING_STEPS = 150  # of the decoder when no run supplies one
SHARES = (0.5, 0.625, 0.75, 0.875, 1.0)  # of the steps, tried from the learned start until it is as good
UNENDING = "fit without early stop"
STRICT = "fit, the reference a sum over resolutions too"


class RaceResult(NamedTuple):
    """Seconds and PSNR of our fit; seconds and final PSNR of the reference fit, which is the target."""

    ours: float
    psnr: float
    theirs: float
    target: float


def without_hull(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: no cell is known to be empty at the start."""
    return scene._replace(hull=torch.ones_like(scene.hull)), settings


def without_occupancy(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: the occupancy grid stays the hull, and no sample is known to be hidden."""
    return scene, replace(settings, refresh_occupancy=False)


def without_cut(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: rays are sampled to their end."""
    return scene, replace(settings, cut=NO_CUT)


def without_choice(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: all pixels are drawn with equal probability."""
    every = torch.arange(scene.rgba.shape[:3].numel(), device=scene.rgba.device)
    return scene._replace(inside=every, outside=every[:0]), settings


def without_levels(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: the planes are optimised directly, not as a sum over resolutions."""
    return scene, replace(settings, levels=1)


def without_coarse(scene: FitScene, settings: FitSettings) -> tuple[FitScene, FitSettings]:
    """Variant: all steps take the full number of samples of a ray."""
    return scene, replace(settings, coarse=False)


IDEAS = {
    "visual hull": without_hull,
    "occupancy grid": without_occupancy,
    "skipping what is hidden": without_cut,
    "rays where the person is": without_choice,
    "planes as a sum over resolutions": without_levels,
    "coarse samples first": without_coarse,
}
Measure = Callable[[], tuple[float, float]]
Cache = Callable[[str, Measure], tuple[float, float]]
Fitted = Callable[[int | str, str, Measure], tuple[float, float]]


def without_cache(_: str, measure: Measure) -> tuple[float, float]:
    """Measure anew every time."""
    return measure()


def bench_fit(
    subjects: Sequence[RaceSubject] | None = None,
    setup: RaceSetup | None = None,
    *,
    tunings: Sequence[ReferenceTuning] = (ReferenceTuning(LR, 1e-2), ReferenceTuning(4 * LR, 1e-2)),
    ideas: bool = False,
    progress: Progress = no_progress,
    cached: Cache = without_cache,
) -> list[dict[str, Any]]:
    """Measure the seconds until our fit reaches the final PSNR of the reference fit, on held-out views.

    Args:
        subjects: fitted subjects; None: busts of balls, rendered exactly.
        setup: shared by all fits; None: a decoder and a start learned on another bust.
        tunings: of the reference, tried on the first subject; the best is used for all.
        ideas: whether ours also runs without each of its ideas, and against a reference with our sum over resolutions.
        progress: called with fits done, fits in all and the result of the last.
        cached: called with the name of a fit and a function that measures it; returns the result, maybe an earlier one.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}, medians over subjects; `ratio` over 1 means ours is
        faster. If ours never reaches the target, all its steps are counted, and the row says how many subjects missed
        it. Then the fit from a learned start, if there is one, against the one from the mean; GROUP subjects fitted at
        once, all steps, against one after another; last, the look-up alone.
    """
    busts = [] if subjects else [RaceSubject(*bust(number, VIEWS, SIDE)) for number in range(1, 1 + GROUP)]
    groups = _subject_groups(subjects or busts)
    subjects, setup = subjects or busts[:1], setup or RaceSetup(*learn_decoder(LEARNING_STEPS))
    count, done = len(tunings) - 1 + len(subjects) * (2 + ideas * (3 + len(IDEAS))), 0
    count += sum(1 + len(group) for group in groups) + (setup.learned is not None) * len(subjects) * (1 + len(SHARES))

    def fitted(number: int | str, name: str, measure: Measure) -> tuple[float, float]:
        nonlocal done
        seconds, psnr = cached(f"{number} {name}", measure)
        done += 1
        progress(done, count, f"person {number}, {name}: {psnr:.1f} dB in {seconds:.1f} s")
        return seconds, psnr

    def theirs(number: int, tuning: ReferenceTuning, levels: int = 1) -> tuple[float, float]:
        name = f"reference, lr {tuning.lr:g}, sparse x{tuning.sparse:g}, {levels} levels"
        return fitted(number, name, lambda: setup.time_reference(subjects[number], tuning, levels))

    def race(number: int, name: str, end: tuple[float, float], change: Variant | None = None) -> RaceResult:
        target = NEVER if name == UNENDING else end[1]
        return RaceResult(*fitted(number, name, lambda: setup.time_ours(subjects[number], target, change)), *end)

    tried = {tuning: theirs(0, tuning) for tuning in tunings}
    best = max(tried, key=lambda one: tried[one][1])
    ends, races = [tried[best]], {"fit": [race(0, "fit", tried[best])]}
    for number in range(1, len(subjects)):
        ends.append(theirs(number, best))
        races["fit"].append(race(number, "fit", ends[number]))
    variants = {f"fit without {name}": change for name, change in IDEAS.items()} | {UNENDING: None} if ideas else {}
    for number, end in enumerate(ends):
        for name, change in variants.items():
            races.setdefault(name, []).append(race(number, name, end, change))
    for number in range(len(subjects)) if ideas else ():
        races.setdefault(STRICT, []).append(race(number, STRICT, theirs(number, best, setup.settings.levels)))
    baseline = f"{COARSE}+{FINE} samples, all pixels, no hull, {setup.reference_steps} steps, lr {best.lr:g}"
    rows = [_row(name, some, baseline) for name, some in races.items()]
    if setup.learned is not None:
        rows.append(_start_row(subjects, setup, fitted))
    if groups:
        rows.append(_group_row(groups, setup, fitted))
    return [*rows, look_up_row(setup.start.device)]


def _subject_groups(subjects: Sequence[RaceSubject]) -> list[dict[int, RaceSubject]]:
    """Groups of GROUP subjects by number; a group of one is left out."""
    numbered = list(enumerate(subjects))
    groups = [dict(numbered[begin : begin + GROUP]) for begin in range(0, len(subjects), GROUP)]
    return [group for group in groups if len(group) > 1]


def _start_row(subjects: Sequence[RaceSubject], setup: RaceSetup, fitted: Fitted) -> dict[str, Any]:
    """Seconds from the learned start with the fewest of SHARES of the steps that reach the mean PSNR of all steps from
    the mean; with all steps if none does."""

    def ends(start: LearnedStart | None, steps: int) -> list[tuple[float, float]]:
        name = f"from {'the mean' if start is None else 'the learned start'}, {steps} steps"
        return [
            fitted(number, name, lambda one=one: setup.time_start(one, start, steps))
            for number, one in enumerate(subjects)
        ]

    baseline = ends(None, setup.steps)
    target, made, steps = statistics.fmean(psnr for _, psnr in baseline), baseline, setup.steps
    for share in SHARES:
        steps = round(share * setup.steps)
        made = ends(setup.learned, steps)
        if statistics.fmean(psnr for _, psnr in made) >= target:
            break
    reached = statistics.fmean(psnr for _, psnr in made)
    return {
        "name": f"fit from the learned start, {steps} steps, {len(subjects)} people to {reached:.2f} dB",
        "value": statistics.median(seconds for seconds, _ in made),
        "unit": "s",
        "baseline": f"from the mean, {setup.steps} steps to {target:.2f} dB",
        "baseline_value": statistics.median(seconds for seconds, _ in baseline),
        "ratio": statistics.median(one / other for (one, _), (other, _) in zip(baseline, made, strict=True)),
    }


def _group_row(groups: Sequence[dict[int, RaceSubject]], setup: RaceSetup, fitted: Fitted) -> dict[str, Any]:
    """Seconds a subject, median over groups, each measured both ways in turn."""
    together, alone = [], []
    for group in groups:
        members = list(group.values())
        names = f"{min(group)} to {max(group)}"
        together.append(fitted(names, "at once", lambda members=members: setup.time_together(members))[0])
        each = [fitted(number, "alone", lambda one=one: setup.time_together([one]))[0] for number, one in group.items()]
        alone.append(statistics.fmean(each))
    return {
        "name": f"fit, {len(groups[0])} people at once, seconds a person",
        "value": statistics.median(together),
        "unit": "s",
        "baseline": "one after another",
        "baseline_value": statistics.median(alone),
        "ratio": statistics.median(one / other for one, other in zip(alone, together, strict=True)),
    }


def _row(name: str, races: Sequence[RaceResult], baseline: str) -> dict[str, Any]:
    reached = sum(one.psnr >= one.target for one in races)
    missed = "" if reached == len(races) else f", {len(races) - reached} did not get there"
    target = statistics.median(one.target for one in races)
    return {
        "name": f"{name}, {len(races)} people to {target:.1f} dB{missed}",
        "value": statistics.median(one.ours for one in races),
        "unit": "s",
        "baseline": baseline,
        "baseline_value": statistics.median(one.theirs for one in races),
        "ratio": statistics.median(one.theirs / one.ours for one in races),
    }
