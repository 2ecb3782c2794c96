"""Grids: which runs a command line means, their names, and which run makes which stage."""

import itertools
import re

import pytest

from jobs.graph.grid import MOST_RUNS, axes_of, combinations, makers, short_keys, split_values, value_word
from rodin.presets import flat, preset


def tiny(changes: list[str]):
    return preset("tiny", changes)


def grid(*changes: str, zipped: bool = False):
    return combinations(axes_of(changes), zipped, tiny)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1e-4,2e-4", ["1e-4", "2e-4"]),
        ("[8],[8, 16], [4,8]", ["[8]", "[8, 16]", "[4,8]"]),
        ('"a,b",c', ['"a,b"', "c"]),
        ("[[1,2],[3]],4", ["[[1,2],[3]]", "4"]),
        ("true", ["true"]),
        ("", [""]),
        ("1,,2", ["1", "", "2"]),
    ],
)
def test_commas_inside_brackets_and_quotes_separate_nothing(text: str, parts: list[str]):
    assert split_values(text) == parts


def test_all_combinations_have_the_configs_of_set():
    found = grid("base.training.lr=0.0005,2e-3", "triplane.channels=4,8", "seed=3")
    assert [one.name for one in found] == [
        "lr-0.0005_channels-4",
        "lr-0.0005_channels-8",
        "lr-0.002_channels-4",
        "lr-0.002_channels-8",
    ]
    for one, (rate, channels) in zip(found, itertools.product((0.0005, 0.002), (4, 8)), strict=True):
        assert one.values == {"base.training.lr": rate, "triplane.channels": channels}
        assert one.config == tiny([f"base.training.lr={rate}", f"triplane.channels={channels}", "seed=3"])


def test_zip_takes_one_value_of_each_key_at_a_time():
    found = grid("base.training.lr=1,2", "base.attention=[4],[8, 4]", "fit.steps=7", zipped=True)
    assert [one.values for one in found] == [
        {"base.training.lr": 1.0, "base.attention": [4]},
        {"base.training.lr": 2.0, "base.attention": [8, 4]},
    ]
    assert [one.name for one in found] == ["lr-1_attention-4", "lr-2_attention-8-4"]
    assert {one.config.fit.steps for one in found} == {7}
    assert len(grid("base.training.lr=1,2", "base.attention=[4],[8, 4]")) == 4


REFUSED = {
    "no value": (["base.training.lr"], "wanted KEY=VALUE,VALUE"),
    "no key": (["=1,2"], "wanted KEY=VALUE,VALUE"),
    "empty": (["base.training.lr="], "with an empty value"),
    "a comma at the end": (["base.training.lr=1,2,"], "with an empty value"),
    "twice": (["base.training.lr=1,2", "base.training.lr=3"], "--set has 'base.training.lr' twice"),
    "nothing swept": (["base.training.lr=1"], "nothing to sweep"),
    "none at all": ([], "nothing to sweep"),
    "unknown": (["base.training.rl=1,2"], "unknown key 'base.training.rl' (did you mean 'base.training.lr'?)"),
    "section": (["base.training=1,2"], "key 'base.training' is a section"),
    "out of range": (["base.training.lr=1,-1"], "base.training.lr: got -1"),
    "a word": (["fit.steps=4,many"], "fit.steps: got 'many'"),
    "same": (["base.training.lr=1e-4,0.0001"], "two runs of the grid are the same: base.training.lr=0.0001"),
    "same zipped": (["base.training.lr=1,1", "fit.steps=2,2"], "two runs of the grid are the same"),
    "too many": (
        [f"seed={','.join(map(str, range(11)))}", f"fit.steps={','.join(map(str, range(1, 11)))}"],
        "110 comb",
    ),
    "no result": (["fit.together=1,2"], "'fit.together' changes no result"),
    "the preset": (["preset=a,b"], "'preset' changes no result"),
    "unfit": (["base.attention=[4],[2]"], "base.attention 2 is the side of no level"),
}


@pytest.mark.parametrize(("changes", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_grid_is_one_line(changes: list[str], words: str):
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        combinations(axes_of(changes), "zipped" in str(changes), tiny)
    assert "\n" not in str(caught.value)


def test_zip_of_different_lengths():
    with pytest.raises(ValueError, match=r"base.training.lr has 2, fit.steps has 3"):
        grid("base.training.lr=1,2", "fit.steps=1,2,3", zipped=True)
    assert MOST_RUNS == 100
    assert len(grid(f"seed={','.join(map(str, range(MOST_RUNS)))}")) == MOST_RUNS


def test_a_key_of_speed_that_is_the_same_in_all_runs_is_fine():
    assert {one.config.fit.together for one in grid("seed=1,2", "fit.together=2")} == {2}


def test_steps_of_a_training_can_be_swept():
    first, second = grid("base.training.steps=10,20")
    shared = makers([first.config, second.config])[1]
    assert {stage for stage, maker in shared.items() if maker == 1} == {"base", "sample", "evaluate", "sweep-cfg"}


def test_names_are_safe_short_and_unique():
    found = grid("base.training.lr=1,2", "prior.training.lr=1,2")
    assert found[1].name == "base.lr-1_prior.lr-2"
    assert short_keys(["a.b.c", "d.b.c", "x.c.d"]) == {"a.b.c": "a.c", "d.b.c": "d.c", "x.c.d": "d"}
    assert short_keys(["a.b.c", "a.d.c", "seed"]) == {"a.b.c": "a.b.c", "a.d.c": "a.d.c", "seed": "seed"}
    words = [value_word(value) for value in (3.0, 1e-5, True, None, "a/b c", [1, 2.5], [], -1)]
    assert words == ["3", "1e-05", "True", "None", "a-b-c", "1-2.5", "empty", "-1"]
    scales = [[1.0, 1.25 + number, *(2.0 + step / 7 for step in range(20))] for number in range(3)]
    long = grid("sweeps.guidance_scales=" + ",".join(map(str, scales)))
    assert len({one.name for one in long}) == 3
    for one in [*long, *found]:
        assert len(one.name) <= 80
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*", one.name)


def test_each_stage_is_made_by_the_first_run_that_needs_it():
    found = grid("base.training.lr=1,2", "sample.guidance_scale=1,3")
    numbers = makers([one.config for one in found])
    expected = {"render": [0, 0, 0, 0], "base": [0, 0, 2, 2], "sample": [0, 1, 2, 3], "upsample": [0, 0, 0, 0]}
    expected |= {"sweep-cfg": [0, 0, 2, 2], "evaluate": [0, 1, 2, 3]}
    assert {stage: [one[stage] for one in numbers] for stage in expected} == expected
    assert all("report" not in one for one in numbers)


def test_values_are_those_of_the_config():
    for one in grid("data.elevation=[1, 2],[2, 3]", "base.training.micro_batch=none"):
        assert one.values["data.elevation"] == flat(one.config)["data.elevation"]
