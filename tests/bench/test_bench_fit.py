"""The bench runs, measures both fitters on the same person, and its reference renders as the renderer does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rodin.bench.bust import bust
from rodin.bench.fit import IDEAS, bench_fit
from rodin.bench.fit_run import measurement_cache
from rodin.bench.race import SETTINGS, RaceSetup, RaceSubject, ReferenceTuning
from rodin.bench.reference import reference_loss
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.fitting.scene import make_scene


def test_bench_races_with_and_without_each_idea() -> None:
    torch.manual_seed(0)
    fog = Decoder(4, 16, density=1.0).requires_grad_(False)
    track = RaceSetup(fog, torch.zeros(3, 4, 16, 16), steps=25, reference_steps=25)
    subjects, tunings = (
        [RaceSubject(*bust(1, 8, 16)), RaceSubject(*bust(2, 8, 16))],
        (ReferenceTuning(1e-4), ReferenceTuning(2e-2)),
    )
    reports: list[tuple[int, int, str]] = []
    rows = bench_fit(subjects, track, tunings=tunings, ideas=True, progress=lambda *what: reports.append(what))
    assert [done for done, _, _ in reports] == list(range(1, reports[0][1] + 1))
    assert [row["name"].split(",")[0] for row in rows] == [
        "fit",
        *(f"fit without {name}" for name in IDEAS),
        "fit without early stop",
        "fit",
        "fit",
        "look-up and its gradient",
    ]
    assert "the reference a sum" in rows[-3]["name"]
    look_up, together = rows.pop(), rows.pop()
    assert look_up["baseline"] == "grid_sample"
    assert look_up["ratio"] == pytest.approx(look_up["baseline_value"] / look_up["value"])
    assert together["name"] == "fit, 2 people at once, seconds a person"
    assert together["baseline"] == "one after another"
    assert together["ratio"] == pytest.approx(together["baseline_value"] / together["value"])
    for row in rows:
        assert row.keys() == {"name", "value", "unit", "baseline", "baseline_value", "ratio"}
        assert row["value"] > 0
        assert row["baseline_value"] > 0
        assert "lr 0.02" in row["baseline"]


def test_the_reference_learns_too() -> None:
    torch.manual_seed(0)
    rgba, poses, lenses = bust(2, 6, 16)
    assert 0.1 < np.mean(rgba[..., 3] > 0) < 0.8
    scene = make_scene(rgba, poses, lenses, box=1.0, hull_resolution=16)
    planes, decoder = (0.1 * torch.randn(1, 3, 4, 16, 16)).requires_grad_(True), Decoder(4, 16)
    adam, generators, losses = (
        torch.optim.Adam([planes, *decoder.parameters()], lr=2e-2),
        generators_for(0),
        [],
    )
    for _ in range(15):
        adam.zero_grad()
        loss = reference_loss(planes, decoder, [scene], torch.empty(0), SETTINGS, [generators])
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "bench" / "fit.jsonl", []

    def measure() -> tuple[float, float]:
        asked.append(1)
        return 2.0, 20.0 + len(asked)

    assert measurement_cache(path, "a")("0 fit", measure) == (2.0, 21.0)
    with path.open("a") as file:
        file.write('{"about": "a", "name": "1 f')
    again = measurement_cache(path, "a")
    assert again("0 fit", measure) == (2.0, 21.0)
    assert again("1 fit", measure) == (2.0, 22.0)
    assert measurement_cache(path, "other code")("0 fit", measure) == (2.0, 23.0)
    assert measurement_cache(path, "a")("1 fit", measure) == (2.0, 22.0)
