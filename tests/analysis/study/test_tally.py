"""Counting: shares, intervals, strengths and agreement against slow twins; raters who fail; the checklist."""

import csv
import itertools
import random

import numpy as np
import pytest
from fixtures.small_study import make_study
from scipy.stats import binomtest

from analysis.study.agreement import alike, krippendorff
from analysis.study.chart import draw_preferences
from analysis.study.checklist import checklist
from analysis.study.design import CATCH, DEGRADED, MAIN, REPEAT, Design, rater_trials
from analysis.study.tally import PRIOR_VOTES, bradley_terry, checks, preferences, strengths, tally_of
from analysis.study.votes import Answer
from analysis.tables.tables import render_table, write_table

DESIGN = Design(("ours", "mean", "EG3D"), tuple(map(str, range(12))), 18, 2, 3, 5)
WORTH = {"ours": 1.5, "mean": -1.0, "EG3D": -0.5}


def simulated(design, raters, seed=1, careless=()):
    """Raters who choose by Bradley-Terry; careless ones always choose the left picture."""
    draw, answers = random.Random(seed), []
    for rater in range(raters):
        for number, trial in enumerate(rater_trials(design, rater)):
            worth = [-9 if side.endswith(DEGRADED) else WORTH[side] for side in (trial.left, trial.right)]
            left = draw.random() < 1 / (1 + np.exp(worth[1] - worth[0]))
            side = "left" if rater in careless or left else "right"
            answers.append(Answer(rater, number, trial, side, draw.randrange(500, 4000)))
    return answers


def rows_by(rows, key):
    return {row[key]: row for row in rows}


def test_shares_and_wilson_intervals_are_those_of_scipy():
    answers = simulated(DESIGN, 8)
    rows = rows_by(preferences(tally_of(DESIGN, answers)), "pair")
    for first, second in itertools.combinations(DESIGN.methods, 2):
        row = rows[f"{first} > {second}"]
        asked = [
            one for one in answers if one.trial.kind == MAIN and {one.trial.left, one.trial.right} == {first, second}
        ]
        wins = sum(one.chosen == first for one in asked)
        interval = binomtest(wins, len(asked)).proportion_ci(method="wilson")
        assert row["votes"] == len(asked)
        assert row["preferred"] == pytest.approx(100 * wins / len(asked))
        assert (row["preferred_low"], row["preferred_high"]) == pytest.approx((100 * interval.low, 100 * interval.high))
    assert rows["ours > EG3D"]["paper"] == 90.8
    assert rows["paper: Rodin > GIRAFFE"]["paper"] == 100
    assert rows["ours > mean"]["paper"] is None


def test_the_bootstrap_is_that_of_a_loop_over_raters():
    answers = simulated(DESIGN, 6, careless=(2,))
    tally = tally_of(DESIGN, answers, 0.0)
    row = rows_by(preferences(tally), "pair")["ours > mean"]
    by_rater = [
        [
            one.chosen == "ours"
            for one in tally.main
            if one.rater == rater and {one.trial.left, one.trial.right} == {"ours", "mean"}
        ]
        for rater in range(6)
    ]
    draw, shares = random.Random(0), []
    for _ in range(20_000):
        drawn = [one for _ in range(6) for one in draw.choice(by_rater)]
        shares.append(100 * sum(drawn) / len(drawn))
    low, high = np.quantile(shares, [0.025, 0.975])
    assert row["resampled"] == row["preferred"]
    assert (row["resampled_low"], row["resampled_high"]) == pytest.approx((low, high), abs=1.0)


def test_one_rater_gives_no_interval_over_raters():
    rows = preferences(tally_of(DESIGN, simulated(DESIGN, 1)))
    assert rows[0]["resampled_low"] is None
    table = strengths(tally_of(DESIGN, simulated(DESIGN, 1)))
    assert "strength_low" not in table[0]


def test_strengths_are_those_that_the_raters_had():
    table = strengths(tally_of(DESIGN, simulated(DESIGN, 150)))
    assert [row["method"] for row in table] == ["ours", "EG3D", "mean"]
    for row in table:
        assert row["strength"] == pytest.approx(WORTH[row["method"]], abs=0.15)
        assert row["strength_low"] < row["strength"] < row["strength_high"]
        assert row["votes"] == 150 * DESIGN.trials * 2 / 3
    assert sum(row["wins"] for row in table) == 150 * DESIGN.trials
    assert sum(row["strength"] for row in table) == pytest.approx(0, abs=1e-6)


