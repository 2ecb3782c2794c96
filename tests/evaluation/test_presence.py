"""The measure of glasses, hats and beards, on drawn heads whose attributes are known."""

import functools

import numpy as np
import pytest
from fixtures.drawn_heads import head
from fixtures.named_store import Store
from scipy.ndimage import gaussian_filter

from rodin.evaluation import presence
from rodin.hooks import Hooks, Stopped
from rodin.presets import preset

PEOPLE = 40


def has(number: int, name: str) -> bool:
    """Which of the drawn people have what; no two attributes go together."""
    return number % {"glasses": 3, "hat": 4, "beard": 2}[name] == 0


def attributes(number: int) -> dict[str, str | None]:
    values = {"glasses": "round", "hat": "cap", "beard": "goatee"}
    return {name: value if has(number, name) else None for name, value in values.items()}


@functools.cache
def features_of(name: str, people: range) -> np.ndarray:
    pictures = [head(number, **{one: has(number, one) for one in presence.REGIONS}) for number in people]
    return np.stack([np.stack([presence.described(one, name, blur) for _, blur in presence.KINDS]) for one in pictures])


@pytest.mark.parametrize(
    ("attributes", "name", "there"),
    [
        ({"glasses": "round"}, "glasses", True),
        ({"glasses": None}, "glasses", False),
        ({"hat": "beanie"}, "hat", True),
        ({"beard": "full beard"}, "beard", True),
        ({"beard": "goatee"}, "beard", True),
        ({"beard": None}, "beard", False),
        ({"beard": "stubble"}, "beard", None),
        ({"beard": "moustache"}, "beard", None),
        ({}, "hat", None),
    ],
)
def test_stubble_and_a_moustache_are_neither_a_beard_nor_none(attributes, name, there):
    assert presence.presence(attributes, name) is there


@pytest.mark.parametrize("name", presence.REGIONS)
def test_the_measure_is_right_on_people_it_did_not_learn_from(name):
    row = presence.check_row(name, features_of(name, range(PEOPLE)), [has(one, name) for one in range(PEOPLE)])
    assert min(row["accuracy_on"].values()) >= 0.9
    assert row["counted"]
    assert (row["with_it"], row["without_it"]) == (
        sum(has(one, name) for one in range(PEOPLE)),
        PEOPLE - row["with_it"],
    )
    right = (row["found"] / row["with_it"] + 1 - row["false_alarms"] / row["without_it"]) / 2
    assert row["accuracy"] == row["accuracy_on"]["pictures"] == pytest.approx(right)


def test_a_measure_of_what_is_not_in_the_pictures_is_no_better_than_chance_and_not_counted():
    labels = np.random.default_rng(0).permutation(np.arange(PEOPLE) % 2 == 0)
    features = features_of("glasses", range(PEOPLE))
    assert (presence.Detector.learn(features, labels)(features) == labels[:, None]).mean() > 0.8  # learned by heart
    row = presence.check_row("glasses", features, labels.tolist())
    assert abs(row["accuracy"] - 0.5) < 0.25
    assert not row["counted"]


def test_good_answers_on_few_people_are_not_counted():
    few = range(0, PEOPLE, 2)  # of whom seven have glasses
    row = presence.check_row("glasses", features_of("glasses", few), [has(one, "glasses") for one in few])
    assert row["accuracy"] > 0.9
    assert (row["with_it"], row["counted"]) == (7, False)
    one = presence.check_row("glasses", features_of("glasses", range(1, 4)), [False, False, True])
    assert (one["accuracy"], one["counted"], one["with_it"]) == (None, False, 1)


def test_a_measure_that_fails_on_fits_is_not_counted():
    features, labels = features_of("hat", range(PEOPLE)).copy(), np.array([has(one, "hat") for one in range(PEOPLE)])
    features[:, 2:] = features[0, 2]  # the fits show one and the same person
    row = presence.check_row("hat", features, labels.tolist())
    assert row["accuracy"] >= presence.ENOUGH > row["accuracy_on"]["fits"]
    assert not row["counted"]


def test_a_rare_attribute_weighs_as_much_as_its_absence():
    rows = np.array([[1.0], [1.0], *[[0.0]] * 8], np.float32)
    labels = np.array([True, False] + [False] * 8)  # one of two with the sign has it, none without
    assert presence.Detector.learn(rows[:, None], labels)(rows).tolist() == [True, True] + [False] * 8


def test_the_mirror_image_looks_the_same():
    picture = head(5, glasses=True, hat=False, beard=False)
    both = [presence.described(one, "glasses", presence.BLUR) for one in (picture, picture[:, ::-1])]
    assert np.allclose(*both, atol=1e-5)
    assert not np.allclose(both[0], presence.described(picture, "glasses"), atol=1e-2)


