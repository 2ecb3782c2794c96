"""Measures of every compared picture: kept, the mean of their row, read once, and taken over from the other stage."""

import numpy as np
import pytest
import torch
from fixtures.small_run import CONFIG

from analysis.results.pictures import pictures_by_scale
from rodin.evaluation import comparison
from rodin.evaluation.comparison import MOST_PSNR, ViewComparison
from rodin.evaluation.earlier import counterpart
from rodin.evaluation.reconstruction import measure_shard
from rodin.generate.cascade import Avatars
from rodin.hooks import Hooks
from rodin.stages.sweeps import guidance
from rodin.store.results import read_rows
from rodin.store.shards.reader import Shards

CPU = torch.device("cpu")
HELD_OUT = CONFIG.held_out_subjects()
AT_ONE = CONFIG.model_copy(update={"sample": CONFIG.sample.model_copy(update={"guidance_scale": 1.0})})


def test_each_pictures_measures_are_kept_and_their_mean_is_the_row(copy):
    flat = torch.zeros(3, 4, 16, 16)
    baselines = {"mean person": lambda subject: (flat, {"guidance_scale": None})}
    measure_shard(
        copy, "evaluate", 0, HELD_OUT, avatars=Avatars(CONFIG, copy, CPU), scale=2.5, hooks=Hooks(), baselines=baselines
    )
    store = Shards(copy.stage("evaluate"), "samples")
    known = store.attributes()
    assert (known["methods"], known["guidance_scale"]) == (["rodin", "mean person"], 2.5)
    for row in read_rows(copy, "evaluate"):
        each = store.read(row["subject"], "measures")[known["methods"].index(row["method"])]
        assert each.shape == (len(known["compared"]), len(known["measures"]))
        for name, column in zip(known["measures"], each.T, strict=True):
            assert row[name] == pytest.approx(column.mean(dtype=np.float64), rel=1e-5)
    (kept,) = pictures_by_scale(copy.path, "evaluate").values()
    assert kept.subjects == HELD_OUT
    assert kept.person_means("psnr") == pytest.approx(
        {row["subject"]: row["psnr"] for row in read_rows(copy, "evaluate") if row["method"] == "rodin"}, rel=1e-6
    )


def test_a_subjects_views_are_read_once_for_all_its_avatars(avatars, trained, monkeypatch):
    views, reads = Shards(trained.stage("render"), "views"), []
    real = Shards.read
    monkeypatch.setattr(Shards, "read", lambda self, *what, **how: reads.append(what[:2]) or real(self, *what, **how))
    compare, planes = ViewComparison(avatars, views, 4), torch.zeros(3, 4, 16, 16)
    first = compare.each(HELD_OUT[0], planes)[0]
    again = compare.each(HELD_OUT[0], planes)[0]
    compare.each(HELD_OUT[1], planes)
    assert [what for what in reads if what[1] == "rgba"] == [(HELD_OUT[0], "rgba"), (HELD_OUT[1], "rgba")]
    assert np.array_equal(first, again)


def test_the_haze_of_planes_that_all_are_compared_with_is_measured_once(avatars, trained, monkeypatch):
    measured = []
    real = comparison.avatar_haze
    monkeypatch.setattr(comparison, "avatar_haze", lambda *what: measured.append(float(what[1].sum())) or real(*what))
    compare = ViewComparison(avatars, Shards(trained.stage("render"), "views"), 2)
    mean, *others = avatars.planes(avatars.latents_unconditional([1, 2, 3]), [1, 2, 3], 1.5)
    people = zip(HELD_OUT[:2], others, strict=True)
    found = [[compare(person, planes)[0]["haze"] for planes in (mean, own)] for person, own in people]
    assert len(measured) == 1 + len(others)
    assert [one for one, _ in found] == [real(avatars, mean)] * len(others)
    assert [one for _, one in found] == [real(avatars, own) for own in others]
    for seed in range(3):  # each where the one before lay in memory
        compare.summary(np.zeros((1, len(compare.measures))), torch.full((3, 4, 16, 16), seed / 10))
    assert len(measured) == 4 + len(others)
    assert len(compare._haze) == 1 + len(others)


def test_many_views_are_compared_as_few_at_once(avatars, trained, monkeypatch):
    views = Shards(trained.stage("render"), "views")
    planes = avatars.planes(avatars.latents_unconditional([1]), [1], 1.5)[0]
    whole = ViewComparison(avatars, views, 7).each(HELD_OUT[0], planes)[0]
    monkeypatch.setattr("rodin.evaluation.comparison.AT_ONCE", 3)
    assert np.array_equal(ViewComparison(avatars, views, 7).each(HELD_OUT[0], planes)[0], whole)


def test_an_equal_picture_has_a_finite_psnr(avatars, trained):
    compare = ViewComparison(avatars, Shards(trained.stage("render"), "views"), 2)
    same = np.full((2, 16, 16, 4), 255, np.uint8)
    assert compare._measured(same, same)[:, 0].tolist() == [MOST_PSNR, MOST_PSNR]


def test_the_runs_own_scale_is_measured_by_one_of_both_stages_alone(copy, monkeypatch):
    given = {"scale": 1.0, "hooks": Hooks()}
    parts = CONFIG.shards("sweep-cfg") // 2
    size = CONFIG.sweeps.shard_subjects
    measure_shard(copy, "evaluate", 0, HELD_OUT[:size], avatars=Avatars(AT_ONE, copy, CPU), baselines={}, **given)
    drawn = []
    real = Avatars.planes
    monkeypatch.setattr(Avatars, "planes", lambda self, *what: drawn.append(what[2]) or real(self, *what))
    guidance.run(AT_ONE, copy, 0, Hooks())
    assert drawn == []
    ours, theirs = (read_rows(copy, name) for name in ("sweep-cfg", "evaluate"))
    assert [row["psnr"] for row in ours] == [row["psnr"] for row in theirs]
    assert {row["stage"] for row in ours} == {"sweep-cfg"}
    assert all(row["guidance_scale"] == 1.0 and "method" not in row for row in ours)
    guidance.run(AT_ONE, copy, parts, Hooks())  # the other scale
    assert set(drawn) == {3.0}
    by_scale = pictures_by_scale(copy.path)
    assert sorted(by_scale) == [1.0, 3.0]
    assert not np.array_equal(by_scale[1.0].values, by_scale[3.0].values)


def test_measures_of_other_views_are_not_taken_over(copy, monkeypatch):
    fewer = AT_ONE.model_copy(update={"evaluate": AT_ONE.evaluate.model_copy(update={"views": 3})})
    own = HELD_OUT[: CONFIG.sweeps.shard_subjects]
    measure_shard(copy, "evaluate", 0, own, avatars=Avatars(fewer, copy, CPU), baselines={}, scale=1.0, hooks=Hooks())
    guidance.run(AT_ONE, copy, 0, Hooks())
    assert len(pictures_by_scale(copy.path)[1.0].compared) != 3


def test_the_counterpart_holds_the_same_part_of_the_people():
    parts = CONFIG.shards("sweep-cfg") // 2
    assert counterpart(AT_ONE, "evaluate", 0, 1.0) == ("sweep-cfg", 0)
    assert counterpart(AT_ONE, "evaluate", 0, 3.0) == ("sweep-cfg", parts)
    assert counterpart(AT_ONE, "evaluate", 0, 2.0) is None
    assert counterpart(AT_ONE, "sweep-cfg", parts, 3.0) is None
    assert counterpart(AT_ONE, "sweep-convolution", 0, 1.0) is None
