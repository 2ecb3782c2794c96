"""Stage `decoder`: the MLP decoder shared by all subjects, learned together with planes of the first of them (R29).

The ranks of torch.distributed divide the subjects. In every step each rank draws some of its own at random, and the
decoder's gradients are averaged over all ranks. Random numbers are functions of (seed, subject, step), so a stage that
is killed and run again ends with the same bits (on GPUs: up to rounding); the number of ranks may change in between.
"""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from rodin.config import Config
from rodin.data.shared_decoder import FILE, publish_decoder
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.field.hull import hull_cells
from rodin.field.occupancy import occupancy_of_hull
from rodin.field.planes import bounded
from rodin.fitting.fit import next_occupancy, settings_at_step
from rodin.fitting.paging import BETAS, EPS, FLOATS, SceneCache, SubjectState, adam_, vectors
from rodin.fitting.pyramid import level_shapes, levels_of, total, zero_levels
from rodin.fitting.scene import FitScene, make_scene
from rodin.fitting.start import learn_start
from rodin.fitting.step import FitSettings, LossWeights, step_loss
from rodin.hooks import Hooks, Stopped
from rodin.store import manifest, results
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import generator, seed_for
from rodin.train.data.order import Order
from rodin.train.parallel.ranks import CPU, Ranks
from rodin.train.state import checkpoint, listed

SHOWN = 50  # steps between two points of the loss curve
CHECKPOINTS = 10  # of the whole stage
GPU_SHARE = 0.4  # of the GPU's memory for pictures at most, and for the subjects' values if they fit in beside
PIXEL = 4 + 8  # bytes of a pixel in a `FitScene`: its colour and alpha, and its number
FIRST_STD = 0.1  # standard deviation of the first shared planes, well inside [-1, 1]
LAYOUT = 2  # of the subjects' values in checkpoints; in layout 1 the texels of a channel were adjacent


def run(config: Config, folder: RunFolder, shard: int, hooks: Hooks) -> None:
    """Learn the decoder and publish it with what fits start from: the mean planes, and the learned start if wanted.

    Args:
        config, folder: of the run.
        shard: always 0; the ranks divide the work.
        hooks: progress callback and stop request.
    """
    with Ranks.from_environment() as ranks:
        if ranks.any(manifest.complete(folder.manifest("decoder", 0))):
            return
        learning = DecoderTraining(config, folder, ranks)
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


def fit_settings(config: Config, rays: int) -> FitSettings:
    """Settings of the fitter from the config; `rays` of each subject in a step."""
    fit = config.fit
    return FitSettings(
        box=config.triplane.box,
        rays=rays,
        samples=fit.samples,
        min_rescale=fit.min_rescale if fit.rescale else None,
        losses=LossWeights(**fit.losses.model_dump()),
        compiled=fit.compile,
    )


