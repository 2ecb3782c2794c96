"""Stages `decoder` and `fit` on a small store: killed and resumed to the same bits, on any number of ranks."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures import ellipsoids
from fixtures.forked_ranks import fork_ranks

from rodin.config import Config
from rodin.data.shared_decoder import load_decoder, load_mean
from rodin.evaluation.held_out import haze_of_fit, read_held_out
from rodin.field import texels
from rodin.hooks import Hooks, Stopped
from rodin.presets.tiny import TINY
from rodin.stages import decoder as stage
from rodin.stages import fit
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.store.shards.writer import ShardWriter
from rodin.train.parallel.ranks import Ranks
from rodin.train.state import checkpoint

SIZE, VIEWS, CPU = 24, 10, torch.device("cpu")


def config(learn: int = 30, **fit_changes) -> Config:
    fields = {
        "decoder": TINY.decoder.model_copy(update={"steps": learn, "planes_lr": 3e-2, "decoder_lr": 1e-2, "rays": 128})
    }
    return TINY.model_copy(update=fields | {"fit": TINY.fit.model_copy(update={"floor_psnr": 5.0} | fit_changes)})


def pair(learn: int) -> Config:
    """Two subjects, both learned with in every step, on one rank or on two."""
    alone = config(learn)
    return alone.model_copy(
        update={"decoder": alone.decoder.model_copy(update={"subjects": 2, "subjects_per_step": 2})}
    )


def run_folder(path: Path) -> RunFolder:
    folder = RunFolder(path)
    subjects = config().train_subjects()
    shapes = {"rgba": (VIEWS, SIZE, SIZE, 4), "camera_to_world": (VIEWS, 4, 4), "intrinsics": (VIEWS, 4)}
    with ShardWriter(folder.stage("render"), 0, "views", subjects, shapes) as writer:
        for number, subject in enumerate(subjects):
            rgba, poses, lenses = ellipsoids.views(VIEWS, SIZE, seed=number, supersample=2)
            writer.add(subject, {"caption": "a person"}, rgba=rgba, camera_to_world=poses, intrinsics=lenses)
        writer.publish()
    return folder


def asked_after(calls: int) -> Hooks:
    count = iter(range(10**6))
    return Hooks(should_stop=lambda: next(count) >= calls)


def content(folder: RunFolder) -> dict:
    return torch.load(folder.stage("decoder") / "decoder.pt", weights_only=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums split over threads differ in their last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> RunFolder:
    folder = run_folder(tmp_path_factory.mktemp("undisturbed"))
    stage.run(config(), folder, 0, Hooks())
    return folder


def test_many_channels_are_learned_as_if_grid_sample_looked_them_up(undisturbed: RunFolder, monkeypatch) -> None:
    wide = {"triplane": TINY.triplane.model_copy(update={"channels": texels.FROM_CHANNELS})}
    ends = []
    for lowest in (texels.FROM_CHANNELS, 99):
        monkeypatch.setattr(texels, "FROM_CHANNELS", lowest)
        with Ranks.from_environment() as ranks:
            learning = stage.DecoderTraining(
                config().model_copy(update=wide), undisturbed, ranks, only=["000000", "000001"]
            )
            for _ in range(12):
                learning.take_step()
        ends.append(learning.planes(torch.stack([state.vectors[0] for state in learning.subjects])).detach())
    torch.testing.assert_close(*ends, atol=2e-2, rtol=0)


def test_the_decoder_is_published_with_its_curve(undisturbed: RunFolder) -> None:
    assert manifest.check_files(undisturbed.manifest("decoder", 0)) == []
    decoder, mean = load_decoder(undisturbed), load_mean(undisturbed)
    assert not any(parameter.requires_grad for parameter in decoder.parameters())
    assert mean.shape == (3, 4, 16, 16)
    assert mean.abs().max() <= 1
    curve = read_rows(undisturbed, "decoder")
    assert curve[-1]["step"] == 30
    assert curve[-1]["loss"] < curve[0]["loss"]
    before = (undisturbed.stage("decoder") / "decoder.pt").stat().st_mtime_ns
    stage.run(config(), undisturbed, 0, Hooks())
    assert (undisturbed.stage("decoder") / "decoder.pt").stat().st_mtime_ns == before


def test_stopped_and_run_again_gives_the_same_bits(undisturbed: RunFolder, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    for calls in (0, 12):
        with pytest.raises(Stopped):
            stage.run(config(), folder, 0, asked_after(calls))
        assert not manifest.complete(folder.manifest("decoder", 0))
    stage.run(config(), folder, 0, Hooks())
    ours, theirs = content(folder), content(undisturbed)
    assert torch.equal(ours["mean"], theirs["mean"])
    for name, value in theirs["decoder"].items():
        assert torch.equal(ours["decoder"][name], value), name


def test_the_state_of_older_code_is_refused_not_misread(tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    with pytest.raises(Stopped):
        stage.run(config(), folder, 0, asked_after(4))
    last = folder.stage("decoder") / "state" / "last.json"
    manifest.publish(last, {name: value for name, value in manifest.read(last).items() if name != "layout"})
    with pytest.raises(ValueError, match="got the state of layout 1, wanted 2.*move .* elsewhere"):
        stage.run(config(), folder, 0, Hooks())


def test_paged_to_disk_gives_the_same_bits(undisturbed: RunFolder, tmp_path: Path) -> None:
    folder, little = run_folder(tmp_path), config()
    little = little.model_copy(update={"decoder": little.decoder.model_copy(update={"memory_gb": 1e-6})})
    stage.run(little, folder, 0, Hooks())
    assert torch.equal(content(folder)["mean"], content(undisturbed)["mean"])


def learning(folder: RunFolder, per_step: int) -> stage.DecoderTraining:
    learn = config().decoder.model_copy(update={"subjects_per_step": per_step})
    subjects = config().train_subjects()[:2]
    return stage.DecoderTraining(config().model_copy(update={"decoder": learn}), folder, Ranks(), only=subjects)


def test_the_gradients_of_two_people_in_a_step_are_those_of_each_alone(undisturbed: RunFolder) -> None:
    together, alone = learning(undisturbed, 2), learning(undisturbed, 1)
    mean = together._visit(together._drawn(), 1e-2)
    losses = torch.stack([alone._visit([state], 1e-2) for state in alone.subjects])
    torch.testing.assert_close(mean, losses.mean())
    first = {state.subject: state.vectors[1] for state in together.subjects}
    for state in alone.subjects:
        torch.testing.assert_close(2 * first[state.subject], state.vectors[1], atol=1e-7, rtol=1e-3)
        assert state.vectors[1].abs().max() > 1e-5
        assert state.visits == 1
    for ours, theirs in zip(together.decoder.parameters(), alone.decoder.parameters(), strict=True):
        torch.testing.assert_close(2 * ours.grad, theirs.grad, atol=1e-6, rtol=1e-3)


def work(folder: RunFolder, settings: Config, die_at: int = -1) -> int:
    """What a rank of its own process does: the stage, killed by SIGKILL once `die_at` steps are done."""

    def progress(done: int, total: int, note: str) -> None:
        if done == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    stage.run(settings, folder, 0, Hooks(progress=progress))
    return 0


def test_killed_without_warning_and_run_again_gives_the_same_bits(undisturbed: RunFolder, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    assert fork_ranks(1, lambda rank: work(folder, config(), die_at=17)) == [-signal.SIGKILL]
    assert json.loads((folder.stage("decoder") / "state" / "last.json").read_text())["step"] == 15
    stage.run(config(), folder, 0, Hooks())
    assert torch.equal(content(folder)["mean"], content(undisturbed)["mean"])
    assert not (folder.stage("decoder") / "state").exists()


def test_two_ranks_learn_the_decoder_that_one_rank_learns(tmp_path: Path) -> None:
    folder, alone = run_folder(tmp_path / "two"), run_folder(tmp_path / "one")
    assert fork_ranks(2, lambda rank: work(folder, pair(6))) == [0, 0]
    stage.run(pair(6), alone, 0, Hooks())
    assert manifest.read(folder.manifest("decoder", 0))["subjects"] == 2
    ours, theirs = content(folder), content(alone)
    for name, value in theirs["decoder"].items():
        assert (ours["decoder"][name] - value).abs().mean() < 3e-4, name  # six steps move it by some 6e-2
    assert (ours["mean"] - theirs["mean"]).abs().mean() < 5e-3
    losses = [[row["loss"] for row in read_rows(run, "decoder")] for run in (folder, alone)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_held_out_views_are_not_learned_from(undisturbed: RunFolder) -> None:
    views = Shards(undisturbed.stage("render"), "views")
    scene = stage.read_scene(views, "000001", config(held_out_views=3), CPU)
    np.testing.assert_array_equal(scene.rgba, views.read("000001", "rgba")[:7])
    np.testing.assert_array_equal(scene.poses, views.read("000001", "camera_to_world")[:7])
    np.testing.assert_array_equal(scene.lenses, views.read("000001", "intrinsics")[:7])
    known = torch.zeros(16, 16, 16, dtype=torch.bool)
    assert stage.read_scene(views, "000001", config(), CPU, known).hull is known


def test_settings_of_a_fit_are_those_of_the_config() -> None:
    losses = TINY.fit.losses.model_copy(update={"sparse": 0.25, "planes_l2": 0.5})
    asked = config(losses=losses, compile=True, rescale=True, min_rescale=5, samples=17)
    made = stage.fit_settings(asked, 33)
    assert (made.box, made.rays, made.samples, made.min_rescale, made.compiled) == (1.0, 33, 17, 5, True)
    assert vars(made.losses) == losses.model_dump()
    assert stage.fit_settings(config(rescale=False), 33).min_rescale is None


def test_the_mean_is_that_of_the_planes_learned_with(undisturbed: RunFolder) -> None:
    with Ranks.from_environment() as ranks:
        learning = stage.DecoderTraining(config(), undisturbed, ranks, only=["000000", "000001", "000002"])
        while learning.step < 30:
            learning.take_step()
    each = [learning.planes(state.vectors[:1])[0].detach() for state in learning.subjects]
    assert (each[0] - each[1]).abs().mean() > 1e-3
    torch.testing.assert_close(content(undisturbed)["mean"], torch.stack(each).mean(0), atol=1e-6, rtol=0)
    assert all(
        torch.equal(content(undisturbed)["decoder"][name], value)
        for name, value in learning.decoder.state_dict().items()
    )
    drawn = [state.visits for state in learning.subjects]
    assert sum(drawn) == 30 * config().decoder.subjects_per_step
    assert max(drawn) - min(drawn) <= 1


def test_people_are_fitted_and_measured_on_views_not_fitted(undisturbed: RunFolder) -> None:
    fit.run(config(), undisturbed, 0, Hooks())
    fit.run(config(), undisturbed, 1, Hooks())
    planes = Shards(undisturbed.stage("fit"), "planes")
    assert planes.subjects == config().train_subjects()
    views, decoder = Shards(undisturbed.stage("render"), "views"), load_decoder(undisturbed)
    for subject in planes:
        meta = planes.meta(subject)
        assert meta["psnr"] > 13
        assert 0 < meta["ssim"] <= 1
        assert meta["steps"] == 20
        made, hull = planes.read(subject, "planes"), stage.read_scene(views, subject, config(), CPU).hull
        measured = torch.from_numpy(made), decoder, read_held_out(config(), views, subject, CPU), hull
        assert 0 < meta["haze"] == pytest.approx(haze_of_fit(config(), *measured), rel=1e-4)
        assert np.abs(made).max() <= 1
        assert planes.read(subject, "base").shape == (3, 4, 8, 8)


def test_a_fit_does_not_depend_on_its_shard(undisturbed: RunFolder) -> None:
    views, made = Shards(undisturbed.stage("render"), "views"), load_decoder(undisturbed)
    alone = fit.fit_subject(config(), views, "000003", made, load_mean(undisturbed))
    stored = Shards(undisturbed.stage("fit"), "planes").read("000003", "planes")
    np.testing.assert_array_equal(alone.planes.numpy(), stored)


def test_a_fit_under_the_floor_is_retried_then_failed_with_its_reason(undisturbed: RunFolder, tmp_path: Path) -> None:
    folder = run_folder(tmp_path)
    (folder.path / "decoder").symlink_to(undisturbed.stage("decoder"))
    fit.run(config(floor_psnr=60.0, steps=2), folder, 0, Hooks())
    written = manifest.read(folder.manifest("fit", 0))
    assert written["subjects"] == []
    assert written["failed"]["000000"].startswith("2 tries: ")
    assert "under fit.floor_psnr 60.0" in written["failed"]["000000"]


def test_without_a_decoder_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="run stage decoder first"):
        load_decoder(RunFolder(tmp_path))


def test_a_decoder_of_before_counts_densities_in_ones(undisturbed: RunFolder, tmp_path: Path) -> None:
    content, before = checkpoint.read(undisturbed.stage("decoder") / "decoder.pt"), RunFolder(tmp_path)
    checkpoint.publish(before.stage("decoder") / "decoder.pt", {k: v for k, v in content.items() if k != "density"})
    manifest.publish(before.manifest("decoder", 0), {})
    features = torch.randn(5, 4)
    seen = load_decoder(undisturbed).density(features)
    torch.testing.assert_close(load_decoder(before).density(features) * content["density"], seen)
