"""Designs: balance over items, pairs and sides; order by seed; catch trials and repetitions where they belong."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.study.design import CATCH, DEGRADED, MAIN, REPEAT, Design, catch_pool, rater_trials


@st.composite
def designs(draw):
    methods = draw(st.integers(2, 4))
    items = draw(st.integers(1, 12))
    combinations = items * methods * (methods - 1) // 2
    trials = draw(st.integers(1, combinations))
    return Design(
        tuple(f"m{number}" for number in range(methods)),
        tuple(f"i{number}" for number in range(items)),
        trials,
        draw(st.integers(0, items * methods)),
        draw(st.integers(0, trials)),
        draw(st.integers(0, 2**63 - 1)),
    )


def shown(trial):
    return trial.item, frozenset((trial.left, trial.right))


@settings(max_examples=60, deadline=None)
@given(designs(), st.integers(0, 40))
def test_each_rater_sees_the_asked_numbers_and_no_pair_twice(design, rater):
    trials = rater_trials(design, rater)
    kinds = Counter(trial.kind for trial in trials)
    assert (kinds[MAIN], kinds[CATCH], kinds[REPEAT]) == (design.trials, design.catch, design.repeats)
    assert len(trials) == design.asked
    main = [shown(trial) for trial in trials if trial.kind == MAIN]
    assert len(set(main)) == len(main)
    for trial in trials:
        assert trial.item in design.items
        assert trial.left != trial.right


@settings(max_examples=60, deadline=None)
@given(designs(), st.integers(0, 40))
def test_a_repetition_comes_later_with_its_sides_swapped(design, rater):
    trials = rater_trials(design, rater)
    originals = []
    for place, trial in enumerate(trials):
        if trial.kind != REPEAT:
            assert trial.repeats is None
            continue
        assert trial.repeats is not None
        assert trial.repeats < place
        original = trials[trial.repeats]
        assert original.kind == MAIN
        assert (trial.item, trial.left, trial.right) == (original.item, original.right, original.left)
        originals.append(trial.repeats)
    assert len(set(originals)) == len(originals)


@settings(max_examples=40, deadline=None)
@given(designs(), st.integers(1, 30))
def test_pairs_items_and_sides_are_balanced_over_raters(design, raters):
    main = [one for rater in range(raters) for one in rater_trials(design, rater) if one.kind == MAIN]
    times = Counter(shown(one) for one in main)
    everything = [(item, frozenset(pair)) for item in design.items for pair in design.pairs]
    counts = [times[one] for one in everything]
    assert set(times) <= set(everything)
    assert max(counts) - min(counts) <= 1
    for one in everything:
        lefts = Counter(trial.left for trial in main if shown(trial) == one)
        assert abs(2 * max(lefts.values(), default=0) - times[one]) <= 1


@settings(max_examples=40, deadline=None)
@given(designs(), st.integers(0, 20))
def test_pairs_of_methods_and_their_sides_are_balanced_within_a_rater(design, rater):
    main = [one for one in rater_trials(design, rater) if one.kind == MAIN]
    pairs = Counter(frozenset((one.left, one.right)) for one in main)
    counts = [pairs[frozenset(pair)] for pair in design.pairs]
    assert max(counts) - min(counts) <= 1
    for first, second in design.pairs:
        lefts = sum((one.left, one.right) == (first, second) for one in main)
        rights = sum((one.left, one.right) == (second, first) for one in main)
        assert abs(lefts - rights) <= 2


def test_a_catch_trial_shows_a_picture_against_its_own_degraded_version_on_both_sides():
    design = Design(("a", "b"), tuple(map(str, range(10))), 5, 4, 0, 3)
    pool, sides = catch_pool(design), Counter()
    for rater in range(10):
        for trial in rater_trials(design, rater):
            if trial.kind == CATCH:
                whole, wrong = sorted((trial.left, trial.right), key=len)
                assert wrong == whole + DEGRADED
                assert (whole, trial.item) in pool
                sides[trial.left.endswith(DEGRADED)] += 1
    assert sides[True] == sides[False] == 20


def test_orders_differ_between_raters_and_seeds_and_are_the_same_again():
    design = Design(("a", "b"), tuple(map(str, range(10))), 10, 0, 0, 3)
    assert rater_trials(design, 0) == rater_trials(design, 0)
    items = {tuple(trial.item for trial in rater_trials(design, rater)) for rater in range(8)}
    assert len(items) == 8
    other = Design(design.methods, design.items, 10, 0, 0, 4)
    assert rater_trials(other, 0) != rater_trials(design, 0)


def test_repetitions_keep_their_distance_where_there_is_room():
    design = Design(("a", "b"), tuple(map(str, range(20))), 20, 0, 4, 1)
    for rater in range(30):
        for place, trial in enumerate(rater_trials(design, rater)):
            if trial.repeats is not None:
                assert place - trial.repeats > 5
