"""Edits that are measured: of which people, to what, and what counts as having come out."""

import collections

import numpy as np
import pytest
from fixtures.named_store import Store

from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS
from rodin.bench import edits
from rodin.bench.edits import Edit, Measures, bench_edits, edits_of
from rodin.evaluation.presence import YES
from rodin.presets import preset
from rodin.stages.evaluate import EvaluationStores

CONFIG = preset("tiny", ["data.held_out=6"])
COLOURS = {"hair": sorted(HAIR_COLOURS), "shirt": sorted(SHIRT_COLOURS)}


class Palette:
    def __init__(self, names: list[str]) -> None:
        self.names = names


MEASURES = Measures(
    {name: Palette(names) for name, names in COLOURS.items()}, dict.fromkeys(("glasses", "hat", "beard"))
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
