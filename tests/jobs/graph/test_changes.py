"""What another config changes in a run that has begun: refused, allowed, or a longer training and what follows it."""

from pathlib import Path

import numpy as np
import pytest

from jobs.graph import changes
from jobs.graph.changes import change_of, make_change
from jobs.graph.reads import TRAININGS, values_read
from jobs.graph.work import Run, missing
from jobs.run.begun import begun, keep_settings, settings_of, trained_steps
from jobs.run.record import read_config, write_config
from jobs.site import Site
from rodin.config import Config
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

TINY = preset("tiny")


def tiny(*overrides: str) -> Config:
    return preset("tiny", list(overrides))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    write_config(folder, TINY)
    return folder


def finish(folder: RunFolder, *names: str, steps: int = 10) -> None:
    """Leave what finished stages leave; the trainings have done so many steps."""
    for name in names:
        batch = getattr(TINY, name).training.batch if name in TRAININGS else 1
        for shard in range(TINY.shards(name)):
            manifest.publish(folder.manifest(name, shard), {"samples": steps * batch})


def half_row(folder: RunFolder, add: bool) -> None:
    """An attempt at a shard of views, with or without a finished row."""
    shapes = {"rgba": (10, 24, 24, 4), "camera_to_world": (10, 4, 4), "intrinsics": (10, 4)}
    with ShardWriter(folder.stage("render"), 0, "views", ["000000", "000001"], shapes) as writer:
        if add:
            arrays = {
                name: np.zeros(shape, np.uint8 if name == "rgba" else np.float32) for name, shape in shapes.items()
            }
            writer.add("000000", {}, **arrays)


def test_a_run_in_which_nothing_is_done_takes_any_config(run: RunFolder):
    half_row(run, add=False)
    (run.stage("fit")).mkdir()
    other = preset("demo")
    change = change_of(run, other)
    assert change.refused is None
    assert change.reopened == frozenset()
    make_change(run, other, change)
    assert read_config(run) == other


@pytest.mark.parametrize("trace", ["manifest", "shard", "row", "checkpoint", "state", "sweep"])
def test_what_a_stage_has_left_counts_as_begun(trace: str, run: RunFolder):
    path = {
        "manifest": "planes/00001.json",
        "shard": "planes/00001.h5",
        "checkpoint": "base/checkpoints/step-000000005-0of1-0123456789abcdef.pt",
        "state": "decoder/state/last.json",
        "sweep": "sweep-convolution/upsampler-2/checkpoints/step-000000005-0of1-0123456789abcdef.pt",
    }.get(trace)
    if path is None:
        half_row(run, add=True)
    else:
        (run.path / path).parent.mkdir(parents=True)
        (run.path / path).touch()
    stage = {"manifest": "fit", "shard": "fit", "row": "render", "checkpoint": "base", "state": "decoder"}.get(trace)
    stage = stage or "sweep-convolution"
    assert begun(run, stage)
    refused = change_of(run, tiny("seed=5")).refused
    assert refused is not None
    assert refused.startswith(
        f"{run.path} is a run of another config: seed is 0 there, asked for 5, and {stage} was made"
    )


def test_a_key_that_no_begun_stage_follows_from_may_change(run: RunFolder):
    finish(run, "render", "clip", "decoder")
    asked = tiny("fit.steps=7", "base.channels=32", "fit.together=3")
    change = change_of(run, asked)
    assert (change.refused, change.again, set(change.keys)) == (
        None,
        (),
        {"fit.steps", "base.channels", "fit.together"},
    )
    assert "run.toml changes: base.channels is 16 there, asked for 32" in str(change.sentence())
    make_change(run, asked, change)
    assert read_config(run) == asked
    assert change_of(run, asked).sentence() is None
    finish(run, "fit")
    refused = change_of(run, tiny("fit.steps=8", "base.channels=32")).refused
    assert refused == (
        f"{run.path} is a run of another config: fit.steps is 7 there, asked for 8, and fit was made with it; "
        "set it back, or choose another folder with --run"
    )


