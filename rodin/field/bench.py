"""How fast a person is fitted here, against a fitter in the manner of EG3D's renderer.

The reference draws all pixels alike, samples rays 48 times evenly and 48 times more where the first showed something,
and knows neither hull nor guesses; planes, decoder, losses, optimiser and start are the same.
"""

import time
from typing import Any

import numpy as np
import torch

from rodin.field import cameras
from rodin.field.decoder import Decoder
from rodin.field.fit import FREE_POINTS, Losses, Settings, fit_planes, plane_losses, quality, step_loss, weighted_losses
from rodin.field.occupancy import guess_filled
from rodin.field.planes import look_up
from rodin.field.pyramid import total, zero_levels
from rodin.field.render import Traced, box_interval, stratify, weigh
from rodin.field.scene import Rays, Scene, make_scene, rays_at

COARSE = FINE = 48
HELD_OUT = 3
SETTINGS = Settings(
    box=1.0, rays=1024, samples=48, min_rescale=None, losses=Losses(sparse=1e-2, planes_tv=3e-3, planes_l2=1e-3)
)
LR = 1.5e-2


def bench_fit(
    views: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    decoder: Decoder | None = None,
    start: torch.Tensor | None = None,
    *,
    steps: int = 150,
    reference_steps: int = 75,
    device: torch.device | None = None,
) -> list[dict[str, Any]]:
    """Seconds until a fit is as good as the reference fit at its end, on views fitted by neither.

    Args:
        views: rgba [V, H, W, 4] uint8, camera_to_world [V, 4, 4], intrinsics [V, 4] of one person; the last three are
            held out. None: a bust of balls, drawn exactly.
        decoder: the shared decoder; none: one learned beforehand on another bust, untimed.
        start: planes [3, C, R, R] to start from; none: those learned with that decoder.
        steps: of our fit at most.
        reference_steps: of the reference fit.
        device: where; None: the GPU where there is one.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; `ratio` over 1 means ours is faster. Where ours never
        gets as good, its value is the time of all its steps and the name says so.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    rgba, poses, lenses = views or bust(1, 24, 64)
    if decoder is None or start is None:
        decoder, start = _learned(_scene(*bust(0, 24, 64), device), 150, device)
    fitted = slice(0, len(rgba) - HELD_OUT)
    truth = tuple(torch.from_numpy(array[fitted.stop :]) for array in (rgba, poses, lenses))
    began = time.perf_counter()
    scene = _scene(rgba[fitted], poses[fitted], lenses[fitted], device)
    prepared = time.perf_counter() - began
    slow = _timed(scene, decoder, start, truth, reference_steps, reference_loss)
    wanted = slow[-1][1]
    fast = _timed(scene, decoder, start, truth, steps, step_loss, wanted)
    reached = fast[-1][1] >= wanted
    ours, theirs = fast[-1][0] + prepared, slow[-1][0]
    told = f"fit to {wanted:.1f} dB" if reached else f"fit, {fast[-1][1]:.1f} of the reference's {wanted:.1f} dB"
    baseline = f"{COARSE}+{FINE} samples, all pixels, no hull, {reference_steps} steps"
    row = {"name": told, "value": ours, "unit": "s", "baseline": baseline, "baseline_value": theirs}
    return [row | {"ratio": theirs / ours if reached else 0.0}]


def reference_loss(
    planes: torch.Tensor,
    decoder: Decoder,
    scene: Scene,
    guess: torch.Tensor,
    settings: Settings,
    generator: torch.Generator | None,
    anchor: torch.Tensor | None = None,
) -> torch.Tensor:
    """The loss of a step as `step_loss` has it, with rays, samples and free points drawn without the hull."""
    pixels = scene.rgba.shape[:3].numel()
    drawn = torch.randint(pixels, (settings.rays,), generator=generator, device=planes.device)
    rays = rays_at(scene, drawn)
    seen = _coarse_to_fine(planes, decoder, rays, settings.box, generator)
    free = (torch.rand(FREE_POINTS, 3, generator=generator, device=planes.device) * 2 - 1) * settings.box
    loss = weighted_losses(seen, rays, planes, decoder, free, settings, generator)
    return loss + plane_losses(planes, settings.losses, anchor)


def bust(seed: int, count: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures of a bust of balls (shoulders, head, hair, nose) with striped colours, each ray meeting it exactly.

    Args:
        seed: draws colours and sizes.
        count: V.
        size: side of the pictures, pixels.

    Returns:
        rgba [V, H, W, 4] uint8, camera_to_world [V, 4, 4], intrinsics [V, 4].
    """
    dice = np.random.default_rng(seed)
    centres = np.array([(0, -0.75, 0), (0, 0.15, 0), (0, 0.3, -0.12), (0, 0.1, 0.4)])
    radii = np.array([0.45, 0.42, 0.42, 0.08]) * dice.uniform(0.9, 1.05, 4)
    paints = dice.uniform(0.1, 0.9, (4, 3))
    poses = cameras.sphere(count, reference_views=4, radius=4.0, elevation=(-20.0, 40.0), seed=seed)
    lens, fine = cameras.pinhole(size, 30.0), cameras.pinhole(2 * size, 30.0)
    pictures = []
    for pose in poses:
        origins, directions = cameras.rays(pose, fine, 2 * size, 2 * size)
        offset = origins[:, None] - centres
        half = (offset * directions[:, None]).sum(-1)
        root = half**2 - (offset**2).sum(-1) + radii**2
        t = np.where(root > 0, -half - np.sqrt(np.maximum(root, 0)), np.inf)
        ball, hit = t.argmin(-1), np.isfinite(t.min(-1))
        place = origins + np.where(hit, t.min(-1), 0.0)[:, None] * directions
        colour = paints[ball] * (0.8 + 0.2 * np.sign(np.sin(25 * place[:, 1:2])))
        cut = (size, 2, size, 2)
        alpha = hit.reshape(*cut, 1).astype(float).mean((1, 3))
        mean = (colour * hit[:, None]).reshape(*cut, 3).mean((1, 3)) / np.maximum(alpha, 1e-9)
        pictures.append(np.concatenate([mean, alpha], axis=-1))
    rgba = np.rint(np.stack(pictures).clip(0, 1) * 255).astype(np.uint8)
    return rgba, poses, np.broadcast_to(lens, (count, 4)).copy()


