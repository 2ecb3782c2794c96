"""Prompts and the measure of whether their colour came out, on pictures whose colours are known."""

import collections

import numpy as np
import pytest
from fixtures.coloured_people import SHIRT, names, picture

from rodin.avatars.caption import captions
from rodin.avatars.person import HAIR_COLOURS, SHIRT_COLOURS, draw
from rodin.evaluation import prompts
from rodin.field import cameras
from rodin.presets import preset

LENS = cameras.pinhole(64, 30.0)
FRONT, BACK = cameras.ring(2, radius=4.0)


def colours_of(number):
    return prompts.measured_colours(picture(number, FRONT, LENS, 64), picture(number, BACK, LENS, 64))


def test_the_measure_names_hair_and_shirt_of_drawn_people():
    people = range(18)
    for place, attribute in enumerate(("hair", "shirt")):
        true = [names(number)[place] for number in people]
        measured = np.stack([colours_of(number)[attribute] for number in people])
        palette = prompts.Palette.of(true, measured)
        assert [palette.nearest(colour) for colour in measured] == true
        assert prompts.leave_one_out(true, measured) == (1.0, len(people))


def test_the_shirt_is_measured_without_the_hair_and_the_hair_without_the_skin():
    first, same_shirt = colours_of(0), next(number for number in range(1, 9) if names(number)[1] == names(0)[1])
    assert names(same_shirt)[0] != names(0)[0]
    assert np.abs(first["shirt"] - colours_of(same_shirt)["shirt"]).max() < 1
    true = prompts.rgb2lab(np.array(HAIR_COLOURS[names(0)[0]]) / 255)
    hue, true_hue = (np.degrees(np.arctan2(colour[2], colour[1])) for colour in (first["hair"], true))
    assert hue == pytest.approx(true_hue, abs=3)


def test_a_picture_without_anybody_has_no_colour():
    nobody = np.zeros((32, 32, 4), np.uint8)
    colours = prompts.measured_colours(nobody, nobody)
    assert np.isnan(colours["hair"]).all()
    assert prompts.Palette(["red"], np.zeros((1, 3))).nearest(colours["hair"]) == "none"


def test_translucent_haze_does_not_count():
    rgba = picture(1, BACK, LENS, 64)
    hazy = rgba.copy()
    hazy[rgba[..., 3] == 0] = (0, 255, 0, 60)
    assert np.array_equal(prompts.measured_colours(rgba, rgba)["hair"], prompts.measured_colours(hazy, hazy)["hair"])


def test_a_string_that_hangs_below_does_not_move_the_shirt():
    front = picture(1, FRONT, LENS, 64)
    last = np.flatnonzero(front[..., 3].any(axis=1))[-1]
    longer = front.copy()
    longer[last + 1 : last + 6, 30:32] = (255, 255, 255, 255)
    assert np.array_equal(
        prompts.measured_colours(front, front)["shirt"], prompts.measured_colours(longer, longer)["shirt"]
    )


def test_leaving_one_out_uses_nothing_of_the_one_left_out():
    colours = np.array([[0.0, 0, 0], [8, 0, 0], [12, 0, 0], [13, 0, 0]])
    kinds = ["black", "black", "grey", "grey"]
    assert [prompts.Palette.of(kinds, colours).nearest(colour) for colour in colours] == kinds
    assert prompts.leave_one_out(kinds, colours) == (0.75, 4)
    assert prompts.leave_one_out(["black", "grey", "grey"], colours[[0, 2, 3]]) == (1.0, 2)
    assert prompts.leave_one_out(["black", "grey"], colours[:2]) == (None, 0)


def test_prompts_ask_for_every_colour_there_is_and_no_other():
    asked = prompts.colour_prompts({"hair": ["red", "blond"], "shirt": ["orange", "green", "white"]}, 20)
    assert len(asked) == 20
    assert {(one.attribute, one.colour) for one in asked} == {
        ("hair", "red"),
        ("hair", "blond"),
        ("shirt", "orange"),
        ("shirt", "green"),
        ("shirt", "white"),
    }
    assert all(one.colour in one.text and one.attribute in one.text for one in asked)
    assert "a person in an orange shirt" in [one.text for one in asked]
    first = [one.text for one in asked[:15]]
    assert len(set(first)) == 15


def test_prompts_start_with_what_captions_say():
    asked = prompts.colour_prompts({"hair": list(HAIR_COLOURS), "shirt": list(SHIRT_COLOURS)}, 24)
    assert asked[0].text == "a person with black hair"
    assert len({one.text for one in asked}) == 24
    assert {one.attribute for one in asked[:2]} == {"hair", "shirt"}


