"""Sweeps of fits and the race of the shared decoder against decoders of people's own, on people of ellipsoids."""

import importlib
import json

import pytest
import torch
from fixtures.small_run import CONFIG, PEOPLE

from rodin.bench import decoder as bench_decoder_module
from rodin.bench import fit_run as bench_fit_module
from rodin.bench.decoder import bench_decoder
from rodin.data.pictures import evenly, images_over_white
from rodin.evaluation.held_out import HeldOutQuality
from rodin.field.cameras import spread
from rodin.fitting.fit import Diverged
from rodin.hooks import Hooks
from rodin.stages.sweeps import fits as sweep_fits
from rodin.stages.sweeps import resolution as sweep_resolution
from rodin.stages.sweeps import views as sweep_views
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.shards.reader import Shards

FITTED = PEOPLE[CONFIG.decoder.subjects :]  # whom the decoder was not learned with


@pytest.mark.parametrize(("stage", "values"), [("sweep-resolution", [8, 16]), ("sweep-views", [4, 8])])
def test_fitting_sweeps_write_a_row_a_point(trained, stage, values):
    module = importlib.import_module(f"rodin.stages.sweeps.{stage.removeprefix('sweep-')}")
    for shard in range(CONFIG.shards(stage)):
        module.run(CONFIG, trained, shard, Hooks())
        assert manifest.complete(trained.manifest(stage, shard))
    rows = read_rows(trained, stage)
    assert [row["value"] for row in rows] == values
    assert {row["subject"] for row in rows} == {FITTED[0]}
    assert all(row["psnr"] > 5 and row["seconds"] > 0 for row in rows)
    size = [row["megabytes"] for row in rows]
    assert size == ([pytest.approx(3 * 4 * side**2 * 2 / 1e6) for side in values] if values[0] == 8 else [size[0]] * 2)
    assert all(row["peak_megabytes"] > 50 for row in rows)
    shown, views = Shards(trained.stage(stage), "samples"), Shards(trained.stage("render"), "views")
    truth = images_over_white(views.read(FITTED[0], "rgba", slice(-CONFIG.fit.held_out_views, None)))
    for name in shown:
        error = (images_over_white(shown.read(name, "rgba")) - truth).square().mean((1, 2, 3))
        assert float(-10 * error.log10().mean()) == pytest.approx(shown.meta(name)["row"]["psnr"], abs=0.05)


def test_sweeps_fit_people_that_the_decoder_was_not_learned_with_and_never_rescale(trained, monkeypatch):
    def people(decoder, fits):
        sections = {
            "decoder": CONFIG.decoder.model_copy(update={"subjects": decoder}),
            "sweeps": CONFIG.sweeps.model_copy(update={"fit_subjects": fits}),
        }
        return sweep_fits.subjects_to_fit(CONFIG.model_copy(update=sections), trained)[1]

    training = CONFIG.train_subjects()
    assert people(2, 2) == training[2:4]
    assert people(len(training), 2) == training[-2:]  # too few others
    assert people(0, len(training)) == training
    used = []

    def fitted(scene, decoder, start, settings, **named):
        used.append(settings.min_rescale)
        raise Diverged("of no interest")

    monkeypatch.setattr(sweep_fits, "fit_planes", fitted)
    config = CONFIG.model_copy(update={"fit": CONFIG.fit.model_copy(update={"rescale": True})})
    views, subjects = sweep_fits.subjects_to_fit(config, trained)
    with pytest.raises(Diverged):
        sweep_fits.fit_row(config, trained, views, subjects[0], resolution=16, chosen=[0, 1, 2])
    assert used == [None]


def test_a_point_of_a_sweep_that_was_killed_is_one_row(trained, monkeypatch):
    shard, row = 1, []
    forget = trained.manifest("sweep-views", shard)
    for missing in (forget, trained.shard("sweep-views", shard), trained.results / f"sweep-views-{shard:05d}.jsonl"):
        missing.unlink(missing_ok=True)
    with monkeypatch.context() as broken:
        broken.setattr(sweep_fits, "write_rows", killed)  # the fit is done, its row is not yet written
        with pytest.raises(KeyboardInterrupt):
            sweep_views.run(CONFIG, trained, shard, Hooks())
    assert not forget.exists()
    monkeypatch.setattr(sweep_fits, "fit_row", killed)  # it is not fitted again
    sweep_views.run(CONFIG, trained, shard, Hooks())
    row = [one for one in read_rows(trained, "sweep-views") if one["value"] == 8]
    assert len(row) == 1
    assert row[0]["psnr"] > 5


