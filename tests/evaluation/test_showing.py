"""Larger pictures of avatars: of the right planes and cameras, resumed to the same bits, never of earlier results."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG
from fixtures.trained_run import copy_models

from rodin.evaluation import showing, shown
from rodin.evaluation.reconstruction import reconstruct
from rodin.evaluation.showing import show
from rodin.field import cameras
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset
from rodin.store import manifest
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards


@pytest.fixture
def run(sampled: RunFolder, tmp_path: Path) -> RunFolder:
    """A run with samples of its own folder, evaluated."""
    folder = copy_models(sampled, tmp_path)
    folder.stage("sample").mkdir()
    for path in sampled.stage("sample").iterdir():
        (folder.stage("sample") / path.name).symlink_to(path)
    manifest.publish(folder.manifest("evaluate"), {"files": {}})
    return folder


def opened(run: RunFolder, part: str) -> Shards:
    folder = shown.shown_folder(run, part)
    assert folder is not None
    return Shards(folder, "samples")


def test_pictures_are_those_of_the_planes_by_a_turn_s_cameras(run: RunFolder, avatars: Avatars):
    show(CONFIG, run, ["drawn", "turned"], Hooks())
    samples, made, side = Shards(run.stage("sample"), "samples"), opened(run, "turned"), shown.picture_side(CONFIG)
    assert side == 4 * CONFIG.data.resolution
    name = made.subjects[-1]
    planes = torch.from_numpy(samples.read(name, "planes")).float()
    pictures = made.read(name, "rgba")
    assert pictures.shape == (shown.AROUND, side, side, 4)
    lens = cameras.pinhole(side, CONFIG.data.fov_degrees)
    poses = cameras.ring(8, radius=CONFIG.data.camera_radius)  # every third of a turn's 24 cameras
    np.testing.assert_array_equal(pictures[::3], avatars.render(planes, poses, lens, side))
    mesh = made.read(shown.MESH + name, "rgba")
    assert mesh.shape == pictures.shape
    assert (mesh[..., 3] == 255).all()
    drawn = [one for one in samples.subjects if samples.meta(one)["kind"] == "unconditional"]
    assert [one for one in made.subjects if not one.startswith(shown.MESH)] == drawn[: shown.TURNED]


def test_a_part_that_was_stopped_goes_on_to_the_same_bits(run: RunFolder, tmp_path_factory: pytest.TempPathFactory):
    show(CONFIG, run, ["prompts"], Hooks())
    whole, folder = opened(run, "prompts"), shown.part_folder(run, "prompts")
    assert folder is not None
    folder.rename(tmp_path_factory.mktemp("whole") / "part")
    seen: list[str] = []
    with pytest.raises(Stopped):
        show(CONFIG, run, ["prompts"], Hooks(lambda done, total, note: seen.append(note), lambda: len(seen) == 2))
    assert shown.shown_folder(run, "prompts") is None
    show(CONFIG, run, ["prompts"], Hooks(lambda done, total, note: seen.append(note)))
    assert sorted(seen) == whole.subjects  # none was rendered twice
    again = opened(run, "prompts")
    for name in whole.subjects:
        assert again.checksum(name, "rgba") == whole.checksum(name, "rgba")
        assert again.meta(name) == whole.meta(name)
        assert -1 <= again.meta(name)["clip_score"] <= 1
    assert shown.due_parts(run, ["prompts"]) == []


def test_a_clip_score_is_the_cosine_of_text_and_stored_picture(run: RunFolder, avatars: Avatars):
    show(CONFIG, run, ["prompts"], Hooks())
    made, samples = opened(run, "prompts"), Shards(run.stage("sample"), "samples")
    name = made.subjects[1]
    text = torch.nn.functional.normalize(avatars.clip.text([made.meta(name)["prompt"]])[0], dim=-1)
    picture = torch.nn.functional.normalize(avatars.latent_from_image(samples.read(name, "rgba", 0)), dim=-1)
    assert made.meta(name)["clip_score"] == pytest.approx(float((text * picture).sum()), abs=1e-5)


def test_the_straight_line_lies_between_the_ends(run: RunFolder, avatars: Avatars):
    show(CONFIG, run, ["paths"], Hooks())
    made, samples = opened(run, "paths"), Shards(run.stage("sample"), "samples")
    straight = [name for name in made.subjects if name.startswith(shown.LERP)]
    steps = CONFIG.sample.interpolation_steps
    assert len(straight) == CONFIG.sample.interpolations * (steps - 2)
    name = straight[0].removeprefix(shown.LERP)
    meta = samples.meta(name)
    first, last = (
        torch.from_numpy(samples.read(f"interpolation-{meta['pair']}-{step:02d}", "latent")) for step in (0, steps - 1)
    )
    latent = first + meta["blend"] * (last - first)
    planes = avatars.planes(latent[None], [meta["seed"]], meta["guidance_scale"])[0]
    side = shown.picture_side(CONFIG)
    difference = made.read(straight[0], "rgba", 0).astype(int) - avatars.turn(planes, 1, side)[0]
    assert np.abs(difference).max() <= 1  # rounding of the latent's sum
    assert made.meta(straight[0])["kind"] == "lerp"


def test_a_quarter_of_the_way_is_nearer_to_the_first(monkeypatch: pytest.MonkeyPatch, avatars: Avatars):
    latents = {"a": np.array([1, 0], np.float32), "b": np.zeros(2, np.float32), "c": np.array([0, 1], np.float32)}
    blends = {"a": 0, "b": 0.25, "c": 1}
    metas = {name: {"pair": 3, "blend": blend, "seed": 5, "guidance_scale": 2.0} for name, blend in blends.items()}
    store = SimpleNamespace(read=lambda name, field: latents[name])
    asked: list = []
    monkeypatch.setattr(avatars, "planes", lambda *arguments: asked.append(arguments) or [None], raising=False)
    ((name, meta, planes_of),) = showing._straight(avatars, store, metas)  # type: ignore[arg-type]
    planes_of()
    ((latent, seeds, scale),) = asked
    assert (name, meta["kind"], seeds, scale) == (shown.LERP + "b", "lerp", [5], 2.0)
    assert latent.tolist() == [[0.75, 0.25]]


def test_portraits_are_inverted_as_they_were_measured(run: RunFolder, avatars: Avatars):
    show(CONFIG, run, ["inverted"], Hooks())
    made = opened(run, "inverted")
    people = CONFIG.held_out_subjects()
    assert [name for name in made.subjects if not name.startswith(shown.MESH)] == [shown.INVERSION + p for p in people]
    latents = Shards(run.stage("embed"), "latents")
    ((_, planes),) = reconstruct(avatars, latents, people[:1], CONFIG.sample.guidance_scale, Hooks())
    picture = avatars.turn(planes, 1, shown.picture_side(CONFIG))[0]
    np.testing.assert_array_equal(made.read(shown.INVERSION + people[0], "rgba", 0), picture)


def test_pictures_of_earlier_samples_are_not_taken_and_go(run: RunFolder):
    show(CONFIG, run, ["prompts"], Hooks())
    before = shown.shown_folder(run, "prompts")
    path = run.manifest("sample")
    changed = manifest.read(path) | {"again": 1}
    changed.pop("manifest_sha256", None)
    path.unlink()
    manifest.publish(path, changed)
    assert before is not None
    assert shown.shown_folder(run, "prompts") is None
    assert shown.due_parts(run, list(shown.PARTS)) == list(shown.PARTS)
    show(CONFIG, run, ["prompts"], Hooks())
    assert shown.shown_folder(run, "prompts") != before
    assert not before.exists()


def test_what_is_not_there_is_not_due(tmp_path: Path):
    run = RunFolder(tmp_path)
    assert shown.due_parts(run, list(shown.PARTS)) == []
    show(CONFIG, run, list(shown.PARTS), Hooks())
    assert list(tmp_path.iterdir()) == []


def test_as_many_pictures_and_avatars_are_counted_as_are_made(run: RunFolder, avatars: Avatars):
    planned = {part: list(showing._planned(avatars, part)) for part in shown.PARTS}
    views = {name: len(part.cameras) * (1 + part.meshes) for name, part in shown.PARTS.items()}
    assert shown.picture_count(CONFIG) == sum(views[name] * len(one) for name, one in planned.items())
    names = [name for one in planned.values() for name, *_ in one]
    drawn = [name for name in names if name.startswith((shown.LERP, shown.INVERSION))]
    assert shown.drawn_count(CONFIG) == len(drawn) > 1


def test_no_more_pictures_are_counted_than_a_part_has():
    words = "sample.unconditional=30 sample.prompts=60 sample.attribute_prompts=3 sample.interpolations=2"
    words += " sample.interpolation_steps=2 sample.trajectory_steps=3 data.held_out=9 evaluate.subjects=8"
    config = preset("tiny", words.split())
    assert shown.drawn_count(config) == 6  # two points of a line have none between
    assert shown.picture_count(config) == 2 * (4 * 24 + 20 * 2) + (2 * 2 + 3) + 64 + 2 * 6 * 4
    few = preset("tiny", ["sample.unconditional=2", "evaluate.subjects=1", "sample.prompts=1"])
    assert shown.picture_count(few) == 2 * 2 * 24 + (3 + 1 + 2) + 1 + 2 * 4