class Views(dict):
    """A store's manifest: subject -> meta."""

    def meta(self, subject):
        return self[subject]


def test_only_colours_of_training_people_are_asked_for():
    config = preset("tiny", ["sample.prompts=9"])
    coloured = {"hair_colour": "pink", "shirt_colour": SHIRT[0]}
    views = Views({subject: {"attributes": coloured} for subject in config.train_subjects()})
    views |= {subject: {"attributes": {"hair_colour": "grey"}} for subject in config.held_out_subjects()}
    assert {one.colour for one in prompts.prompts_of(config, views)} == {"pink", SHIRT[0]}


@pytest.mark.parametrize("meta", [{"caption": "someone real"}, {"attributes": {}, "caption": "someone real"}])
def test_people_without_attributes_are_asked_for_by_their_captions(meta):
    config = preset("tiny", ["sample.prompts=5"])
    views = Views({subject: meta for subject in config.train_subjects()})
    asked = prompts.prompts_of(config, views)
    assert [one.text for one in asked] == ["someone real"] * 5
    assert asked[0].colour is None


def test_attributes_are_asked_for_in_the_words_of_captions_each_beside_its_control():
    asked = prompts.attribute_prompts(prompts.EXTRAS, ["black", "red"], 20)
    assert len(asked) == 40
    assert [one.text for one in asked[:6]] == [
        "a woman with round glasses",
        "a woman",
        "a man with a full beard",
        "a man",
        "a woman with a cap",
        "a woman",
    ]
    assert asked[12].text == "a woman with round glasses and a cap"
    assert asked[12].present == {"glasses": True, "hat": True}
    assert asked[14].text == "a portrait of a man with red hair and round glasses"
    for ask, control in zip(asked[::2], asked[1::2], strict=True):
        assert ask.text.startswith(control.text)
        assert ask.pair == control.pair
        assert ask.present == dict.fromkeys(control.present, True)
        assert not any(control.present.values())
        assert not any(word in control.text for word in ("glasses", "beard", "goatee", "cap", "beanie"))
        assert "woman" not in ask.text or "beard" not in ask.present
    assert [one.pair for one in asked[::2]] == list(range(20))
    assert len({one.text for one in asked[::2]}) == 20


@pytest.mark.parametrize(("extras", "colours"), [(7, 7), (6, 7), (7, 4), (7, 2), (4, 5), (5, 6)])
def test_no_attribute_is_asked_for_with_one_hair_colour_alone(extras: int, colours: int):
    hair = list(HAIR_COLOURS)[:colours]
    named = collections.defaultdict(set)
    for one in prompts.attribute_prompts(prompts.EXTRAS[:extras], hair, 10 * extras)[::2]:
        for colour in hair:
            if f"{colour} hair" in one.text:
                named[tuple(one.present), one.text.rpartition(" ")[2]].add(colour)
    assert len(named) >= extras - 1
    assert all(len(of) > 1 for of in named.values())


def test_words_of_attribute_prompts_are_words_of_captions():
    people = [draw(0, f"{number:06d}") for number in range(200)]
    known = {word for person in people for text in captions(person, 8, 0) for word in text.replace(",", "").split()}
    asked = prompts.attribute_prompts(prompts.EXTRAS, list(HAIR_COLOURS), 42)
    assert {word for one in asked for word in one.text.split()} <= known


def test_only_attributes_of_training_people_are_asked_for_and_as_many_as_set():
    config = preset("tiny", ["sample.prompts=2", "sample.attribute_prompts=5"])
    bearded = {"hair_colour": "pink", "glasses": None, "hat": None, "beard": "goatee"}
    views = Views({subject: {"attributes": bearded} for subject in config.train_subjects()})
    views |= {subject: {"attributes": bearded | {"hat": "cap"}} for subject in config.held_out_subjects()}
    asked = prompts.prompts_of(config, views)
    assert len(asked) == 12
    assert all(one.present is None for one in asked[:2])
    assert {tuple(one.present) for one in asked[2:]} == {("beard",)}
    assert all("goatee" in one.text for one in asked[2::2])
    assert {one.text.split()[1] for one in asked[2::2] if one.text.startswith("a ")} >= {"man", "person"}
    imported = Views({subject: {"caption": "someone real"} for subject in config.train_subjects()})
    assert [(one.text, one.present) for one in prompts.prompts_of(config, imported)] == [("someone real", None)] * 12
