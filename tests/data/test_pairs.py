"""The pairs that the prior learns from: each person's own, of one run or two, and never those of another CLIP."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fixtures.forked_ranks import fork_ranks
from fixtures.made_up_run import make_latents, make_portraits, make_views

from rodin.config import Config
from rodin.data.pairs import pairs_of
from rodin.data.pictures import images_over_white
from rodin.generate.models import load_clip
from rodin.hooks import Hooks
from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.stages import clip, embed, prior
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.parallel.ranks import Ranks


def made(path: Path, clip: bytes, *changes: str) -> tuple[Config, RunFolder]:
    """A run with embeddings and the file of a CLIP."""
    config, run = preset("tiny", list(changes)), RunFolder(path)
    run.stage("clip").mkdir(parents=True)
    run.config_file.write_text(to_toml(config))
    make_latents(config, run)
    (run.stage("clip") / "clip.pt").write_bytes(clip)
    manifest.publish(run.manifest("clip"), {"files": manifest.describe_files(run.stage("clip"), ["clip.pt"])})
    return config, run


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Config, RunFolder, RunFolder]:
    _, other = made(tmp_path / "other", b"one", "data.subjects=9", "data.reference_views=5", "data.captions=2")
    config, run = made(tmp_path / "run", b"one", f"prior.pairs={other.path}", "prior.training.steps=3")
    return config, run, other


def test_each_item_is_a_person_s_own_view_and_caption(runs: tuple[Config, RunFolder, RunFolder]) -> None:
    config, run, other = runs
    pairs = pairs_of(config, run)
    # 4 training people here; of the 9 there, 000004 and 000005 are held out here
    people = [(run, f"{number:06d}") for number in range(4)]
    people += [(other, f"{number:06d}") for number in range(9) if number not in (4, 5)]
    assert len(pairs) == len(people)
    assert pairs.views.tolist() == [3] * 4 + [5] * 7
    assert pairs.captions.tolist() == [4] * 4 + [2] * 7
    items = np.array([5, 0, 10, 3, 4])
    views, captions = np.array([4, 2, 0, 1, 3]), np.array([1, 3, 0, 2, 1])
    image, text = pairs.image(items, views), pairs.text(items, captions)
    for n, item in enumerate(items):
        folder, subject = people[item]
        store = Shards(folder.stage("embed"), "latents")
        np.testing.assert_array_equal(image[n], store.read(subject, "image")[views[n]])
        for name, read in text.items():
            np.testing.assert_array_equal(read[n], store.read(subject, name)[captions[n]])


def test_the_prior_trains_on_both(runs: tuple[Config, RunFolder, RunFolder], tmp_path: Path) -> None:
    config, run, _ = runs
    prior.run(config, run, 0, Hooks())
    both = [row["loss"] for row in read_rows(run, "prior")]
    alone, own = made(tmp_path / "alone", b"one", "prior.training.steps=3")
    assert len(pairs_of(alone, own)) == 4
    prior.run(alone, own, 0, Hooks())
    assert both != [row["loss"] for row in read_rows(own, "prior")]


def test_pairs_of_another_clip_are_one_line(tmp_path: Path) -> None:
    _, other = made(tmp_path / "other", b"another")
    config, run = made(tmp_path / "run", b"one", f"prior.pairs={other.path}")
    with pytest.raises(
        ValueError, match="other are of the small CLIP .*, those of this run of .* the same CLIP"
    ) as told:
        pairs_of(config, run)
    assert "\n" not in str(told.value)
    other.config_file.write_text(
        other.config_file.read_text().replace('pretrained = "none"', 'pretrained = "ViT-B-32-quickgelu"')
    )
    with pytest.raises(ValueError, match="are of ViT-B-32-quickgelu, those of this run of the small CLIP"):
        pairs_of(config, run)
    other.manifest("clip").unlink()
    run.manifest("clip").unlink()
    other.config_file.write_text(run.config_file.read_text())
    with pytest.raises(ValueError, match="a small CLIP that is not in"):
        pairs_of(config, run)


def test_a_folder_that_is_no_run_is_one_line(tmp_path: Path) -> None:
    config, run = made(tmp_path / "run", b"one", f"prior.pairs={tmp_path / 'nowhere'}")
    with pytest.raises(FileNotFoundError, match="nowhere is no run folder, it has no run.toml; wanted a run whose"):
        pairs_of(config, run)
    _, other = made(tmp_path / "nowhere", b"one", "data.subjects=1", "data.held_out=2", "decoder.subjects=1")
    config = preset("tiny", [f"prior.pairs={other.path}", "data.subjects=1"])
    assert len(pairs_of(config, run)) == 2


def portraits_on_ranks(config: Config, run: RunFolder, folder: Path, world: int) -> dict[str, np.ndarray]:
    """Fields of `portrait_pairs`, the same on all ranks, none of which embeds more than its part and one person."""

    def work(rank: int) -> int:
        seen, real = [], prior.embed_subject
        prior.embed_subject = lambda clip, views, subject, captions: (
            seen.append(subject) or real(clip, views, subject, captions)
        )
        with Ranks.from_environment() as ranks:
            fields = prior.portrait_pairs(config, run, ranks)
        np.savez(folder / f"rank-{rank}.npz", **{name: field.values for name, field in fields.items()})
        return 0 if len(seen) <= 1 + -(-config.clip.subjects // world) else 1

    assert fork_ranks(world, work) == [0] * world
    found = [dict(np.load(folder / f"rank-{rank}.npz")) for rank in range(world)]
    assert all(one[name].tobytes() == found[0][name].tobytes() for one in found for name in found[0])
    return found[0]


def test_the_people_that_clip_learned_from_serve_too(tmp_path: Path) -> None:
    few = ["clip.subjects=3", "clip.steps=2", "prior.training.steps=3"]
    config, run = preset("tiny", [*few, "prior.portraits=true"]), RunFolder(tmp_path)
    make_views(config, run)
    make_portraits(config, run)
    for stage in (clip, embed):
        stage.run(config, run, 0, Hooks())
    portraits = prior.portrait_pairs(config, run)
    assert portraits["image"].shape == (config.clip.views, config.clip.width)
    for name, field in portraits_on_ranks(config, run, tmp_path, 4).items():  # one of them has nobody
        assert field.tobytes() == portraits[name].values.tobytes()
    pairs, trained = pairs_of(config, run, portraits), load_clip(config, run)
    assert len(pairs) == config.data.subjects + 3
    assert pairs.views[-3:].tolist() == [config.clip.views] * 3
    last, views = np.array([len(pairs) - 1]), Shards(run.stage("portraits"), "views")
    of_last = trained.image(images_over_white(views.read("c000002", "rgba"))).numpy()
    np.testing.assert_allclose(pairs.image(last, np.array([1])), of_last[1:2], atol=1e-6)
    text, *_ = trained.text([views.meta("c000002")["captions"][2]])
    np.testing.assert_allclose(pairs.text(last, np.array([2]))["text"], text.numpy(), atol=1e-6)

    def losses(*changes: str) -> list[float]:
        prior.run(preset("tiny", [*few, *changes]), run, 0, Hooks())
        run.manifest("prior").unlink()
        found = [row["loss"] for row in read_rows(run, "prior")]
        shutil.rmtree(run.stage("prior"))
        return found

    assert losses() != losses("prior.portraits=true")
    assert losses() == losses()
