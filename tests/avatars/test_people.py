"""A person is a pure function of (seed, id); captions and lamps follow from the draw. Without Blender or assets."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from rodin.avatars import atlas
from rodin.avatars.caption import caption, captions, noun
from rodin.avatars.facts import facts
from rodin.avatars.lighting import light
from rodin.avatars.person import HAIR_COLOURS, RARE_HAIR, SHIRT_COLOURS, Person, draw
from rodin.stages.portraits import MOST_CAPTIONS

MANY = [draw(3, f"{number:06d}") for number in range(1500)]


def test_a_person_does_not_depend_on_who_was_drawn_before() -> None:
    alone = draw(7, "000123")
    for number in range(20):
        draw(7, f"{number:06d}")
    assert draw(7, "000123") == alone
    assert draw(8, "000123") != alone
    assert draw(7, "000124") != alone


def test_attributes_survive_json() -> None:
    attributes = MANY[0].attributes()
    assert json.loads(json.dumps(attributes)) == json.loads(json.dumps(attributes, allow_nan=False))
    assert attributes["hair_colour"] in HAIR_COLOURS


def test_named_colours_come_out_even() -> None:
    shirts = Counter(person.shirt_colour for person in MANY)
    assert set(shirts) == set(SHIRT_COLOURS)
    assert max(shirts.values()) < 1.5 * min(shirts.values())
    hair = Counter(person.hair_colour for person in MANY)
    common = [hair[name] for name in HAIR_COLOURS if name not in RARE_HAIR]
    assert max(common) < 1.5 * min(common)
    assert all(0 < hair[name] < min(common) for name in RARE_HAIR)


def test_hats_are_rare_and_beards_belong_to_grown_men() -> None:
    hats = sum(person.hat is not None for person in MANY)
    assert 0.12 * len(MANY) < hats < 0.25 * len(MANY)
    assert all(person.gender == "man" and person.age > 0.3 for person in MANY if person.beard)
    bearded = sum(person.beard in ("full beard", "goatee") for person in MANY)
    assert 0.15 * len(MANY) < bearded < 0.25 * len(MANY)


def test_a_third_wear_glasses_half_of_them_square() -> None:
    worn = Counter(person.glasses for person in MANY)
    assert 0.3 * len(MANY) < worn["round"] + worn["square"] < 0.38 * len(MANY)
    assert max(worn["round"], worn["square"]) < 1.3 * min(worn["round"], worn["square"])


@pytest.mark.parametrize("table", [HAIR_COLOURS, SHIRT_COLOURS])
def test_drawn_colours_are_nearest_to_their_names(table: dict[str, tuple[int, int, int]]) -> None:
    names, colours = list(table), np.array(list(table.values()))
    for person in MANY[:400]:
        drawn, named = (
            (person.hair_rgb, person.hair_colour) if table is HAIR_COLOURS else (person.shirt_rgb, person.shirt_colour)
        )
        assert names[int(np.linalg.norm(colours - drawn, axis=1).argmin())] == named


def _words(person: Person) -> set[str]:
    return set(caption(person).replace(",", " ").split())


def test_the_full_caption_names_what_was_drawn() -> None:
    for person in MANY[:300]:
        words = _words(person)
        assert {person.hair_colour, person.shirt_colour, "hair"} <= words
        assert (person.glasses is not None) == ("glasses" in words)
        assert (person.hat is not None) == bool({"cap", "beanie"} & words)
        assert ("striped" in words) == (person.pattern == "striped")
        assert bool({"woman", "girl"} & words) == (person.gender == "woman")


def test_facts_name_every_attribute_once_and_truly() -> None:
    every = [facts(person) for person in MANY]
    assert {len(one) for one in every} == {12}
    kinds = {name: {one[name] for one in every} for name in every[0]}
    counts = {name: len(texts) for name, texts in kinds.items()}
    assert counts == {
        "hair colour": 7, "hair style": 10, "shirt colour": 8, "pattern": 3, "top": 5, "gender": 2, "age": 4,
        "glasses": 3, "hat": 3, "beard": 5, "expression": 5, "skin": 5,
    }  # fmt: skip
    assert not set.intersection(kinds["hat"], kinds["glasses"])
    for person, one in zip(MANY, every, strict=True):
        assert person.hair_colour in one["hair colour"].split()
        assert person.shirt_colour in one["shirt colour"].split()
        assert person.pattern in one["pattern"]
        assert (person.glasses or "without") in one["glasses"]
        assert (person.hat or "without") in one["hat"]
        assert (person.beard or "without") in one["beard"]
        assert person.gender in one["gender"].split()
        assert (person.age > 0.8) == ("old" in one["age"].split())
        assert (noun(person) in ("girl", "boy")) == (one["age"] == "a child")
    brightest, darkest = (order(MANY, key=lambda person: sum(person.skin)) for order in (max, min))
    assert facts(brightest)["skin"] == "a person with pale skin"
    assert facts(darkest)["skin"] == "a person with dark skin"


def test_no_person_has_more_captions_than_portraits_keep() -> None:
    more = [captions(person, MOST_CAPTIONS + 40, 0) for person in MANY]
    most = max(len(set(texts)) for texts in more)
    assert most <= MOST_CAPTIONS
    for person, texts in zip(MANY, more, strict=True):
        assert set(captions(person, MOST_CAPTIONS, 0)) == set(texts)


def test_partial_captions_say_nothing_untrue() -> None:
    for person in MANY[:300]:
        texts = captions(person, 6, 0)
        assert texts[0] == caption(person)
        assert texts == captions(person, 6, 0)
        assert len(texts) == len(set(texts)) == 6
        for text in texts[1:]:
            words = set(text.replace(",", " ").split())
            assert not words & (set(HAIR_COLOURS) | set(SHIRT_COLOURS)) - {person.hair_colour, person.shirt_colour}
            assert "glasses" not in words or person.glasses
    assert len(captions(MANY[0], 40, 0)) == 40
    with pytest.raises(ValueError, match="captions: got 0"):
        captions(MANY[0], 0, 0)


def test_articles_fit_their_words() -> None:
    texts = [text for person in MANY[:300] for text in captions(person, 8, 1)]
    assert any(" an " in text for text in texts)
    for text in texts:
        words = text.split()
        for article, word in pairwise(words):
            if article in ("a", "an"):
                assert (article == "an") == (word[0] in "aeiou"), text


def test_an_atlas_comes_apart_into_its_views() -> None:
    views, size = 7, 4
    columns, rows = atlas.layout(views)
    whole = np.zeros((rows * size, columns * size, 4), dtype=np.uint8)
    for view in range(views):
        row, column = divmod(view, columns)
        for i in range(size):
            for j in range(size):
                whole[row * size + i, column * size + j] = (view + 1, i, j, 255)
    parts = atlas.tiles(whole, views, size)
    assert parts.shape == (views, size, size, 4)
    for view in range(views):
        assert (parts[view, :, :, 0] == view + 1).all()
        assert parts[view, 2, 1].tolist() == [view + 1, 2, 1, 255]


def test_atlases_hold_every_view_once() -> None:
    batches = atlas.batches(300, 256)
    assert [view for batch in batches for view in batch] == list(range(300))
    assert max(len(batch) for batch in batches) * 256**2 <= atlas.MOST_PIXELS
    assert [len(batch) for batch in atlas.batches(2, 4096)] == [1, 1]


@pytest.mark.parametrize(
    ("age", "gender", "words"),
    [
        (0.2, "woman", "girl"),
        (0.2, "man", "boy"),
        (0.5, "woman", "young woman"),
        (0.7, "man", "man"),
        (0.9, "woman", "old woman"),
    ],
)
def test_captions_name_the_age(age: float, gender: str, words: str) -> None:
    assert noun(replace(MANY[0], age=age, gender=gender)) == words


def test_lamps_stand_where_the_draw_says() -> None:
    """Azimuth from the face (+z) to the right (+x), elevation from the horizon; the fill lamp on the other side."""
    key, fill, back = light(replace(MANY[0], light=(30.0, 40.0, 1.0, 0.5))).lamps
    x, y, z = key.position
    assert np.degrees(np.arctan2(x, z)) == pytest.approx(30)
    assert np.degrees(np.arcsin(y / np.linalg.norm(key.position))) == pytest.approx(40)
    assert fill.position[0] < 0 < key.position[0]
    assert fill.position[2] > 0 > back.position[2]
    assert key.colour[0] > key.colour[2]  # warm light is redder
    brighter = light(replace(MANY[0], light=(30.0, 40.0, 1.1, 0.5))).lamps[0]
    assert brighter.power == pytest.approx(1.1 * key.power)