def test_few_views_cover_all_sides_and_no_held_out_one(trained, monkeypatch):
    fits = []

    def recorded(*given: object, **changed: object) -> None:
        fits.append((given[3], changed["resolution"], changed["chosen"]))
        raise Diverged("of no interest")

    monkeypatch.setattr(sweep_fits, "fit_row", recorded)
    counts = {"view_counts": (4, 8, 3, 99), "plane_resolutions": (8, 16, 12), "fit_subjects": 2}
    config = CONFIG.model_copy(update={"sweeps": CONFIG.sweeps.model_copy(update=counts)})
    for shard in range(4, 8):
        sweep_views.run(config, trained, shard, Hooks())
        trained.manifest("sweep-views", shard).unlink()
    sweep_resolution.run(config, trained, 5, Hooks())
    trained.manifest("sweep-resolution", 5).unlink()
    fitted, side = CONFIG.data.views - CONFIG.fit.held_out_views, CONFIG.triplane.resolution
    last = CONFIG.train_subjects()[-2:]
    assert [one[:2] for one in fits] == [(last[0], side), (last[1], side)] * 2 + [(last[1], 12)]
    poses = Shards(trained.stage("render"), "views").read(last[0], "camera_to_world")
    assert fits[0][2] == spread(poses[:fitted], 3)
    assert all(one[2] == list(range(fitted)) for one in fits[2:])


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_fit_that_comes_to_nothing_is_on_record(trained, monkeypatch):
    def diverged(*_: object, **__: object) -> None:
        raise Diverged("the loss was nan at step 3")

    monkeypatch.setattr(sweep_fits, "fit_row", diverged)
    config = CONFIG.model_copy(update={"sweeps": CONFIG.sweeps.model_copy(update={"plane_resolutions": (8, 12, 16)})})
    sweep_resolution.run(config, trained, 2, Hooks())
    assert Shards(trained.stage("sweep-resolution"), "samples").failed_of(2) == {
        f"{FITTED[0]}-00002": "the loss was nan at step 3"
    }
    trained.manifest("sweep-resolution", 2).unlink()


def test_people_the_decoder_never_saw_are_held_against_decoders_of_their_own(trained):
    config = CONFIG.model_copy(update={"decoder": CONFIG.decoder.model_copy(update={"subjects": 1})})
    reports: list[tuple[int, int, str]] = []
    rows = bench_decoder(config, trained, 2, lambda *words: reports.append(words))
    assert [row["name"].split(" with")[0] for row in rows[:2]] == [f"person {one}" for one in PEOPLE[-2:]]
    assert rows[2]["value"] == pytest.approx((rows[0]["value"] + rows[1]["value"]) / 2)
    assert all(row["value"] > 5 and row["baseline_value"] > 5 for row in rows[:3])
    assert [row["rates"] for row in rows[3:]] == [{"fit": rows[3]["value"]}, {"decoder": rows[4]["value"]}]
    assert all(row["value"] > 0 for row in rows[3:])
    assert [words[:2] for words in reports] == [(1, 2), (2, 2)]
    seen = CONFIG.model_copy(update={"decoder": CONFIG.decoder.model_copy(update={"subjects": 99})})
    with pytest.raises(ValueError, match="learned with all of its subjects"):
        bench_decoder(seen, trained, 2, lambda *_: None)


@pytest.mark.slow
def test_people_of_a_run_are_raced_together_too_and_give_the_rate_of_the_stage(trained, monkeypatch):
    fewer = CONFIG.fit.model_copy(update={"steps": 5, "together": 2})
    config, reports = CONFIG.model_copy(update={"fit": fewer}), []
    rows = bench_fit_module.bench_run(config, trained, 3, lambda *words: reports.append(words))
    assert reports[-1][0] == reports[-1][1] == len(reports)
    company, _, *rates, speed = rows[-6:]
    assert [row["name"] for row in rates] == [f"stage fit, people a minute, {size} at once" for size in (1, 4, 16)]
    assert all(row["value"] > 0 for row in rates)
    assert company["name"] == "fit, 3 people at once, seconds a person"
    assert speed["rates"] == {"fit": speed["value"]}
    written = [json.loads(line) for line in (trained.stage("bench") / bench_fit_module.FILE).read_text().splitlines()]
    taken = {row["name"]: row["seconds"] for row in written if row["name"].startswith("stage fit on ")}
    assert list(taken) == [f"stage fit on {PEOPLE[2]} {PEOPLE[3]}", f"stage fit on {PEOPLE[4]}"]
    assert speed["value"] == pytest.approx(3 * 5 * fewer.rays * fewer.samples / sum(taken.values()))
    monkeypatch.setattr(bench_fit_module, "fit_subjects", killed)
    again = bench_fit_module.bench_run(config, trained, 3, lambda *_: None)
    assert [*again[:-5], *again[-4:]] == [*rows[:-5], *rates, speed]


def test_a_lonely_decoder_that_came_to_nothing_begins_again(trained, monkeypatch):
    config = CONFIG.model_copy(update={"decoder": CONFIG.decoder.model_copy(update={"subjects": 1})})
    seeds, scores = [], iter([3.0, 99.0])
    learned = bench_decoder_module._learned
    monkeypatch.setattr(
        bench_decoder_module, "_learned", lambda config, *rest: (seeds.append(config.seed), learned(config, *rest))[1]
    )
    monkeypatch.setattr(bench_decoder_module, "measure", lambda *_: HeldOutQuality(next(scores), 1.0, torch.empty(0)))
    row = bench_decoder(config, trained, 1, lambda *_: None)[0]
    assert seeds == [config.seed, config.seed + 1]
    assert row["baseline_value"] == 99.0


def test_few_views_are_spread_over_all_sides():
    assert evenly(21, 3) == [0, 10, 20]
    assert evenly(21, 300) == list(range(21))
