"""Copies of training people are told from people that are only like them."""

import weakref

import numpy as np
import pytest
import torch
from fixtures.drawn_heads import head
from fixtures.named_store import Store
from scipy.ndimage import gaussian_filter

from rodin.evaluation import memorisation
from rodin.evaluation.memorisation import (
    TrainingPeople,
    memorisation_rows,
    nearest_pictures,
    ratio,
    small_pictures,
    soft_copy,
)
from rodin.evaluation.presence import BLUR
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset

CONFIG = preset("tiny", ["data.subjects=12", "sample.batch=2"])


def person(number: int) -> np.ndarray:
    return head(number, glasses=number % 2 == 0, hat=False, beard=False)


def latent_of(rgba: np.ndarray) -> np.ndarray:
    values = small_pictures(rgba[None])[0].numpy() - 0.7
    return values / np.linalg.norm(values)


def stores() -> tuple[Store, Store, Store, Store]:
    """Views, latents, planes, samples: twelve training people and two held-out ones.

    Sample 0 is a copy of person 3, sample 1 is somebody else.
    """
    views = Store({subject: ({}, {"rgba": person(int(subject))[None]}) for subject in CONFIG.all_subjects()})
    latents = Store({one: ({}, {"image": latent_of(fields["rgba"][0])[None]}) for one, (_, fields) in views.items()})
    planes = Store({subject: ({}, {"planes": person(int(subject))}) for subject in CONFIG.train_subjects()})
    samples = Store()
    for number, picture in enumerate([person(3), person(77)]):
        fields = {"rgba": picture[None], "latent": latent_of(picture)}
        samples[f"unconditional-{number:04d}"] = ({"kind": "unconditional", "seed": 50 + number}, fields)
    samples["prompt-0000"] = ({"kind": "prompt"}, {"rgba": person(1)[None]})
    return views, latents, planes, samples


class Avatars:
    """Whatever is asked for, an average of few steps draws person 5, whom it learned by heart."""

    config, folder, device = CONFIG, None, torch.device("cpu")
    base = type("Loaded", (), {"samples": 40})()

    def latent_from_image(self, rgba):
        return torch.from_numpy(latent_of(rgba))[None]

    def low_planes(self, latents, seeds, scale, model):
        assert scale == CONFIG.sample.guidance_scale
        assert [float(latent @ latent) for latent in latents] == pytest.approx([1] * len(seeds), abs=1e-5)
        return [(str(model), seed) for seed in seeds]

    def upsampled(self, low, latents, seeds):
        assert [seed for _, seed in low] == seeds
        return low

    def turn(self, planes, views, resolution):
        if isinstance(planes, torch.Tensor):  # a fit
            assert resolution == CONFIG.data.resolution
            return planes.numpy().astype(np.uint8)[None]
        assert (planes[0], views, resolution) == ("early", 1, CONFIG.sample.resolution)
        return person(5)[None]


def rows_of(averages, monkeypatch, hooks=None):
    monkeypatch.setattr(memorisation, "load_averages", lambda folder, device: iter(averages))
    views, latents, planes, samples = stores()
    subjects = CONFIG.train_subjects()
    training = TrainingPeople(subjects, np.stack([latents.read(subject, "image", 0) for subject in subjects]))
    return memorisation_rows(Avatars(), views, planes, samples, training, hooks or Hooks())


