"""Stage `fit` with people fitted together: groups that the shard decides, and ends of each one's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fixtures.coloured_people import make_views

from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean, load_start
from rodin.fitting.fit import FitResult
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.stages import decoder
from rodin.stages import fit as stage
from rodin.stages.decoder import read_scene
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.state import checkpoint

LOSSES = [0.07288393, 0.07890411]
QUALITY = [8.7934, 9.1552, 8.9513, 8.8515, 9.1124]  # dB
SIZE = [0.219633, 0.165728, 0.198767, 0.184641, 0.19637]  # mean absolute value of the planes
SMALL = [
    *("data.subjects=5", "data.held_out=1", "data.shard_subjects=5", "data.views=6", "data.resolution=16"),
    *("decoder.steps=2", "decoder.subjects_per_step=2", "fit.steps=6", "fit.floor_psnr=0"),
]


def config(*changes: str) -> Config:
    return preset("tiny", [*SMALL, *changes])


def run_folder(path: Path, whole: RunFolder | None = None) -> RunFolder:
    """A run with views and a decoder, those of another run where one is given."""
    folder = RunFolder(path)
    if whole is None:
        make_views(config(), folder)
        decoder.run(config(), folder, 0, Hooks())
    else:
        path.mkdir(exist_ok=True)
        for name in ("render", "decoder"):
            folder.stage(name).symlink_to(whole.stage(name))
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> RunFolder:
    folder = run_folder(tmp_path_factory.mktemp("whole"))
    stage.run(config("fit.together=3"), folder, 0, Hooks())
    return folder


def stored(folder: RunFolder) -> dict[str, bytes]:
    planes = Shards(folder.stage("fit"), "planes")
    return {subject: planes.read(subject, "planes").tobytes() for subject in planes}


@pytest.mark.parametrize("written", [1, 2, 3, 4])
def test_killed_among_the_rows_of_a_group_the_rest_gets_the_bits_it_would_have_had(
    whole: RunFolder, tmp_path: Path, monkeypatch, written: int
) -> None:
    folder, reports, companies, subjects = run_folder(tmp_path, whole), [], [], config().train_subjects()
    fit_subjects = stage.fit_subjects
    monkeypatch.setattr(
        stage, "fit_subjects", lambda *given: (companies.append(list(given[2])), fit_subjects(*given))[1]
    )

    def progress(done: int, total: int, note: str) -> None:
        reports.append((done, total, note[:7]))
        if len(reports) == written:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(config("fit.together=3"), folder, 0, Hooks(progress=progress))
    assert not manifest.complete(folder.manifest("fit", 0))
    companies.clear()
    stage.run(config("fit.together=3"), folder, 0, Hooks(progress=progress))
    assert reports == [(number + 1, 5, f"00000{number}:") for number in range(5)]
    assert companies == ([subjects[:3]] if written < 3 else []) + [subjects[3:]]
    assert stored(folder) == stored(whole)


def test_the_losses_and_the_quality_of_a_run_are_those_of_before(whole: RunFolder) -> None:
    """Seeds, step sizes and sampling of both stages: a change of any changes these numbers."""
    losses = [row["loss"] for row in read_rows(whole, "decoder")]
    assert losses == pytest.approx(LOSSES, rel=1e-4)
    planes = Shards(whole.stage("fit"), "planes")
    assert [planes.meta(subject)["psnr"] for subject in planes] == pytest.approx(QUALITY, abs=0.02)
    size = [np.abs(planes.read(subject, "planes").astype(np.float32)).mean() for subject in planes]
    assert size == pytest.approx(SIZE, rel=2e-3)


def test_the_base_planes_are_the_planes_made_smaller(whole: RunFolder) -> None:
    planes = Shards(whole.stage("fit"), "planes")
    for subject in planes:
        large, small = (torch.from_numpy(planes.read(subject, name)).float() for name in ("planes", "base"))
        wanted = F.interpolate(large, size=small.shape[-1:] * 2, mode="bilinear", antialias=True)
        torch.testing.assert_close(small, wanted, atol=1e-3, rtol=0)


def test_a_fit_ends_once_its_target_is_reached(whole: RunFolder) -> None:
    views, made, mean = Shards(whole.stage("render"), "views"), load_decoder(whole), load_mean(whole)
    steps = []
    for target in ("-50", "90", "none"):
        changed = config("fit.steps=30", f"fit.target_psnr={target}", "fit.floor_psnr=-60")
        steps.append(stage.fit_subject(changed, views, "000001", made, mean).meta["steps"])
    assert steps == [25, 30, 30]


def test_who_has_no_views_is_on_record_and_the_others_are_fitted(whole: RunFolder, tmp_path: Path, monkeypatch) -> None:
    folder = run_folder(tmp_path, whole)

    class Lacking(Shards):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            self.failed = {"000001": "its hair did not load"}

    monkeypatch.setattr(stage, "Shards", Lacking)
    stage.run(config("fit.together=3"), folder, 0, Hooks())
    assert manifest.read(folder.manifest("fit", 0))["failed"] == {"000001": "has no views: its hair did not load"}
    assert sorted(stored(folder)) == ["000000", "000002", "000003", "000004"]


def test_together_is_alone_up_to_rounding(whole: RunFolder) -> None:
    views, made, mean = Shards(whole.stage("render"), "views"), load_decoder(whole), load_mean(whole)
    for subject in config().train_subjects():
        alone = stage.fit_subject(config(), views, subject, made, mean)
        planes = Shards(whole.stage("fit"), "planes")
        moved = float((alone.planes.float() - mean).abs().mean())
        apart = np.abs(alone.planes.float().numpy() - planes.read(subject, "planes").astype(np.float32)).mean()
        assert moved > 1e-2
        assert apart < 1e-3 * moved
        assert planes.meta(subject)["psnr"] == pytest.approx(alone.meta["psnr"], abs=0.01)


def test_a_failed_fit_is_tried_again_alone(whole: RunFolder, monkeypatch) -> None:
    views, made, mean = Shards(whole.stage("render"), "views"), load_decoder(whole), load_mean(whole)
    companies, together, subjects = [], stage.fit_together, config().train_subjects()[:3]

    def spoilt(scenes, decoder, start, settings, **given):
        fits = together(scenes, decoder, start, settings, **given)
        companies.append(given["seeds"])
        assert given["anchor"] is start is mean
        assert (given["steps"], given["lr"]) == (config().fit.steps, config().fit.lr)
        if len(companies) == 1:
            fits[0] = FitResult(fits[0].planes, 5, "the loss was nan at step 4")
            fits[2] = FitResult(fits[2].planes, 6, "the planes were not finite after step 5")
        if len(companies) == 3:
            fits[0] = FitResult(fits[0].planes, 2, "the loss was inf at step 1")
        return fits

    monkeypatch.setattr(stage, "fit_together", spoilt)
    first, second, third = stage.fit_subjects(config("fit.retries=1"), views, subjects, made, mean)
    assert [len(seeds) for seeds in companies] == [3, 1, 1]
    assert isinstance(first, stage.FittedSubject)
    assert isinstance(second, stage.FittedSubject)
    assert companies[1][0] not in companies[0]
    assert str(third) == ("2 tries: the planes were not finite after step 5; the loss was inf at step 1")


def test_each_is_charged_for_the_steps_they_were_in(whole: RunFolder, monkeypatch) -> None:
    views, made, mean = Shards(whole.stage("render"), "views"), load_decoder(whole), load_mean(whole)
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(stage.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(
        stage,
        "fit_together",
        lambda scenes, *_, **__: [FitResult(mean, steps, None) for steps in (30, 10)[: len(scenes)]],
    )
    one, other = stage.fit_subjects(config(), views, config().train_subjects()[:2], made, mean)
    assert one.meta["seconds"] - other.meta["seconds"] == pytest.approx(10 * 30 / 40 - 10 * 10 / 40)
    assert one.meta["seconds"] + other.meta["seconds"] == pytest.approx(10 + 4 * 10)


def test_a_learned_start_is_published_with_the_decoder_and_fits_begin_there_but_not_a_second_try(
    tmp_path: Path, whole: RunFolder, monkeypatch
) -> None:
    folder, learning = RunFolder(tmp_path), config("fit.start=learned", "fit.retries=1")
    make_views(config(), folder)
    decoder.run(learning, folder, 0, Hooks())
    for name in ("decoder", "mean"):
        one, other = (checkpoint.read(each.stage("decoder") / "decoder.pt")[name] for each in (folder, whole))
        torch.testing.assert_close(one, other, atol=0, rtol=0)
    views, mean = Shards(folder.stage("render"), "views"), load_mean(folder)
    learned = load_start(learning, folder)
    assert learned is not None
    assert load_start(config(), folder) is None
    subjects, starts, together = config().train_subjects()[:2], [], stage.fit_together

    def spoilt(scenes, decoder, start, settings, **given):
        starts.append(start)
        assert torch.equal(given["anchor"], mean)
        fits = together(scenes, decoder, start, settings, **given)
        return fits if len(starts) > 1 else [FitResult(one.planes, 6, "spoilt") for one in fits]

    monkeypatch.setattr(stage, "fit_together", spoilt)
    stage.run(learning, folder, 0, Hooks())
    wanted = [learned.planes(read_scene(views, one, learning, mean.device), learning.triplane.box) for one in subjects]
    torch.testing.assert_close(starts[0], wanted[0][None], atol=0, rtol=0)
    assert (starts[0] - mean).abs().max() > 1e-3
    assert torch.equal(starts[1], mean)
    torch.testing.assert_close(starts[2], wanted[1][None], atol=0, rtol=0)
    assert sorted(stored(folder)) == sorted(config().train_subjects())


def test_a_decoder_without_a_learned_start_says_what_to_do(whole: RunFolder) -> None:
    with pytest.raises(ValueError, match=r"decoder.pt: got a decoder without a learned start.* set fit.start=mean"):
        load_start(config("fit.start=learned"), whole)
