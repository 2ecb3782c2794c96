"""The bench runs, measures both fitters on the same person, and its reference renders as the renderer does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rodin.bench.bust import bust
from rodin.bench.fit import IDEAS, bench_fit
from rodin.bench.fit_run import cycled, measurement_cache, together_rows
from rodin.bench.race import SETTINGS, RaceSetup, RaceSubject, ReferenceTuning
from rodin.bench.reference import reference_loss
from rodin.field.decoder import Decoder
from rodin.field.generators import generators_for
from rodin.fitting.scene import make_scene
from rodin.fitting.start import LearnedStart


@pytest.mark.slow
def test_bench_races_with_and_without_each_idea() -> None:
    torch.manual_seed(0)
    fog = Decoder(4, 16, density=1.0).requires_grad_(False)
    setup = RaceSetup(fog, torch.zeros(3, 4, 16, 16), steps=10, reference_steps=10)
    subjects, tunings = (
        [RaceSubject(*bust(1, 8, 16)), RaceSubject(*bust(2, 8, 16))],
        (ReferenceTuning(1e-4), ReferenceTuning(2e-2)),
    )
    reports: list[tuple[int, int, str]] = []
    rows = bench_fit(subjects, setup, tunings=tunings, ideas=True, progress=lambda *what: reports.append(what))
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


class Stopwatch(RaceSetup):
    """Seconds and decibels as if measured: the reference is best with a step size of 0.02."""

    def time_reference(self, subject, tuning, levels=1):
        return 12.0 * levels, {1e-4: 15.0, 2e-2: 20.0, 5e-2: 18.0}[tuning.lr]

    def time_ours(self, subject, target, change=None):
        return (3.0, 21.0) if change is None and target < 100 else (6.0, 19.0)

    def time_together(self, subjects):
        return 8.0 / len(subjects), 20.0


def test_rows_say_who_is_faster_and_who_did_not_get_there(monkeypatch) -> None:
    monkeypatch.setattr("rodin.bench.fit.look_up_row", lambda _: {"name": "look-up"})
    setup = Stopwatch(Decoder(4, 16), torch.zeros(3, 4, 16, 16))
    tunings = [ReferenceTuning(lr) for lr in (1e-4, 2e-2, 5e-2)]
    rows = {
        row["name"]: row for row in bench_fit([RaceSubject(*bust(1, 4, 8))] * 3, setup, tunings=tunings, ideas=True)
    }
    race = rows["fit, 3 people to 20.0 dB"]
    assert (race["value"], race["baseline_value"], race["ratio"]) == (3.0, 12.0, 4.0)
    assert "lr 0.02" in race["baseline"]
    slower = rows["fit without visual hull, 3 people to 20.0 dB, 3 did not get there"]
    assert (slower["value"], slower["ratio"]) == (6.0, 2.0)
    assert rows["fit without early stop, 3 people to 20.0 dB, 3 did not get there"]["value"] == 6.0
    assert rows["fit, the reference a sum over resolutions too, 3 people to 20.0 dB"]["ratio"] == 20.0
    many = rows["fit, 3 people at once, seconds a person"]
    assert (many["value"], many["baseline_value"], many["ratio"]) == (8 / 3, 8.0, pytest.approx(3.0))


def test_each_idea_is_left_out_alone() -> None:
    scene = make_scene(*bust(1, 4, 16), box=1.0, hull_resolution=8)
    changed = {name: change(scene, SETTINGS) for name, change in IDEAS.items()}
    assert changed["visual hull"][0].hull.all()
    assert len(changed["rays where the person is"][0].inside) == 4 * 16 * 16
    assert len(changed["rays where the person is"][0].outside) == 0
    fields = {
        "occupancy grid": ("refresh_occupancy", False),
        "planes as a sum over resolutions": ("levels", 1),
        "coarse samples first": ("coarse", False),
    }
    for name, (field, value) in fields.items():
        assert vars(changed[name][1]) == vars(SETTINGS) | {field: value}
    assert changed["skipping what is hidden"][1].cut < 1e-20


def test_a_fit_ends_at_its_target_and_held_out_views_are_not_fitted() -> None:
    setup = RaceSetup(Decoder(4, 16).requires_grad_(False), torch.zeros(3, 4, 16, 16), steps=12, reference_steps=5)
    subject = RaceSubject(*bust(1, 7, 16))
    np.testing.assert_array_equal(setup.scene(subject).rgba, subject.rgba[:4])
    changes: list[int] = []

    def change(scene, settings):
        changes.append(len(scene.rgba))
        return scene, settings

    seconds, psnr = setup.time_ours(subject, -1.0, change)
    assert changes == [4]
    assert seconds > 0
    assert 0 < psnr < 60
    before = setup._psnr(setup.start, subject)
    assert setup.time_ours(subject, 100.0)[1] != pytest.approx(before, abs=1e-4)


def test_the_reference_is_timed_until_it_first_has_its_last_quality(monkeypatch) -> None:
    setup = RaceSetup(Decoder(4, 16).requires_grad_(False), torch.zeros(3, 4, 16, 16), steps=12, reference_steps=20)
    qualities = iter([10.0, 20.0, 15.0, 18.0, 99.0])
    monkeypatch.setattr(RaceSetup, "_psnr", lambda self, planes, subject: next(qualities))
    monkeypatch.setattr("rodin.bench.race.time.perf_counter", iter(range(100)).__next__)
    assert setup.time_reference(RaceSubject(*bust(1, 7, 16)), ReferenceTuning(1e-3)) == (2.0, 18.0)


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


def test_the_learned_start_counts_once_it_is_as_good_as_the_mean(monkeypatch) -> None:
    """From the learned start, 42 steps of 48 are the fewest tried that reach what all steps from the mean do."""
    monkeypatch.setattr("rodin.bench.fit.look_up_row", lambda _: {"name": "look-up"})

    class Started(Stopwatch):
        def time_start(self, subject, learned, steps):
            assert learned in (None, start)
            return steps / 10, steps / 10 + (0.0 if learned is None else 1.0)

    zeros = torch.zeros(3, 4, 16, 16)
    start = LearnedStart(zeros, zeros, zeros)
    setup, subjects = Started(Decoder(4, 16), zeros, steps=48, learned=start), [RaceSubject(*bust(1, 4, 8))] * 2
    row = bench_fit(subjects, setup, tunings=[ReferenceTuning(2e-2)])[1]
    assert row["name"] == "fit from the learned start, 42 steps, 2 people to 5.20 dB"
    assert row["baseline"] == "from the mean, 48 steps to 4.80 dB"
    assert (row["value"], row["baseline_value"], row["ratio"]) == (4.2, 4.8, pytest.approx(48 / 42))
    monkeypatch.setattr(Started, "time_start", lambda self, _, learned, steps: (steps, 0.0 if learned else 9.0))
    assert (
        "start, 48 steps, 2 people to 0.00 dB" in bench_fit(subjects, setup, tunings=[ReferenceTuning(2e-2)])[1]["name"]
    )


def test_people_a_minute_are_compared_with_the_first_number_at_once() -> None:
    assert cycled(["a", "b", "c"], 7) == ["a", "b", "c", "a", "b", "c", "a"]
    one, four = together_rows({1: 10.0, 4: 25.0})
    assert (one["name"], one["value"], one["ratio"]) == ("stage fit, people a minute, 1 at once", 10.0, 1.0)
    assert (four["value"], four["baseline"], four["baseline_value"], four["ratio"]) == (25.0, "1 at once", 10.0, 2.5)


def test_a_fit_is_timed_from_the_start_it_is_given() -> None:
    setup = RaceSetup(Decoder(4, 16).requires_grad_(False), torch.zeros(3, 4, 16, 16), steps=3)
    subject, begun = RaceSubject(*bust(1, 7, 16)), 0.9 * torch.ones(3, 4, 16, 16)

    class Given(LearnedStart):
        def planes(self, scene, box):
            return begun

    seconds, psnr = setup.time_start(subject, Given(begun, begun, begun), 3)
    assert seconds > 0
    assert psnr != pytest.approx(setup.time_start(subject, None, 3)[1], abs=1e-3)
    assert setup.time_start(subject, None, 3)[1] == pytest.approx(setup.time_ours(subject, 1e9)[1], abs=1e-3)