def test_a_copy_has_a_small_ratio_and_somebody_else_has_not(monkeypatch):
    *rows, copy, other = rows_of([], monkeypatch)
    unseen = rows[: CONFIG.data.held_out]
    assert [row["name"] for row in unseen] == CONFIG.held_out_subjects()
    assert all((row["set"], row["step"]) == ("held-out", None) for row in unseen)
    assert (copy["nearest"], copy["set"], copy["step"]) == ("000003", "samples", 40 // CONFIG.base.training.batch)
    assert copy["similarity"] == pytest.approx(1, abs=1e-6)
    assert max(copy["clip_ratio"], copy["picture_ratio"]) < 0.01
    assert min(one[key] for one in (*unseen, other) for key in ("clip_ratio", "picture_ratio")) > 0.6


def test_known_copies_are_as_soft_as_avatars_and_are_noticed(monkeypatch):
    monkeypatch.setattr(memorisation, "KNOWN", 5)
    known = [row for row in rows_of([], monkeypatch) if row["set"] == "known copies"]
    assert [row["name"] for row in known] == [row["nearest"] for row in known] == [f"{n:06d}" for n in (0, 3, 6, 8, 11)]
    assert all(0.01 < row["picture_ratio"] < 0.5 for row in known)  # not 0: they are blurred
    assert all(row["step"] is None for row in known)


def test_what_is_transparent_does_not_darken_a_softened_picture():
    rgba = person(3).copy()
    rgba[..., 3] = np.where(rgba[..., 3] > 0, 200, 0)
    black = np.where(rgba[..., 3:] > 0, rgba, 0)
    soft = soft_copy(black)
    share = black[..., 3:] / 255
    blur = BLUR * len(rgba)
    by_hand = gaussian_filter(black[..., :3] * share + 255 * (1 - share), (blur, blur, 0))
    assert np.abs(soft[..., :3] - by_hand).max() < 0.51
    assert (soft[..., 3] == 255).all()
    assert (soft[0, 0] == 255).all()


def test_kept_averages_draw_the_same_samples_again_until_the_last_step(monkeypatch):
    final = 40 // CONFIG.base.training.batch
    rows = rows_of([(5, "early"), (final, "never called")], monkeypatch)
    drawn = [(row["step"], row["name"], row["nearest"]) for row in rows if row["set"] == "samples"]
    assert drawn[:2] == [(5, "unconditional-0000", "000005"), (5, "unconditional-0001", "000005")]
    assert [step for step, *_ in drawn[2:]] == [final, final]
    with pytest.raises(Stopped):
        rows_of([(5, "early")], monkeypatch, Hooks(should_stop=lambda: True))


def test_the_two_nearest_pictures_are_found_in_any_blocks(monkeypatch):
    views, *_ = stores()
    subjects = CONFIG.train_subjects()
    queries = small_pictures(np.stack([person(3), person(60)]))
    known = small_pictures(np.stack([views.read(subject, "rgba", 0) for subject in subjects]))
    brute = np.sort(np.linalg.norm(queries.numpy()[:, None] - known.numpy()[None], axis=-1), axis=1)[:, :2]
    for block in (1, 5, 100):
        monkeypatch.setattr(memorisation, "BLOCK_BYTES", block * memorisation.PIXEL_BYTES * person(0)[..., 0].size)
        assert np.allclose(nearest_pictures(queries, views, subjects, Hooks()), brute, atol=1e-5)
    assert brute[0, 0] == 0


@pytest.mark.parametrize("blocks", [3, 100])
def test_mirrored_copies_are_noticed_where_the_base_learned_mirrored_people(monkeypatch, blocks):
    monkeypatch.setattr(memorisation, "BLOCK_BYTES", blocks * memorisation.PIXEL_BYTES * person(0)[..., 0].size)
    views, _, planes, samples = stores()
    monkeypatch.setattr(memorisation, "load_averages", lambda folder, device: iter(()))
    subjects = CONFIG.train_subjects()
    turned_copy = lopsided(3)[:, ::-1]
    for store in (views, planes):
        for subject, (_, fields) in store.items():
            name = "rgba" if "rgba" in fields else "planes"
            fields[name] = lopsided(int(subject))[None] if name == "rgba" else lopsided(int(subject))
    samples["unconditional-0000"][1].update(rgba=turned_copy[None], latent=latent_of(turned_copy))
    straight = np.stack([latent_of(lopsided(int(one))) for one in subjects])
    turned = np.stack([latent_of(lopsided(int(one))[:, ::-1]) for one in subjects])
    found = {}
    for name, mirrored in (("blind", None), ("seeing", turned)):
        rows = memorisation_rows(
            Avatars(), views, planes, samples, TrainingPeople(subjects, straight, mirrored), Hooks()
        )
        found[name] = next(row for row in rows if row["name"] == "unconditional-0000")
        known = [row["picture_ratio"] for row in rows if row["set"] == "known copies"]
        assert max(known) < 0.5
    assert found["seeing"]["nearest"] == "000003"
    assert found["seeing"]["picture_ratio"] < 1e-6
    assert found["seeing"]["clip_ratio"] < 1e-3
    assert found["seeing"]["similarity"] == pytest.approx(1)
    assert found["blind"]["picture_ratio"] > 0.5


def lopsided(number: int) -> np.ndarray:
    """A person lit from one side."""
    rgba = person(number).astype(float)
    rgba[:, : rgba.shape[1] // 2, :3] *= 0.6
    return rgba.astype(np.uint8)


def test_one_training_person_or_no_sample_gives_no_rows():
    views, latents, planes, samples = stores()
    training = TrainingPeople(["000000"], latents.read("000000", "image"))
    assert memorisation_rows(Avatars(), views, planes, samples, training, Hooks()) == []
    two = TrainingPeople(["000000", "000001"], np.eye(2))
    assert memorisation_rows(Avatars(), views, planes, Store({"p": ({"kind": "prompt"}, {})}), two, Hooks()) == []


def test_between_twins_a_copy_of_both_is_none_of_one():
    assert ratio(np.array([[0.0, 0.0], [0.0, 2.0], [1.0, 4.0]])).tolist() == [1, 0, 0.25]


def test_no_more_pictures_are_read_at_once_than_there_is_memory_for(monkeypatch):
    """While pictures are made small each of their pixels takes 44 bytes: 250 MB hold 86 of 256², and all of these."""
    views, *_ = stores()
    taken, small = [], memorisation.small_pictures
    monkeypatch.setattr(memorisation, "small_pictures", lambda rgba: taken.append(len(rgba)) or small(rgba))
    of_one = 44 * person(3)[..., 0].size
    for room, wanted in ((memorisation.BLOCK_BYTES, [12]), (5 * of_one + 1, [5, 5, 2]), (0, [1] * 12)):
        monkeypatch.setattr(memorisation, "BLOCK_BYTES", room)
        taken.clear()
        nearest_pictures(small(person(3)[None]), views, CONFIG.train_subjects(), Hooks())
        assert taken == wanted


def test_an_average_is_let_go_before_the_next_is_loaded(monkeypatch):
    class Average(str):
        """Compares as its name."""

    def averages():
        for step in (5, 6):
            average = Average("early")
            alive = weakref.ref(average)
            yield step, average
            del average
            assert alive() is None

    rows = rows_of(averages(), monkeypatch)
    assert {row["step"] for row in rows if row["set"] == "samples"} >= {5, 6}
