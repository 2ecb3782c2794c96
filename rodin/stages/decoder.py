"""Stage `decoder`: the MLP decoder all people share, learned together with the planes of the first of them (R29).

People are dealt out to the ranks of torch.distributed; every step each rank draws some of its own anew, so that nobody
is forgotten, and the decoder's gradients are averaged over all ranks. Everything random is a function of (seed, person,
step), so the stage killed at any moment and run again ends with the same bits; the number of ranks may then change.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from rodin.config import Config
from rodin.data.shared_decoder import FILE
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.hull import hull_cells
from rodin.field.occupancy import guess_filled
from rodin.field.planes import bounded
from rodin.fitting.fit import at_step, next_guess
from rodin.fitting.paging import BETAS, EPS, Scenes, adam_, vectors
from rodin.fitting.pyramid import level_shapes, levels_of, total, zero_levels
from rodin.fitting.scene import Scene, make_scene
from rodin.fitting.step import Losses, Settings, step_loss
from rodin.hooks import Hooks, Stopped
from rodin.store import manifest, results
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import generator, seed_for
from rodin.train.data.order import Order
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint

SHOWN = 50
CHECKPOINTS = 10
LAYOUT = 2  # of people's values; 1 held each channel's texels together


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Learn the decoder and publish it with the mean of its people's planes.

    Args:
        config: the run's config.
        folder: the run.
        shard: always 0; the ranks divide the work by themselves.
        hooks: progress and the wish to stop.
    """
    if manifest.complete(folder.manifest("decoder", 0)):
        return
    with Ranks.from_environment() as ranks:
        learning = Learning(config, folder, ranks)
        steps = config.decoder.steps
        every = max(1, steps // CHECKPOINTS)
        while learning.step < steps:
            learning.take_step()
            hooks.progress(learning.step, steps, f"loss {learning.curve[-1]['loss']:.5f}")
            stop = ranks.any(hooks.should_stop())
            if stop or (learning.step % every == 0 and learning.step < steps):
                learning.save()
            if stop and learning.step < steps:
                raise Stopped()
        learning.publish()


def fit_settings(config: Config, rays: int) -> Settings:
    """The config's choices as the fitter wants them; `rays` of one step on one person."""
    fit = config.fit
    return Settings(
        box=config.triplane.box,
        rays=rays,
        samples=fit.samples,
        min_rescale=fit.min_rescale if fit.rescale else None,
        losses=Losses(**fit.losses.model_dump()),
        compiled=fit.compile,
    )


def read_scene(
    views: Shards, subject: str, config: Config, device: torch.device, hull: torch.Tensor | None = None
) -> Scene:
    """One person's pictures but the held-out ones, on the device, with their hull, carved unless it is given."""
    fitted = slice(0, views.shape("rgba")[0] - config.fit.held_out_views)
    return make_scene(
        views.read(subject, "rgba", fitted),
        views.read(subject, "camera_to_world")[fitted],
        views.read(subject, "intrinsics")[fitted],
        box=config.triplane.box,
        hull_resolution=hull_cells(config.triplane.resolution),
        device=device,
        hull=hull,
    )


@dataclass
class Person:
    """One person of this rank: what sets the planes apart and Adam's moments [3, length], and where they are dense."""

    subject: str
    state: torch.Tensor
    guess: torch.Tensor | None = None
    visits: int = 0


@dataclass
class Learning:
    """The state of the stage on one rank, and what a step, a checkpoint and the end do with it.

    Source: R27, R29. Ours: a person's planes are shared planes plus what sets the person apart, so that every step
    teaches what people have in common and the planes of all people stay alike.

    Args:
        config: the run's.
        folder: the run.
        ranks: who shares the work.
        only: learn with these people; none: the first `decoder.subjects`, from where the last attempt stopped.
    """

    config: Config
    folder: RunFolder
    ranks: Ranks
    only: list[str] | None = None
    step: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        config, device = self.config, self.ranks.device
        plane = config.triplane
        self.settings: Settings = fit_settings(config, config.decoder.rays)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.decoder = Decoder(plane.channels, plane.decoder_width, plane.decoder_layers, plane.view_directions).to(
                device
            )
        self.shape = (3, plane.channels, plane.resolution, plane.resolution)
        first = 0.1 * torch.randn(self.shape, generator=generator(config.seed, "first planes", 0))
        self.shared = zero_levels((1, *self.shape), device)
        with torch.no_grad():
            self.shared[0].copy_(first)
        views = Shards(self.folder.stage("render"), "views")
        asked = config.train_subjects()[: config.decoder.subjects] if self.only is None else self.only
        wanted = [one for one in asked if one in views]
        if len(wanted) < self.ranks.world:
            raise ValueError(
                f"decoder: got {len(wanted)} people with views for {self.ranks.world} ranks, "
                "wanted at least one a rank; ask for fewer ranks or render more people"
            )
        mine, limit = wanted[self.ranks.rank :: self.ranks.world], config.decoder.memory_gb * 1e9
        states = vectors(len(mine), sum(map(math.prod, level_shapes(self.shape))), limit)
        self.people = [Person(subject, state) for subject, state in zip(mine, states, strict=True)]
        self.scenes = Scenes(lambda subject, hull: read_scene(views, subject, config, device, hull), limit)
        self.adam = torch.optim.Adam(
            [{"params": self.shared}, {"params": list(self.decoder.parameters())}], betas=BETAS, eps=EPS
        )
        self.order = Order(len(self.people), config.seed + self.ranks.rank)
        if self.only is None:
            self._restore()

    def take_step(self) -> None:
        """One step of this rank's planes and of everybody's decoder."""
        learn = self.config.decoder
        fall = 0.55 + 0.45 * math.cos(math.pi * self.step / learn.steps)
        self.adam.zero_grad(set_to_none=True)
        mean = self._visit(self._drawn(), learn.planes_lr * fall)
        common = [*self.shared, *self.decoder.parameters()]
        self.ranks.mean_([mean, *(parameter.grad for parameter in common if parameter.grad is not None)])
        if not math.isfinite(float(mean)):
            raise ValueError(
                f"decoder: the loss is {float(mean)} at step {self.step}; lower decoder.planes_lr or decoder.decoder_lr"
            )
        for group, lr in zip(self.adam.param_groups, (learn.planes_lr, learn.decoder_lr), strict=True):
            group["lr"] = lr * fall
        self.adam.step()
        self.step += 1
        if self.step % SHOWN == 0 or self.step in (1, learn.steps):
            drawn = self.step * learn.subjects_per_step * self.ranks.world
            self.curve.append({"stage": "decoder", "step": self.step, "samples": drawn, "loss": float(mean)})

    def _visit(self, people: list[Person], lr: float) -> torch.Tensor:
        """Move people's planes, and add the gradients of what is common; their mean loss."""
        device, settings = self.ranks.device, at_step(self.settings, self.step, self.config.decoder.steps)
        scenes = [self.scenes[person.subject] for person in people]
        states = [person.state.to(device) for person in people]
        values = torch.stack([state[0] for state in states]).requires_grad_()
        shared = total(self.shared)
        planes, guesses = self.planes(values, shared), []
        for person, scene, own in zip(people, scenes, planes.detach(), strict=True):
            guess = guess_filled(scene.hull) if person.guess is None else person.guess
            person.guess = next_guess(guess, own, self.decoder, scene, settings, person.visits)
            person.visits += 1
            guesses.append(person.guess)
        seeds = [seed_for(self.config.seed, f"decoder {person.subject}", self.step) for person in people]
        generators = [generators_for(seed, device) for seed in seeds]
        anchor = shared.detach()[0]
        loss = step_loss(planes, self.decoder, scenes, torch.stack(guesses), settings, generators, anchor).mean()
        loss.backward()
        for person, state, gradient in zip(people, states, cast(torch.Tensor, values.grad), strict=True):
            adam_(state, gradient, person.visits, lr)
            if state is not person.state:
                person.state.copy_(state)
        return loss.detach()

    def _drawn(self) -> list[Person]:
        count = min(self.config.decoder.subjects_per_step, len(self.people))
        places = self.order[range(self.step * count, (self.step + 1) * count)]
        return [self.people[place] for place in dict.fromkeys(places.tolist())]

    def planes(self, values: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        """The planes [N, 3, C, R, R] in [-1, 1] of people with values [N, length]; `shared`: its sum, if known."""
        return bounded((total(self.shared) if shared is None else shared) + total(levels_of(values, self.shape)))

    def save(self) -> None:
        """Save all ranks' state; it counts once rank 0 has published the list of its parts."""
        name = f"step-{self.step:09d}"
        people = {one.subject: {"state": one.state, "guess": one.guess, "visits": one.visits} for one in self.people}
        content: dict[str, Any] = {"subjects": people}
        if self.ranks.main:
            content |= {"decoder": self.decoder.state_dict(), "shared": [level.detach() for level in self.shared]}
            content |= {"adam": self.adam.state_dict()}
        failure = None
        try:
            checkpoint.publish(self._states / name / f"rank-{self.ranks.rank:05d}.pt", content)
        except ValueError as error:
            failure = error
        if self.ranks.any(failure is not None):
            raise failure or ValueError(f"rank {self.ranks.rank} stops because another could not save; see its message")
        self.ranks.on_main(lambda: self._keep(name))

    def publish(self) -> None:
        """Write decoder.pt, the loss curve and the manifest; the saved state is then of no more use."""
        with torch.no_grad():
            mean, shared = torch.zeros(self.shape, device=self.ranks.device), total(self.shared)
            for one in self.people:
                mean += self.planes(one.state[:1].to(self.ranks.device), shared)[0]
        count = torch.tensor(float(len(self.people)), device=self.ranks.device)
        self.ranks.sum_([mean, count])

        def write() -> None:
            home = self.folder.stage("decoder")
            state = {name: value.cpu() for name, value in self.decoder.state_dict().items()}
            content = {"decoder": state, **self.decoder.settings(), "mean": (mean / count).cpu(), "step": self.step}
            checkpoint.publish(home / FILE, content)
            results.write_rows(self.folder, "decoder", 0, self.curve)
            people = self.config.train_subjects()[: self.config.decoder.subjects]
            described = {"files": manifest.describe_files(home, [FILE]), "subjects": int(count), "of": len(people)}
            manifest.publish(self.folder.manifest("decoder", 0), described)
            shutil.rmtree(self._states, ignore_errors=True)

        self.ranks.on_main(write)

    @property
    def _states(self) -> Path:
        return self.folder.stage("decoder") / "state"

    def _keep(self, name: str) -> None:
        parts = sorted(path.name for path in (self._states / name).glob("rank-*.pt"))[: self.ranks.world]
        files = manifest.describe_files(self._states, [f"{name}/{part}" for part in parts])
        manifest.publish(
            self._states / "last.json", {"layout": LAYOUT, "step": self.step, "curve": self.curve, "files": files}
        )
        for old in self._states.glob("step-*"):
            if old.name != name:
                shutil.rmtree(old, ignore_errors=True)

    def _restore(self) -> None:
        last = self._states / "last.json"
        if not manifest.complete(last):
            return
        if problems := manifest.check_files(last):
            raise ValueError(f"{problems[0].split(';')[0]}; delete {self._states} to learn the decoder from the start")
        saved, mine = manifest.read(last), {one.subject: one for one in self.people}
        if saved.get("layout") != LAYOUT:
            raise ValueError(
                f"{last}: got the state of layout {saved.get('layout', 1)}, wanted {LAYOUT}: the code has changed; "
                f"delete {self._states} to learn the decoder from the start"
            )
        for name in sorted(saved["files"]):
            content = checkpoint.read(self._states / name)
            if "decoder" in content:
                self.decoder.load_state_dict(content["decoder"])
                self.adam.load_state_dict(content["adam"])
                with torch.no_grad():
                    for level, value in zip(self.shared, content["shared"], strict=True):
                        level.copy_(value)
            for subject in content["subjects"].keys() & mine.keys():
                person, kept = mine[subject], content["subjects"][subject]
                person.state.copy_(kept["state"])
                person.guess = None if kept["guess"] is None else kept["guess"].to(self.ranks.device)
                person.visits = kept["visits"]
        self.step, self.curve = saved["step"], saved["curve"]