@pytest.mark.parametrize("name", ["glasses", "hat"])
def test_what_is_on_the_chin_is_outside_the_other_parts(name):
    shaved, bearded = (head(5, glasses=True, hat=True, beard=beard) for beard in (False, True))
    assert np.allclose(presence.described(shaved, name), presence.described(bearded, name), atol=1e-6)
    assert not np.allclose(presence.described(shaved, "beard"), presence.described(bearded, "beard"), atol=1e-2)


class Avatars:
    """Planes are the picture itself; it is rendered a little softer."""

    config = preset("tiny")

    def turn(self, planes, views, resolution):
        assert (views, resolution) == (1, self.config.data.resolution)
        return np.rint(gaussian_filter(planes.numpy(), (0.4, 0.4, 0))).astype(np.uint8)[None]


def stores(people: int = PEOPLE) -> tuple[Store, Store, Store]:
    views, planes, samples = Store(), Store(), Store()
    for number in range(people):
        picture = head(number, **{one: has(number, one) for one in presence.REGIONS})
        views[f"{number:06d}"] = ({"attributes": attributes(number)}, {"rgba": picture[None]})
        planes[f"{number:06d}"] = ({}, {"planes": picture})
    samples["prompt-0000"] = ({"kind": "prompt", "attribute": "hair", "prompt": "a man"}, {})
    for number, (asked, shown) in enumerate([("glasses", True), ("glasses", False), ("hat", True)]):
        drawn = {"glasses": False, "hat": False, "beard": False} | {asked: shown}
        for control in (False, True):
            meta = {"kind": "prompt", "prompt": f"{number} {control}", "present": {asked: not control}, "pair": number}
            name = f"prompt-{2 * number + control + 1:04d}"
            samples[name] = (meta, {"planes": head(100 + number, **(drawn if not control else drawn | {asked: False}))})
    return views, planes, samples


def test_prompted_avatars_are_looked_at_for_what_they_were_asked():
    views, planes, samples = stores()
    views["imported"], planes["imported"] = ({}, views["000001"][1]), planes["000001"]
    rows = presence.presence_rows(Avatars(), views, planes, samples, list(views), Hooks())
    checks = {row["attribute"]: row for row in rows if row["stage"] == "prompts-check"}
    assert list(checks) == ["glasses", "hat"]  # no prompt asks for a beard
    assert all(check["counted"] and check["subjects"] == PEOPLE for check in checks.values())
    asked = {row["sample"]: row for row in rows if row["stage"] == "prompts"}
    found = {name: (row["wanted"], row["measured"], row["hit"], row["control"]) for name, row in asked.items()}
    assert found == {
        "prompt-0001": ("yes", "yes", True, False),
        "prompt-0002": ("no", "no", True, True),
        "prompt-0003": ("yes", "no", False, False),
        "prompt-0004": ("no", "no", True, True),
        "prompt-0005": ("yes", "yes", True, False),
        "prompt-0006": ("no", "no", True, True),
    }
    assert asked["prompt-0005"] | {"pair": 2, "attribute": "hat", "counted": True} == asked["prompt-0005"]


def test_without_known_people_nothing_is_measured_but_the_row_says_so():
    views, planes, samples = stores(1)
    unknown = Store({subject: ({}, fields) for subject, (_, fields) in views.items()})
    rows = presence.presence_rows(Avatars(), unknown, planes, samples, list(unknown), Hooks())
    assert [(row["stage"], row["attribute"], row["counted"]) for row in rows] == [
        ("prompts-check", "glasses", False),
        ("prompts-check", "hat", False),
    ]


def test_runs_that_ask_for_no_attribute_render_nothing():
    views, planes, samples = stores(2)
    rows = presence.presence_rows(
        None, views, planes, Store({"prompt-0000": samples["prompt-0000"]}), list(views), Hooks()
    )
    assert rows == []


def test_most_people_are_enough_and_a_stop_is_heeded(monkeypatch):
    views, planes, samples = stores(6)
    monkeypatch.setattr(presence, "MOST", 2)
    seen = []
    hooks = Hooks(progress=lambda done, total, note: seen.append((done, total)))
    presence.presence_rows(Avatars(), views, planes, samples, list(views), hooks)
    assert seen == [(0, 2), (1, 2)]
    with pytest.raises(Stopped):
        presence.presence_rows(Avatars(), views, planes, samples, list(views), Hooks(should_stop=lambda: True))
