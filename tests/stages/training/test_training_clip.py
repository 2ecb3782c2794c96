"""The small CLIP: its loss where captions are shared, its augmentation, and that it learns to tell people apart."""

import math

import pytest
import torch
import torch.nn.functional as F
from fixtures.made_up_run import captions, facts, make_portraits, make_views, person

from rodin.data.captioned import captioned, excluding
from rodin.data.pictures import images_over_white
from rodin.generate.models import load_clip
from rodin.hooks import Hooks
from rodin.nets.clip import Clip
from rodin.presets import preset
from rodin.stages import clip
from rodin.store import manifest
from rodin.store.results import read_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.reader import Shards
from rodin.train.data.draws import Draws


def unit(rows, width, seed):
    drawn = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return F.normalize(drawn, dim=1)


def test_with_a_caption_to_each_picture_it_is_open_clips_loss():
    small = Clip.small(width=8, image_size=16, patch=8, tower_width=32, image_layers=1, text_layers=1)
    assert small.width == 8  # its door is open: open_clip can be imported now
    from open_clip.loss import ClipLoss

    image, text, scale = unit(6, 8, 0), unit(6, 8, 1), torch.tensor(7.0)
    ours = clip.shared_caption_loss(image, text, scale, torch.eye(6, dtype=torch.bool))
    assert ours.shape == (6,)
    torch.testing.assert_close(ours.mean(), ClipLoss()(image, text, scale.double()))


def test_shared_captions_are_shared_by_hand():
    image, text, scale = unit(3, 4, 2), unit(2, 4, 3), torch.tensor(3.0, dtype=torch.float64)
    true = torch.tensor([[True, False], [True, True], [False, True]])
    logits = scale * image @ text.T
    wanted = []
    columns = 0.0
    for m in range(2):
        owners = [n for n in range(3) if true[n, m]]
        columns += -sum(logits[n, m] - logits[:, m].exp().sum().log() for n in owners) / len(owners) / 2
    for n in range(3):
        owned = [m for m in range(2) if true[n, m]]
        row = -sum(logits[n, m] - logits[n].exp().sum().log() for m in owned) / len(owned)
        wanted.append((row + columns) / 2)
    torch.testing.assert_close(clip.shared_caption_loss(image, text, scale, true), torch.stack(wanted))


def test_a_caption_true_of_both_pulls_both_and_pushes_neither():
    text = torch.tensor([[1.0, 0.0]])
    image = F.normalize(torch.tensor([[0.6, 0.8], [0.6, 0.8]]), dim=1).requires_grad_()
    wrong = F.normalize(torch.tensor([[-1.0, 0.2]]), dim=1)
    true = torch.tensor([[True, False], [True, False], [False, True]])
    texts = torch.cat([text, wrong])
    clip.shared_caption_loss(torch.cat([image, wrong]), texts, torch.tensor(5.0), true).mean().backward()
    assert (image.grad @ text[0] < 0).all()
    torch.testing.assert_close(image.grad[0], image.grad[1])


def test_augmented_images_keep_their_colours_and_are_filled_with_white():
    pictures = torch.ones(8, 3, 32, 32)
    pictures[:, :, 10:20, 12:22] = torch.tensor([0.2, 0.5, 0.8])[:, None, None]
    moved = clip.augmented(pictures, Draws(0, range(8)))
    assert moved.shape == pictures.shape
    assert sorted(set(moved.unique().tolist())) == sorted(set(pictures.unique().tolist()))
    torch.testing.assert_close(moved.sum(dim=(1, 2, 3)), pictures.sum(dim=(1, 2, 3)))
    assert len({tuple(one.flatten().tolist()) for one in moved}) > 4


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("clip"))
    make_views(config(), folder)
    return folder


def config():
    own = ["clip.subjects=0", "clip.image_channels=0"]
    return preset("tiny", ["data.subjects=8", "clip.steps=120", "clip.batch=24", "clip.lr=3e-3", "clip.width=16", *own])


def test_a_trained_clip_tells_people_apart_and_knows_colours(run):
    clip.run(config(), run, 0, Hooks())
    assert set(manifest.read(run.manifest("clip"))["files"]) == {"clip.json", "clip.pt", "seen.json"}
    rows = {(row["subjects"], row["views"]): row for row in read_rows(run, "clip-retrieval")}
    assert set(rows) == {("training", "fitted"), ("training", "not fitted"), ("held-out", "not fitted")}
    for views in ("fitted", "not fitted"):
        row = rows["training", views]
        assert row["chance"] == 1 / 8
        assert row["image_to_text"] > 0.5
        assert row["text_to_image"] > 0.5
    losses = [row["loss"] for row in read_rows(run, "clip")]
    assert losses[-1] < 0.8 * losses[0]

    loaded = load_clip(config(), run)
    views = Shards(run.stage("render"), "views")
    image = torch.cat(
        [loaded.image(images_over_white(views.read(f"{number:06d}", "rgba", [0]))) for number in range(8)]
    )
    hair = ["a person with red hair", "a person with blue hair"]
    likeness = image @ loaded.text(hair)[0].T
    red, blue = (next(n for n in range(8) if person(n)[0] == name) for name in ("red", "blue"))
    assert likeness[red, 0] > likeness[red, 1]
    assert likeness[blue, 1] > likeness[blue, 0]
    assert captions(red)[1] == hair[0]
    assert loaded.unseen("A person with red, zebra hair!") == ["zebra"]