def test_two_methods_strengths_are_the_logarithm_of_the_odds():
    found = bradley_terry(np.array([[0.0, 30.0], [10.0, 0.0]]))
    assert found[0] - found[1] == pytest.approx(np.log((30 + PRIOR_VOTES) / (10 + PRIOR_VOTES)))
    never = bradley_terry(np.array([[0.0, 25.0], [0.0, 0.0]]))
    assert never[0] - never[1] == pytest.approx(np.log((25 + PRIOR_VOTES) / PRIOR_VOTES))
    assert np.isfinite(bradley_terry(np.zeros((4, 4)))).all()


def test_raters_who_fail_their_catch_trials_are_left_out_and_it_is_said():
    answers = simulated(DESIGN, 8, careless=(1, 6))
    tally = tally_of(DESIGN, answers)
    assert tally.left_out == [1, 6]  # one of their two catch trials has the wrong picture on the left
    assert {one.rater for one in tally.answers} == {0, 2, 3, 4, 5, 7}
    assert "6 raters; 2 left out, who had less than 75% of their catch trials right" in preferences(tally)[0]["note"]
    assert tally_of(DESIGN, answers, 0.5).left_out == []
    found = rows_by(checks(tally), "check")
    assert (found["catch trials right, %"]["value"], found["catch trials right, %"]["of"]) == (87.5, 16)
    assert found["raters left out, %"]["value"] == 25
    assert found["raters who answered everything, %"]["value"] == 100


def test_catch_trials_and_repetitions_do_not_count_as_preferences():
    answers = simulated(DESIGN, 3)
    counted = sum(row.get("votes") or 0 for row in preferences(tally_of(DESIGN, answers)))
    assert counted == 3 * DESIGN.trials
    assert len(answers) == 3 * DESIGN.asked