def test_code_and_versions_stay_where_the_config_changes(run: RunFolder):
    text = run.config_file.read_text().replace('version = "', 'version = "first-', 1)
    run.config_file.write_text(text)
    make_change(run, tiny("seed=3"), change_of(run, tiny("seed=3")))
    assert 'version = "first-' in run.config_file.read_text()
    assert read_config(run).seed == 3


def test_an_edit_of_run_toml_is_found_by_what_the_stage_was_made_with(run: RunFolder):
    keep_settings(run, "fit", values_read("fit", TINY))
    finish(run, "fit")
    keep_settings(run, "fit", values_read("fit", tiny("fit.steps=9")))  # of a begun stage they stay
    write_config(run, tiny("fit.steps=9"))  # as an editor would
    assert "fit.steps is 20 there, asked for 9" in str(change_of(run, tiny("fit.steps=9")).refused)
    assert change_of(run, TINY).refused is None


def test_a_key_that_came_after_a_stage_was_made_is_off_in_it(run: RunFolder):
    earlier = values_read("sample", TINY)
    assert earlier.pop("sample.main_body") is True
    keep_settings(run, "sample", earlier)
    finish(run, "sample")
    assert "sample.main_body is False there, asked for True" in str(change_of(run, TINY).refused)
    assert change_of(run, tiny("sample.main_body=false")).refused is None


def test_a_key_that_a_stage_is_only_now_known_to_read_has_the_value_that_others_were_made_with(run: RunFolder):
    config = tiny("data.camera_radius=3")
    keep_settings(run, "render", values_read("render", config))
    earlier = values_read("sweep-cfg", config)
    assert earlier.pop("data.camera_radius") == 3
    keep_settings(run, "sweep-cfg", earlier)
    for stage in ("render", "sweep-cfg"):
        finish(run, stage)
    assert change_of(run, config).refused is None
    assert "camera_radius is 3.0 there, asked for 4.0, and render and sweep-cfg" in str(change_of(run, TINY).refused)


def test_settings_of_a_stage_that_left_nothing_are_replaced(run: RunFolder):
    keep_settings(run, "fit", values_read("fit", TINY))
    keep_settings(run, "fit", values_read("fit", tiny("fit.steps=9")))
    assert (settings_of(run, "fit") or {})["fit.steps"] == 9


def test_an_old_run_keeps_its_settings_once_it_changes(run: RunFolder):
    finish(run, "render", "fit")
    make_change(run, tiny("base.blocks=2"), change_of(run, tiny("base.blocks=2")))
    assert settings_of(run, "fit") == values_read("fit", TINY)
    assert settings_of(run, "base") is None


def test_a_longer_training_opens_itself_and_all_that_follows(run: RunFolder):
    finish(run, "render", "clip", "fit", "index", "base", "upsample", "latent", "prior", "sample", "evaluate")
    finish(run, "sweep-cfg", "sweep-resolution", "report")
    asked = tiny("base.training.steps=40")
    change = change_of(run, asked)
    assert (change.refused, change.longer) == (None, {"base": (10, 40)})
    assert change.again == ("sample", "evaluate", "sweep-cfg", "report")
    sentence = (
        "base goes on from step 10 to 40; made again, as they follow from it: sample, evaluate, sweep-cfg, report"
    )
    assert change.sentence() == sentence
    work = Run(run, asked, Site(name="x"), (), change.reopened)
    assert [work._missing(name) for name in ("base", "sample", "fit")] == [[0], [0, 1], []]
    (run.stage("base") / "model.pt").touch()
    (run.stage("sample") / "meshes").mkdir()
    (run.stage("sample") / ".00001.attempt.h5").touch()
    for name in ("evaluate-00000", "timing-evaluate-00000", "fit-00000"):
        run.results.mkdir(exist_ok=True)
        (run.results / f"{name}.jsonl").touch()
    make_change(run, asked, change)
    assert [name for name in ("base", *change.again) if not missing(run, asked, name)] == []
    assert (run.stage("base") / "model.pt").is_file()
    assert list(run.stage("sample").iterdir()) == []
    assert sorted(path.name for path in run.results.iterdir()) == ["fit-00000.jsonl", "timing-evaluate-00000.jsonl"]
    assert [missing(run, asked, name) for name in ("upsample", "sweep-resolution", "fit")] == [[], [], []]
    assert change_of(run, asked).sentence() is None