def test_facts_are_contrasted_attribute_by_attribute():
    image, text, scale = unit(5, 4, 0), unit(7, 4, 1), torch.tensor(6.0, dtype=torch.float64)
    truth = torch.tensor([[0, 3], [1, 0], [2, 1], [0, 2], [1, 3]])
    wanted = []
    for n in range(5):
        total = 0.0
        for a, (begin, end) in enumerate([(0, 3), (3, 7)]):
            likeness = [float(scale * image[n] @ text[m]) for m in range(begin, end)]
            total += math.log(sum(math.exp(each) for each in likeness)) - likeness[truth[n, a]]
        wanted.append(total / 2)
    found = clip.facts_loss(image, text, scale, [3, 4], truth)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


def test_attributes_that_tell_nobody_apart_or_that_someone_lacks_are_left_out():
    people = [{"a": "x", "b": "same", "c": "p"}, {"a": "y", "b": "same"}, {"a": "x", "b": "same", "c": "q"}]
    texts, truth = excluding(people)
    assert texts == [["x", "y"]]
    assert truth.tolist() == [[0], [1], [0]]
    for nobody in ([], [{}, {"a": "x"}]):
        texts, truth = excluding(nobody)
        assert texts == []
        assert truth.shape == (len(nobody), 0)


@pytest.fixture(scope="module")
def of_its_own(tmp_path_factory):
    """A run and thirty more people for CLIP."""
    folder = RunFolder(tmp_path_factory.mktemp("own"))
    config = preset("tiny", ["clip.subjects=30", "clip.steps=120", "clip.batch=24", "clip.lr=2e-3", "clip.width=16"])
    make_views(config, folder)
    make_portraits(config, folder)
    return config, folder


def test_clip_learns_from_people_of_its_own_and_never_from_the_runs(of_its_own):
    config, folder = of_its_own
    people = captioned(config, folder)
    assert people.images.subjects == config.portrait_subjects()
    assert not set(people.images.subjects) & set(config.all_subjects())
    assert people.shown == config.clip.views == people.images.shape[0]
    assert people.captions[3] == captions(3)
    assert [len(texts) for texts in people.facts] == [6, 6]  # "kind" is the same of all
    assert people.facts[1][people.truth[7, 1]] == facts(7)["shirt"]
    assert set(facts(7).values()) - {"someone"} <= set(people.texts)

    learned = captioned(config.model_copy(update={"clip": config.clip.model_copy(update={"subjects": 0})}), folder)
    assert learned.images.subjects == config.train_subjects()
    assert learned.facts == []


def test_what_clip_learned_of_its_own_people_holds_of_the_runs(of_its_own):
    config, folder = of_its_own
    clip.run(config, folder, 0, Hooks())
    rows = {(row["subjects"], row["views"]): row for row in read_rows(folder, "clip-retrieval")}
    assert set(rows) == {("portraits", "fitted"), ("training", "not fitted"), ("held-out", "not fitted")}
    assert rows["portraits", "fitted"]["count"] == 30
    assert rows["training", "not fitted"]["count"] == config.data.subjects
    for group in ("training", "held-out"):
        assert rows[group, "not fitted"]["image_to_text"] > 0.8
    loaded = load_clip(config, folder)
    assert loaded.settings["image_channels"] == config.clip.image_channels
    assert loaded.unseen("a person in a purple shirt, zebra") == ["zebra"]


def test_a_pretrained_clip_is_not_trained(run):
    with pytest.raises(ValueError, match="nothing to train"):
        clip.run(preset("tiny", ["clip.pretrained=ViT-B-32", "clip.width=512", "clip.image_size=224"]), run, 0, Hooks())


def test_with_the_frontal_task_a_clip_is_published_without_its_head(tmp_path):
    config = preset("tiny", ["data.subjects=4", "clip.subjects=6", "clip.views=2", "clip.frontal=1"])
    run = RunFolder(tmp_path)
    make_views(config, run)
    make_portraits(config, run)
    clip.run(config, run, 0, Hooks())
    loaded = load_clip(config, run, torch.device("cpu"))
    assert not any("frontal" in name for name in loaded.model.state_dict())
    plain = RunFolder(tmp_path / "plain")
    make_views(config, plain)
    make_portraits(config, plain)
    clip.run(preset("tiny", ["data.subjects=4", "clip.subjects=6", "clip.views=2"]), plain, 0, Hooks())
    image = images_over_white(Shards(run.stage("portraits"), "views").read(config.portrait_subjects()[0], "rgba", [0]))
    other = load_clip(config, plain, torch.device("cpu"))
    assert not torch.allclose(loaded.image(image), other.image(image), atol=1e-3)  # the task has changed what it learns


def test_the_frontal_picture_is_mirrored_with_the_shown_one():
    images, draws = torch.rand(40, 3, 32, 32), Draws(0, range(40))
    again = clip.mirrored(images, draws)
    flipped = [bool((one == other.flip(-1)).all()) for one, other in zip(again, images, strict=True)]
    assert flipped == draws.chosen("mirror", 0.5).tolist()
    assert 5 < sum(flipped) < 35
    moved = clip.augmented(images, draws)
    inner = slice(4, 28)  # what no shift moves out
    for one, picture in zip(moved, again, strict=True):
        shifted = [picture.roll((y, x), (1, 2))[:, inner, inner] for y in range(-2, 3) for x in range(-2, 3)]
        assert any(torch.equal(one[:, inner, inner], other) for other in shifted)