def read_scene(
    views: Shards, subject: str, config: Config, device: torch.device, hull: torch.Tensor | None = None
) -> FitScene:
    """Views of one subject without the held-out ones, on the device; the hull is carved unless given."""
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
class DecoderTraining:
    """State of the stage on one rank, its steps, checkpoints and results.

    Source: R27, R29. Ours: the planes of a subject are the shared planes plus its own difference, so that every step
    teaches what subjects have in common, and planes of all subjects stay alike.

    Args:
        config, folder: of the run.
        ranks: processes that share the work.
        only: subjects to learn with, from the start; None: the first `decoder.subjects`, from the last checkpoint.
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
        self.settings: FitSettings = fit_settings(config, config.decoder.rays)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.decoder = Decoder(plane.channels, plane.decoder_width, plane.decoder_layers, plane.view_directions).to(
                device
            )
        self.shape = (3, plane.channels, plane.resolution, plane.resolution)
        first = FIRST_STD * torch.randn(self.shape, generator=generator(config.seed, "first planes", 0))
        self.shared = zero_levels((1, *self.shape), device)
        with torch.no_grad():
            self.shared[0].copy_(first)
        views = Shards(self.folder.stage("render"), "views")
        selected = config.train_subjects()[: config.decoder.subjects] if self.only is None else self.only
        present = [subject for subject in selected if subject in views]
        if len(present) < self.ranks.world:
            raise ValueError(
                f"decoder: got {len(present)} subjects with views for {self.ranks.world} ranks, "
                "wanted at least one a rank; use fewer ranks or render more subjects"
            )
        mine, limit = present[self.ranks.rank :: self.ranks.world], config.decoder.memory_gb * 1e9
        length, pictures = sum(map(math.prod, level_shapes(self.shape))), PIXEL * math.prod(views.shape("rgba")[:3])
        room = GPU_SHARE * torch.cuda.mem_get_info(device)[1] if device.type == "cuda" else math.inf
        beside = len(mine) * 3 * FLOATS * length + min(limit, len(mine) * pictures) <= room
        rows = vectors(len(mine), length, limit, device=device if beside else CPU)
        self.subjects = [SubjectState(subject, row) for subject, row in zip(mine, rows, strict=True)]
        self.scenes = SceneCache(
            lambda subject, hull: read_scene(views, subject, config, device, hull), min(limit, room)
        )
        self.adam = torch.optim.Adam(
            [{"params": self.shared}, {"params": list(self.decoder.parameters())}], betas=BETAS, eps=EPS
        )
        self.order = Order(len(self.subjects), config.seed + self.ranks.rank)
        if self.only is None:
            self._restore()

    def take_step(self) -> None:
        """Take one step on planes of this rank's subjects, and on the shared planes and the decoder with all ranks."""
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

    def _visit(self, subjects: list[SubjectState], lr: float) -> torch.Tensor:
        """Take a step on subjects' own planes, add the gradients of the shared parameters; returns the mean loss."""
        device, settings = self.ranks.device, settings_at_step(self.settings, self.step, self.config.decoder.steps)
        scenes = [self.scenes[state.subject] for state in subjects]
        rows = [state.vectors.to(device) for state in subjects]
        values = torch.stack([row[0] for row in rows]).requires_grad_()
        shared = total(self.shared)
        planes, occupancies = self.planes(values, shared), []
        for state, scene, own in zip(subjects, scenes, planes.detach(), strict=True):
            occupancy = occupancy_of_hull(scene.hull) if state.occupancy is None else state.occupancy
            state.occupancy = next_occupancy(occupancy, own, self.decoder, scene, settings, state.visits)
            state.visits += 1
            occupancies.append(state.occupancy)
        seeds = [seed_for(self.config.seed, f"decoder {state.subject}", self.step) for state in subjects]
        generators = [generators_for(seed, device) for seed in seeds]
        anchor = shared.detach()[0]
        loss = step_loss(planes, self.decoder, scenes, torch.stack(occupancies), settings, generators, anchor).mean()
        loss.backward()
        for state, row, gradient in zip(subjects, rows, cast(torch.Tensor, values.grad), strict=True):
            adam_(row, gradient, state.visits, lr)
            if row is not state.vectors:
                state.vectors.copy_(row)
        return loss.detach()

    def _drawn(self) -> list[SubjectState]:
        count = min(self.config.decoder.subjects_per_step, len(self.subjects))
        places = self.order[range(self.step * count, (self.step + 1) * count)]
        return [self.subjects[place] for place in dict.fromkeys(places.tolist())]

    def planes(self, values: torch.Tensor, shared: torch.Tensor | None = None) -> torch.Tensor:
        """Planes [N, 3, C, R, R] in [-1, 1] of subjects with values [N, length]; `shared`: shared planes, if known."""
        return bounded((total(self.shared) if shared is None else shared) + total(levels_of(values, self.shape)))

    @torch.no_grad()
    def _fitted(self) -> Iterator[tuple[str, torch.Tensor]]:
        shared, device = total(self.shared), self.ranks.device
        for one in self.subjects:
            yield one.subject, self.planes(one.vectors[:1].to(device), shared)[0]

    def save(self) -> None:
        """Save the state of all ranks; it is valid once rank 0 has published the list of its parts."""
        rows = {
            one.subject: {"state": one.vectors, "guess": one.occupancy, "visits": one.visits} for one in self.subjects
        }
        content: dict[str, Any] = {"subjects": rows}
        if self.ranks.main:
            content |= {"decoder": self.decoder.state_dict(), "shared": [level.detach() for level in self.shared]}
            content |= {"adam": self.adam.state_dict()}
        listed.publish(
            self._states,
            f"step-{self.step:09d}",
            content,
            {"layout": LAYOUT, "step": self.step, "curve": self.curve},
            self.ranks,
        )

    def publish(self) -> None:
        """Write decoder.pt, the loss curve and the manifest; delete the checkpoints."""
        config, device, learned = self.config, self.ranks.device, None
        mean, count = torch.zeros(self.shape, device=device), torch.tensor(float(len(self.subjects)), device=device)
        for _, planes in self._fitted():
            mean += planes
        self.ranks.sum_([mean, count])
        if config.fit.start == "learned":
            pairs = ((self.scenes[subject], planes) for subject, planes in self._fitted())
            learned = learn_start(mean / count, pairs, config.triplane.box, self.ranks.sum_)

        def write() -> None:
            home = self.folder.stage("decoder")
            publish_decoder(self.folder, self.decoder, mean / count, learned, self.step)
            results.write_rows(self.folder, "decoder", 0, self.curve)
            of = len(config.train_subjects()[: config.decoder.subjects])
            described = {"files": manifest.describe_files(home, [FILE]), "subjects": int(count), "of": of}
            manifest.publish(self.folder.manifest("decoder", 0), described)
            shutil.rmtree(self._states, ignore_errors=True)

        self.ranks.on_main(write)

    @property
    def _states(self) -> Path:
        return self.folder.stage("decoder") / "state"

    def _restore(self) -> None:
        saved, mine = listed.last(self._states, self.ranks), {one.subject: one for one in self.subjects}
        if saved is None:
            return
        if saved.get("layout") != LAYOUT:
            raise ValueError(
                f"{self._states / listed.LIST}: got the state of layout {saved.get('layout', 1)}, wanted {LAYOUT}: the "
                f"code has changed; go on with the code snapshot in the run's code/ folder, or move {self._states} "
                "elsewhere to learn the decoder from the start"
            )
        for name in sorted(saved["files"]):  # of all ranks, whose number may have changed; mapped: most is not read
            content = checkpoint.read(self._states / name, mapped=True)
            if "decoder" in content:
                self.decoder.load_state_dict(content["decoder"])
                self.adam.load_state_dict(copy.deepcopy(content["adam"]))  # it keeps tensors that fit
                with torch.no_grad():
                    for level, value in zip(self.shared, content["shared"], strict=True):
                        level.copy_(value)
            for subject in content["subjects"].keys() & mine.keys():
                state, stored = mine[subject], content["subjects"][subject]
                state.vectors.copy_(stored["state"])
                guess = stored["guess"]
                state.occupancy = None if guess is None else guess.to(self.ranks.device, copy=True)
                state.visits = stored["visits"]
        self.step, self.curve = saved["step"], saved["curve"]