def test_consistency_sides_and_times():
    answers = simulated(DESIGN, 4, careless=range(4))
    found = rows_by(checks(tally_of(DESIGN, answers, 0.0)), "check")
    assert found["first (left or upper) picture chosen, %"]["value"] == 100
    assert found["repeated pairs answered alike, sides swapped, %"]["value"] == 0  # always left: the other one
    first = {(one.rater, one.number): one for one in answers}
    alike_now = [
        Answer(one.rater, one.number, one.trial, "right" if one.trial.kind == REPEAT else "left", one.milliseconds)
        for one in answers
    ]
    found = rows_by(checks(tally_of(DESIGN, alike_now, 0.0)), "check")
    assert found["repeated pairs answered alike, sides swapped, %"]["value"] == 100
    assert found["repeated pairs answered alike, sides swapped, %"]["of"] == 4 * DESIGN.repeats
    times = sorted(one.milliseconds for one in first.values() if one.trial.kind == MAIN)
    middle = (times[len(times) // 2 - 1] + times[len(times) // 2]) / 2000
    assert found["median time of an answer, s"]["value"] == pytest.approx(middle)


def slow_alpha(units):
    """Krippendorff's alpha by pairs of answers, as its definition has it."""
    units = [unit for unit in units if len(unit) > 1]
    values = [answer for unit in units for answer in unit]
    observed = sum(sum(a != b for a, b in itertools.permutations(unit, 2)) / (len(unit) - 1) for unit in units) / len(
        values
    )
    pairs = list(itertools.permutations(values, 2))
    return 1 - observed / (sum(a != b for a, b in pairs) / len(pairs))


def test_agreement_is_that_of_its_definition():
    draw = random.Random(3)
    for _ in range(20):
        units = [[draw.choice("ab") for _ in range(draw.randrange(5))] for _ in range(8)]
        flat = [answer for unit in units if len(unit) > 1 for answer in unit]
        if len(set(flat)) == 2:
            assert krippendorff(units) == pytest.approx(slow_alpha(units))
            pairs = [a == b for unit in units for a, b in itertools.combinations(unit, 2)]
            assert alike(units) == pytest.approx(sum(pairs) / len(pairs))
    # the nominal example of Krippendorff's own text, two raters and ten units: alpha .095
    first, second = "0100000010", "1110010000"
    example = [list(pair) for pair in zip(first, second, strict=True)]
    assert krippendorff(example) == pytest.approx(0.095, abs=5e-4)
    assert krippendorff([["a", "a"], ["a", "a", "a"]]) is None
    assert (krippendorff([["a"], []]), alike([["a"], []])) == (None, None)


def test_a_study_half_answered_counts_what_is_there(tmp_path):
    answers = [one for one in simulated(DESIGN, 3) if one.number < 4]
    rows = preferences(tally_of(DESIGN, answers))
    assert sum(row.get("votes") or 0 for row in rows) == sum(one.trial.kind == MAIN for one in answers)
    one = [one for one in simulated(DESIGN, 1) if one.trial.kind == MAIN][:1]
    rows = preferences(tally_of(DESIGN, one))
    assert sorted(row["votes"] for row in rows[:3]) == [0, 0, 1]
    assert "—" in render_table(rows)
    assert checks(tally_of(DESIGN, one))[3]["value"] is None
    draw_preferences(rows, tmp_path / "one.png", "one")
    assert (tmp_path / "one.png").stat().st_size > 5000


def test_nobody_left_is_one_line():
    with pytest.raises(ValueError, match="no votes to count yet; invite raters"):
        tally_of(DESIGN, [])
    answers = simulated(DESIGN, 2, careless=(0, 1))
    with pytest.raises(ValueError, match="no votes to count yet; 2 raters failed the catch trials"):
        tally_of(DESIGN, answers)
    with pytest.raises(ValueError, match=r"--catch-pass got 75, wanted a share"):
        tally_of(DESIGN, answers, 75)


def test_tables_are_written_in_all_forms_and_csv_has_all_digits(tmp_path):
    rows = preferences(tally_of(DESIGN, simulated(DESIGN, 8)))
    paths = write_table(tmp_path, "2", rows)
    assert [path.suffix for path in paths] == [".txt", ".md", ".csv", ".tex"]
    with paths[2].open() as file:
        found = list(csv.DictReader(file))
    assert float(found[0]["preferred_low"]) == rows[0]["preferred_low"]
    assert "ours > EG3D" in paths[1].read_text()
    assert r"\%" in paths[3].read_text()


def test_the_checklist_tells_what_the_study_knows_and_asks_for_the_rest(tmp_path):
    study = make_study(tmp_path, 4, trials=6, catch=2, repeats=2)
    design = study.design
    WORTH["blurred"] = 0.0
    tally = tally_of(design, simulated(design, 3))
    page = checklist(study, tally, [("Table 2", preferences(tally))])
    assert "- [ ] **recruitment**: **to be told**; write it into facts.toml" in page
    for word in (study.question, "3 kept, 0 left out", f"seed {design.seed}", "18 that count", "| ours > EG3D |"):
        assert word in page
    text = study.facts.read_text().replace('recruitment = ""', 'recruitment = """students,\npaid"""')
    study.facts.write_text(text)
    page = checklist(study, tally, [])
    assert "- [x] **recruitment**: students, paid" in page
    assert page.count("- [ ]") == 7
    study.facts.write_text("recruitment = 5")
    with pytest.raises(ValueError, match=r"facts\.toml: recruitment = 5; wanted texts for recruitment"):
        checklist(study, tally, [])
    study.facts.write_text("recruitment = ")
    with pytest.raises(ValueError, match=r"facts\.toml: not TOML"):
        checklist(study, tally, [])
    study.facts.unlink()
    assert checklist(study, tally, []).count("- [ ]") == 8


@pytest.mark.parametrize(("runs", "most", "chosen"), [(True, None, False), (True, 3, True), (False, None, True)])
def test_items_are_chosen_by_nobody_only_where_all_of_a_run_are_shown(tmp_path, runs, most, chosen):
    study = make_study(tmp_path, 4, runs, items=most)
    WORTH["blurred"] = 0.0
    page = checklist(study, tally_of(study.design, simulated(study.design, 3)), [])
    assert ("chosen by nobody" in page) != chosen
    assert ("- [ ] **choice of items**: **to be told**; write it into facts.toml" in page) == chosen
    study.facts.write_text('items = "the first, by us"')
    told = checklist(study, tally_of(study.design, simulated(study.design, 3)), [])
    assert ("- [x] **choice of items**: the first, by us" in told) == chosen
    assert told.count("the first, by us") == chosen


def test_catch_trials_are_in_the_design_of_this_test():
    assert sum(trial.kind == CATCH for trial in rater_trials(DESIGN, 0)) == 2
