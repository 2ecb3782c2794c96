"""The bench runs, measures both fitters on the same person, and its reference renders as the renderer does."""

import numpy as np
import torch

from rodin.field.bench import SETTINGS, bench_fit, bust, reference_loss
from rodin.field.decoder import Decoder
from rodin.field.scene import make_scene


def test_bench_gives_a_row_with_both_times() -> None:
    torch.manual_seed(0)
    views = bust(1, 8, 16)
    rows = bench_fit(
        views, Decoder(4, 16).requires_grad_(False), torch.zeros(3, 4, 16, 16), steps=25, reference_steps=25
    )
    assert len(rows) == 1
    assert rows[0].keys() == {"name", "value", "unit", "baseline", "baseline_value", "ratio"}
    assert rows[0]["value"] > 0
    assert rows[0]["baseline_value"] > 0


def test_the_reference_learns_too() -> None:
    torch.manual_seed(0)
    rgba, poses, lenses = bust(2, 6, 16)
    assert 0.1 < np.mean(rgba[..., 3] > 0) < 0.8
    scene = make_scene(rgba, poses, lenses, box=1.0, hull_resolution=16)
    planes, decoder = (0.1 * torch.randn(3, 4, 16, 16)).requires_grad_(True), Decoder(4, 16)
    adam, dice, losses = (
        torch.optim.Adam([planes, *decoder.parameters()], lr=2e-2),
        torch.Generator().manual_seed(0),
        [],
    )
    for _ in range(15):
        adam.zero_grad()
        loss = reference_loss(planes, decoder, scene, torch.empty(0), SETTINGS, dice)
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
