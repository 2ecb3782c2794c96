"""How fast people are fitted here, against the fitter of `reference`, and what each idea brings."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from rodin.field.bust import bust
from rodin.field.decoder import Decoder
from rodin.field.dice import dice_of
from rodin.field.fit import fit_planes, quality
from rodin.field.hull import hull_cells
from rodin.field.occupancy import guess_filled
from rodin.field.pyramid import total, zero_levels
from rodin.field.reference import COARSE, FINE, reference_loss
from rodin.field.scene import Scene, make_scene
from rodin.field.step import Losses, Settings, StepLoss, step_loss

HELD_OUT = 3
LR = 1.5e-2
ASK_EVERY = 5
NEVER = 1e9
UNENDING = "fit without early stop"
STRICT = "fit, the reference a sum over resolutions too"
SETTINGS = Settings(
    box=1.0, rays=1024, samples=48, min_rescale=None, losses=Losses(sparse=1e-2, planes_tv=3e-3, planes_l2=1e-3)
)
Change = Callable[[Scene, Settings], tuple[Scene, Settings]]


class Race(NamedTuple):
    """Seconds and PSNR of our fit; seconds and final PSNR of the reference's."""

    ours: float
    psnr: float
    theirs: float
    wanted: float


class Tuning(NamedTuple):
    """What the reference may choose for itself: its step size, and its L_sparse as a share of ours."""

    lr: float
    sparse: float = 1.0


@dataclass(frozen=True)
class Person:
    """Who is fitted; the last HELD_OUT views are not.

    Args:
        rgba: [V, H, W, 4] uint8.
        poses: [V, 4, 4] camera to world.
        lenses: [V, 4] fx, fy, cx, cy in pixels.
    """

    rgba: np.ndarray
    poses: np.ndarray
    lenses: np.ndarray


@dataclass(frozen=True)
class Track:
    """What all races of a bench share.

    Args:
        decoder: the shared decoder.
        start: planes [3, C, R, R] every fit starts from.
        settings: how our fit goes, and the reference as far as it knows of it.
        steps: of our fit at most; of the reference.
        reference_steps: of the reference fit.
        lr: step size of our fit at the start.
    """

    decoder: Decoder
    start: torch.Tensor
    settings: Settings = SETTINGS
    steps: int = 150
    reference_steps: int = 75
    lr: float = LR

    def scene(self, person: Person) -> Scene:
        """The views of a person that are fitted."""
        parts = (array[:-HELD_OUT] for array in (person.rgba, person.poses, person.lenses))
        return make_scene(
            *parts, box=self.settings.box, hull_resolution=hull_cells(self.start.shape[-1]), device=self.start.device
        )

    def reference(self, person: Person, tuning: Tuning, levels: int = 1) -> tuple[float, float]:
        """(seconds, PSNR) of the reference fit; its planes are a sum over that many resolutions, one: not a sum."""
        losses = self.settings.losses
        settings = replace(
            self.settings,
            losses=replace(losses, sparse=losses.sparse * tuning.sparse),
            levels=levels,
            occupancy=False,
            coarse=False,
        )
        return self._timed(person, self.scene(person), settings, self.reference_steps, tuning.lr, reference_loss)

    def ours(self, person: Person, wanted: float, change: Change | None = None) -> tuple[float, float]:
        """(seconds, PSNR) of our fit, hull and all, until the PSNR wanted is reached."""
        began = time.perf_counter()
        scene, settings = self.scene(person), self.settings
        if change is not None:
            scene, settings = change(scene, settings)
        prepared = time.perf_counter() - began
        seconds, psnr = self._timed(person, scene, settings, self.steps, self.lr, step_loss, wanted)
        return prepared + seconds, psnr

    def _timed(
        self,
        person: Person,
        scene: Scene,
        settings: Settings,
        steps: int,
        lr: float,
        loss_of: StepLoss,
        wanted: float = float("inf"),
    ) -> tuple[float, float]:
        """The time of measuring is left out."""
        rgba, poses, lenses = (
            torch.from_numpy(array[-HELD_OUT:]) for array in (person.rgba, person.poses, person.lenses)
        )
        since, spent, psnr = time.perf_counter(), 0.0, 0.0

        def stop(done: int, planes: torch.Tensor) -> bool:
            nonlocal since, spent, psnr
            if planes.is_cuda:
                torch.cuda.synchronize(planes.device)
            spent += time.perf_counter() - since
            if np.isfinite(wanted) or done == steps:
                twice = 2 * settings.samples
                psnr = quality(planes, self.decoder, rgba, poses, lenses, box=settings.box, samples=twice)[0]
            since = time.perf_counter()
            return psnr >= wanted

        given = {"lr": lr, "seed": 0, "anchor": self.start, "stop": stop, "ask_every": ASK_EVERY, "loss_of": loss_of}
        fit_planes(scene, self.decoder, self.start, settings, steps=steps, **given)
        return spent, psnr


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
    """
    people = people or [Person(*bust(1, 24, 64))]
    track = track or Track(*_learned(150))
    count, done = len(tunings) - 1 + len(people) * (2 + ideas * (3 + len(IDEAS))), 0

    def fitted(number: int, name: str, measure: Measure) -> tuple[float, float]:
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
    return [_row(name, some, baseline) for name, some in races.items()]


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


def _learned(steps: int) -> tuple[Decoder, torch.Tensor]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scene = make_scene(*bust(0, 24, 64), box=SETTINGS.box, hull_resolution=hull_cells(64), device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(8).to(device)
    levels, dice = zero_levels((1, 3, 8, 64, 64), device), dice_of(0, device)
    groups = [{"params": levels, "lr": 2e-2}, {"params": list(decoder.parameters()), "lr": 1e-2}]
    adam, guess = torch.optim.Adam(groups, betas=(0.9, 0.99)), guess_filled(scene.hull)[None]
    with torch.no_grad():
        levels[0].normal_(0, 0.1, generator=dice.there)
    for _ in range(steps):
        adam.zero_grad()
        step_loss(total(levels).clamp(-1, 1), decoder, [scene], guess, SETTINGS, [dice]).backward()
        adam.step()
    return decoder.eval().requires_grad_(False), total(levels).detach()[0].clamp(-1, 1)
