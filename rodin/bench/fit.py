"""How fast people are fitted here, against the fitter of `reference`, and what each idea brings."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch

from rodin.bench.bust import bust
from rodin.bench.look_up import look_up_row
from rodin.bench.race import LR, Change, Person, Track, Tuning, learned
from rodin.bench.reference import COARSE, FINE
from rodin.fitting.scene import Scene
from rodin.fitting.step import Settings

NEVER = 1e9
COMPANY = 4
UNENDING = "fit without early stop"
STRICT = "fit, the reference a sum over resolutions too"


class Race(NamedTuple):
    """Seconds and PSNR of our fit; seconds and final PSNR of the reference's."""

    ours: float
    psnr: float
    theirs: float
    wanted: float


def without_hull(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """Nothing is known to be empty beforehand."""
    return scene._replace(hull=torch.ones_like(scene.hull)), settings


def without_occupancy(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """What may be filled stays what the hull says, and nothing is known to be hidden."""
    return scene, replace(settings, occupancy=False)


def without_cut(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """Rays are followed to their end."""
    return scene, replace(settings, cut=1e-30)


def without_choice(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """All pixels are drawn alike."""
    every = torch.arange(scene.rgba.shape[:3].numel(), device=scene.rgba.device)
    return scene._replace(inside=every, outside=every[:0]), settings


def without_levels(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """The planes are learned as they are, not as a sum over resolutions."""
    return scene, replace(settings, levels=1)


def without_coarse(scene: Scene, settings: Settings) -> tuple[Scene, Settings]:
    """All steps take as many samples of a ray as the last."""
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
Keep = Callable[[str, Measure], tuple[float, float]]


def measured(_: str, measure: Measure) -> tuple[float, float]:
    """Nothing is kept of what was measured before."""
    return measure()


def bench_fit(
    people: Sequence[Person] | None = None,
    track: Track | None = None,
    *,
    tunings: Sequence[Tuning] = (Tuning(LR, 1e-2), Tuning(4 * LR, 1e-2)),
    ideas: bool = False,
    progress: Callable[[int, int, str], None] = lambda *_: None,
    kept: Keep = measured,
) -> list[dict[str, Any]]:
    """Measure seconds to the PSNR the reference ends at, on views not fitted.

    Args:
        people: who is fitted; none: a bust of balls, drawn exactly.
        track: what the races share; none: a decoder and a start learned on another bust.
        tunings: what the reference tries on the first person; its best serves all.
        ideas: whether ours also runs without each of its ideas, and against a reference that has our sum over
            resolutions.
        progress: told fits done, fits in all and what came of the last.
        kept: gives what a fit of that name came to, from an earlier run or by measuring.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}, medians over people; `ratio` over 1 means ours is
        faster. Where ours never gets as good, all its steps are counted and the row says how many people got there.
        Then COMPANY people fitted at once, all steps, against the same one after another; last, the look-up alone.
    """
    busts = [] if people else [Person(*bust(number, 24, 64)) for number in range(1, 1 + COMPANY)]
    groups = _groups(people or busts)
    people, track = people or busts[:1], track or Track(*learned(150))
    count, done = len(tunings) - 1 + len(people) * (2 + ideas * (3 + len(IDEAS))), 0
    count += sum(1 + len(group) for group in groups)

    def fitted(number: int | str, name: str, measure: Measure) -> tuple[float, float]:
        nonlocal done
        seconds, psnr = kept(f"{number} {name}", measure)
        done += 1
        progress(done, count, f"person {number}, {name}: {psnr:.1f} dB in {seconds:.1f} s")
        return seconds, psnr

    def theirs(number: int, tuning: Tuning, levels: int = 1) -> tuple[float, float]:
        name = f"reference, lr {tuning.lr:g}, sparse x{tuning.sparse:g}, {levels} levels"
        return fitted(number, name, lambda: track.reference(people[number], tuning, levels))

    def race(number: int, name: str, end: tuple[float, float], change: Change | None = None) -> Race:
        wanted = NEVER if name == UNENDING else end[1]
        return Race(*fitted(number, name, lambda: track.ours(people[number], wanted, change)), *end)

    tried = {tuning: theirs(0, tuning) for tuning in tunings}
    best = max(tried, key=lambda one: tried[one][1])
    ends, races = [tried[best]], {"fit": [race(0, "fit", tried[best])]}
    for number in range(1, len(people)):
        ends.append(theirs(number, best))
        races["fit"].append(race(number, "fit", ends[number]))
    variants = {f"fit without {name}": change for name, change in IDEAS.items()} | {UNENDING: None} if ideas else {}
    for number, end in enumerate(ends):
        for name, change in variants.items():
            races.setdefault(name, []).append(race(number, name, end, change))
    for number in range(len(people)) if ideas else ():
        races.setdefault(STRICT, []).append(race(number, STRICT, theirs(number, best, track.settings.levels)))
    baseline = f"{COARSE}+{FINE} samples, all pixels, no hull, {track.reference_steps} steps, lr {best.lr:g}"
    rows = [_row(name, some, baseline) for name, some in races.items()]
    if groups:
        rows.append(_company_row(groups, track, fitted))
    return [*rows, look_up_row(track.start.device)]


def _groups(people: Sequence[Person]) -> list[dict[int, Person]]:
    """People by their numbers, COMPANY of them together; nobody is left alone with himself."""
    numbered = list(enumerate(people))
    groups = [dict(numbered[begin : begin + COMPANY]) for begin in range(0, len(people), COMPANY)]
    return [group for group in groups if len(group) > 1]


def _company_row(
    groups: Sequence[dict[int, Person]], track: Track, fitted: Callable[[int | str, str, Measure], tuple[float, float]]
) -> dict[str, Any]:
    """Seconds a person, median over groups, each measured both ways in turn."""
    together, alone = [], []
    for group in groups:
        everybody = list(group.values())
        names = f"{min(group)} to {max(group)}"
        together.append(fitted(names, "at once", lambda everybody=everybody: track.gather_parts(everybody))[0])
        each = [fitted(number, "alone", lambda one=one: track.gather_parts([one]))[0] for number, one in group.items()]
        alone.append(statistics.fmean(each))
    return {
        "name": f"fit, {len(groups[0])} people at once, seconds a person",
        "value": statistics.median(together),
        "unit": "s",
        "baseline": "one after another",
        "baseline_value": statistics.median(alone),
        "ratio": statistics.median(one / other for one, other in zip(alone, together, strict=True)),
    }


def _row(name: str, races: Sequence[Race], baseline: str) -> dict[str, Any]:
    reached = sum(one.psnr >= one.wanted for one in races)
    lost = "" if reached == len(races) else f", {len(races) - reached} did not get there"
    wanted = statistics.median(one.wanted for one in races)
    return {
        "name": f"{name}, {len(races)} people to {wanted:.1f} dB{lost}",
        "value": statistics.median(one.ours for one in races),
        "unit": "s",
        "baseline": baseline,
        "baseline_value": statistics.median(one.theirs for one in races),
        "ratio": statistics.median(one.theirs / one.ours for one in races),
    }