def _coarse_to_fine(
    planes: torch.Tensor, decoder: Decoder, rays: Rays, box: float, generator: torch.Generator | None
) -> Traced:
    near, far = box_interval(rays.origins, rays.directions, box)
    coarse, delta = stratify(near, far, COARSE, generator)

    def points(t: torch.Tensor) -> torch.Tensor:
        return (rays.origins[:, None] + t[..., None] * rays.directions[:, None]).flatten(0, 1)

    with torch.no_grad():
        density = decoder.density(look_up(planes[None], points(coarse)[None], box)[0]).view_as(coarse)
        shares = weigh(density, delta)[0] + 1e-2 / COARSE
        bins = torch.multinomial(shares, FINE, replacement=True, generator=generator)
        place = torch.rand(bins.shape, generator=generator, device=bins.device)
        fine = near[:, None] + (bins + place) * delta
        t = torch.cat([coarse, fine], dim=-1).sort(dim=-1).values
        edges = torch.cat([near[:, None], (t[:, 1:] + t[:, :-1]) / 2, far[:, None]], dim=-1)
        widths = edges.diff(dim=-1)
    everywhere = points(t)
    directions = rays.directions[:, None].expand(-1, t.shape[1], -1).flatten(0, 1)
    density, colour = decoder(look_up(planes[None], everywhere[None], box)[0], directions)
    weights, passed = weigh(density.view_as(t), widths)
    seen = (weights[..., None] * colour.view(*t.shape, 3)).sum(1)
    depth = (weights * t).sum(-1) / (1 - passed).clamp_min(1e-6)
    return Traced(seen, 1 - passed, depth, weights, t, widths, near, far, everywhere, density)


def _timed(
    scene: Scene, decoder: Decoder, start: torch.Tensor, truth: Any, steps: int, loss_of: Any, wanted: float = 1e9
) -> list[tuple[float, float]]:
    """(seconds, PSNR) along a fit, the time of measuring left out, until the PSNR wanted is reached."""
    marks: list[tuple[float, float]] = []
    since, spent = time.perf_counter(), 0.0

    def stop(done: int, planes: torch.Tensor) -> bool:
        nonlocal since, spent
        if planes.is_cuda:
            torch.cuda.synchronize(planes.device)
        spent += time.perf_counter() - since
        psnr = quality(planes, decoder, *truth, box=SETTINGS.box, samples=2 * SETTINGS.samples)[0]
        marks.append((spent, psnr))
        since = time.perf_counter()
        return psnr >= wanted

    fit_planes(scene, decoder, start, SETTINGS, steps=steps, lr=LR, seed=0, anchor=start, stop=stop, loss_of=loss_of)
    return marks


def _scene(rgba: np.ndarray, poses: np.ndarray, lenses: np.ndarray, device: torch.device) -> Scene:
    return make_scene(rgba, poses, lenses, box=SETTINGS.box, hull_resolution=64, device=device)


def _learned(scene: Scene, steps: int, device: torch.device) -> tuple[Decoder, torch.Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = Decoder(8).to(device)
    levels, dice = zero_levels((3, 8, 64, 64), device), torch.Generator(device).manual_seed(0)
    groups = [{"params": levels, "lr": 2e-2}, {"params": list(decoder.parameters()), "lr": 1e-2}]
    adam, guess = torch.optim.Adam(groups, betas=(0.9, 0.99)), guess_filled(scene.hull)
    with torch.no_grad():
        levels[0].normal_(0, 0.1, generator=dice)
    for _ in range(steps):
        adam.zero_grad()
        step_loss(total(levels).clamp(-1, 1), decoder, scene, guess, SETTINGS, dice).backward()
        adam.step()
    return decoder.eval().requires_grad_(False), total(levels).detach().clamp(-1, 1)
