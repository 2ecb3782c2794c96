"""Edits that are measured: of which people, to what, and what counts as having come out."""

import collections

import numpy as np
import pytest
from fixtures.named_store import Store

from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.bench import edits
from rodin.bench.edits import Edit, Measures, bench_edits, detectors_of, edits_of, left_out_row
from rodin.evaluation.presence import KINDS, REGIONS, YES
from rodin.presets import preset
from rodin.stages.evaluate import EvaluationStores

CONFIG = preset("tiny", ["data.held_out=6"])
COLOURS = {"hair": sorted(HAIR_COLOURS), "shirt": sorted(SHIRT_COLOURS)}


class Palette:
    def __init__(self, names: list[str]) -> None:
        self.names = names


MEASURES = Measures(
    {name: Palette(names) for name, names in COLOURS.items()},
    dict.fromkeys(("glasses", "hat", "beard")),
    [{"attribute": "hat", "with_it": 3, "without_it": 9, "accuracy": None}],
)


def stores() -> EvaluationStores:
    views = Store()
    for number, subject in enumerate(CONFIG.held_out_subjects()):
        about = {f"{name}_colour": names[number % len(names)] for name, names in COLOURS.items()}
        about |= {"gender": "man" if number % 2 else "woman", "beard": "full beard" if number == 1 else None}
        views[subject] = ({"attributes": about}, {"image": np.ones((1, 4), np.float32)})
    return EvaluationStores(views, views, views, views)


def test_colours_take_turns_and_are_none_that_the_person_has():
    made, views = edits_of(CONFIG, stores(), MEASURES, 60), stores().views
    for kind, names in COLOURS.items():
        wanted = collections.Counter(one.wanted for one in made if one.attribute == kind)
        assert set(wanted) == set(names)
        assert max(wanted.values()) <= 2 * min(wanted.values()) + 2
    for one in made:
        about = views.meta(one.subject)["attributes"]
        assert one.wanted != about.get(f"{one.attribute}_colour")
        if one.attribute == "beard":
            assert (about["gender"], about["beard"], one.wanted) == ("man", None, YES[True])


class Rodin:
    """Draws avatars without planes; an edit changes nothing."""

    models = None

    def __init__(self, run) -> None:
        pass

    def sampled(self, latents, seeds, progress):
        return [None]

    def edit(self, avatar, text):
        return avatar


def test_only_detectors_that_are_right_often_enough_count():
    """Hats cannot be told here, and there are too few beards."""
    draw, people = np.random.default_rng(0), [f"{number:06d}" for number in range(40)]
    known = {one: {"glasses": n % 3 == 0, "hat": n % 2 == 0, "beard": n in (3, 5, 7)} for n, one in enumerate(people)}
    seen = {one: {**of, "hat": bool(draw.integers(2))} for one, of in known.items()}
    described = {
        one: {name: (draw.normal(0, 0.1, (len(KINDS), 4)) + there).astype(np.float32) for name, there in of.items()}
        for one, of in seen.items()
    }
    detectors, left_out = detectors_of(known, described)
    assert list(detectors) == ["glasses"]
    assert [check["attribute"] for check in left_out] == ["hat", "beard"]
    hat, beard = map(left_out_row, left_out)
    assert (beard["name"], beard["value"]) == ("left out: beard", 3)
    assert beard["unit"] == (
        "people with it, 37 without, right on 100% of pictures and 100% of fits; 90% and 10 people of each are wanted"
    )
    assert (hat["name"], hat["value"]) == ("left out: hat", 20)
    unknown = left_out_row(detectors_of({one: dict.fromkeys(REGIONS) for one in people}, described)[1][0])
    assert unknown["unit"].startswith("people with it, 0 without, cannot be learned")


@pytest.mark.parametrize("shown", ["wanted", "another"])
def test_what_an_avatar_showed_before_is_no_edit(monkeypatch, shown: str):
    made = [Edit(CONFIG.held_out_subjects()[0], "hair", "red", "a person with red hair")] * 9
    monkeypatch.setattr(edits.EvaluationStores, "of", staticmethod(lambda folder: stores()))
    monkeypatch.setattr(edits, "Rodin", Rodin)
    monkeypatch.setattr(edits, "learned", lambda *given: MEASURES)
    monkeypatch.setattr(edits, "edits_of", lambda config, stores, measures, count: made)
    monkeypatch.setattr(edits, "plain", lambda *given: None)
    picture = np.zeros((16, 16, 4), np.uint8)
    colour = "red" if shown == "wanted" else "blue"
    monkeypatch.setattr(Measures, "of", lambda self, avatar: ({"hair": colour, "hat": "no"}, picture))
    monkeypatch.setattr(edits, "Avatar", lambda *given: given)
    folder = type("Folder", (), {"path": "run"})()
    if shown == "wanted":
        with pytest.raises(ValueError, match="all avatars show already what is asked for"):
            bench_edits(CONFIG, folder, 3, lambda *what: None)
        return
    rows = bench_edits(CONFIG, folder, 3, lambda *what: None)
    assert [row["value"] for row in rows if "red hair" in row["name"]] == [0, 0, 0]
    assert next(row for row in rows if row["name"] == "came out")["value"] == 0
    assert rows[-1]["name"] == "left out: hat"