def test_trainings_inside_a_sweep_go_on_too(run: RunFolder):
    finish(run, "render", "upsample", "sweep-convolution")
    inside = run.stage("sweep-convolution") / "upsampler-1"
    manifest.publish(inside / "00000.json", {"samples": 20})
    (inside / "checkpoints").mkdir()
    (run.stage("sweep-convolution") / "00001.h5").touch()
    asked = tiny("upsample.training.steps=30")
    make_change(run, asked, change_of(run, asked))
    assert sorted(path.name for path in run.stage("sweep-convolution").iterdir()) == ["upsampler-1"]
    assert [path.name for path in inside.iterdir()] == ["checkpoints"]


@pytest.mark.parametrize("calls", range(6))
def test_killed_anywhere_while_it_changes_the_same_command_makes_it_whole(
    calls: int, run: RunFolder, monkeypatch: pytest.MonkeyPatch
):
    finish(run, "render", "base", "sample", "evaluate", "report")
    asked, left = tiny("base.training.steps=40"), [calls]
    with monkeypatch.context() as patched:
        for name in ("reopen", "write_config"):
            whole = getattr(changes, name)

            def killed(*arguments, whole=whole, **named):
                if left[0] == 0:
                    raise KeyboardInterrupt
                left[0] -= 1
                whole(*arguments, **named)

            patched.setattr(changes, name, killed)
        if calls < 5:
            with pytest.raises(KeyboardInterrupt):
                make_change(run, asked, change_of(run, asked))
            assert read_config(run) == TINY  # no number that was not used
        else:
            make_change(run, asked, change_of(run, asked))
    change = change_of(run, asked)
    assert change.refused is None
    make_change(run, asked, change)
    assert read_config(run) == asked
    assert [name for name in ("base", "sample", "evaluate", "report") if not missing(run, asked, name)] == []


def test_steps_edited_in_run_toml_are_held_against_what_was_trained(run: RunFolder):
    finish(run, "base")
    write_config(run, tiny("base.training.steps=40"))
    assert change_of(run, tiny("base.training.steps=40")).longer == {"base": (10, 40)}


@pytest.mark.parametrize(
    ("done", "asked", "refused"), [(10, 5, True), (None, 4, True), (None, 5, False), (None, 12, False)]
)
def test_a_training_cannot_become_shorter_than_it_is(done: int | None, asked: int, refused: bool, run: RunFolder):
    if done is None:
        path = run.stage("base") / "checkpoints" / "step-000000005-0of1-0123456789abcdef.pt"
        path.parent.mkdir(parents=True)
        path.touch()
        (path.parent / "step-backup-of-mine.pt").touch()
    else:
        finish(run, "base", steps=done)
    steps = 5 if done is None else 10
    change = change_of(run, tiny(f"base.training.steps={asked}"))
    assert change.reopened == frozenset()  # what is not finished need not be opened
    assert (f"base.training.steps is {steps} there, asked for {asked}" in str(change.refused)) == refused
    assert ("and base was made with it (a training can go on, not become shorter)" in str(change.refused)) == refused


def test_many_keys_are_named_in_part_and_several_stages_are_were(run: RunFolder):
    finish(run, "render", "fit")
    five = [f"data.{name}" for name in ("samples=3", "views=11", "resolution=25", "fov_degrees=32", "camera_radius=5")]
    assert "more" not in str(change_of(run, tiny(*five)).refused)
    refused = str(change_of(run, tiny(*five, "fit.steps=3", "fit.rays=3")).refused)
    assert "; and 2 more, and render and fit were made with it; set it back" in refused
    assert refused.count("asked for") == 5


def test_steps_of_a_damaged_or_an_absent_training_are_not_known(run: RunFolder):
    assert trained_steps(run, "base", 4) is None
    run.stage("base").mkdir()
    run.manifest("base").write_text("{}")
    assert trained_steps(run, "base", 4) is None
    assert change_of(run, tiny("base.training.steps=40")).longer == {}
