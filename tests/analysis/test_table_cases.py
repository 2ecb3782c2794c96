"""Tables of runs with several views a subject, unequal subjects, gaps and rows out of order."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from analysis.results.rows import results
from analysis.tables.costs import by_value, hardware
from analysis.tables.memorisation import similarity_limit
from analysis.tables.tables import table
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder


def write(run: Path, name: str, rows: Iterable[dict[str, Any]], stage: str = "") -> None:
    write_rows(RunFolder(run), name, 0, [{"stage": stage or name} | row for row in rows])


def measured(subject: str, psnr: float, ssim: float = 0.5, lpips: float | None = None) -> dict[str, Any]:
    return {"subject": subject, "psnr": psnr, "ssim": ssim, "lpips": lpips}


def test_views_are_averaged_before_subjects(empty_run: Path):
    rows = [measured("a", 10), measured("a", 20), measured("a", 30), measured("b", 40, lpips=0.3), measured("c", 60)]
    write(empty_run, "sweep-cfg", [row | {"guidance_scale": 1.5} for row in rows])
    row = table(empty_run, "1")[2]
    assert (row["subjects"], row["psnr"]) == (3, 40)
    assert row["psnr_high"] == pytest.approx(
        40 + 4.302653 * 20 / math.sqrt(3), abs=1e-2
    )  # of 20, 40 and 60, not of views
    assert row["lpips"] is None  # two of the subjects lack it
    assert "it was not measured" in row["missing_lpips"]


def test_gains_are_over_the_subjects_that_both_have(empty_run: Path):
    rows = [
        {"method": "rodin", "guidance_scale": 1.5} | measured("a", 20, 0.5),
        {"method": "rodin", "guidance_scale": 1.5} | measured("b", 22, 0.7),
        {"method": "rodin", "guidance_scale": 1.5} | measured("c", 99, 0.9),
        {"method": "mean person"} | measured("a", 18, 0.6),
        {"method": "mean person"} | measured("b", 21, 0.75),
        {"method": "mean person"} | measured("d", 0, 0.1),
        {"method": "nearest person"} | measured("a", 21, 0.5),
    ]
    write(empty_run, "evaluate", rows)
    ours, mean, nearest = table(empty_run, "reconstruction")
    assert (ours["guidance_scale"], ours["gain_psnr"], ours["subjects"]) == (1.5, None, 3)
    assert (mean["gain_psnr"], mean["gain_psnr_subjects"], mean["subjects"]) == (1.5, 2, 3)
    assert mean["gain_ssim"] == pytest.approx(-0.075)
    assert (nearest["gain_psnr"], nearest["gain_psnr_low"]) == (-1, None)
    verdict = ours["note"].splitlines()[0]
    assert verdict.startswith("2 people are too few to tell, 3 are wanted at least: +1.50 dB over the mean person, ")
    assert verdict.endswith("−1.00 dB over the nearest person in PSNR, person by person")


def test_a_sure_verdict_has_no_doubt(empty_run: Path):
    methods = {"rodin": 5.0, "mean person": 3.0, "nearest person": 1.0}
    rows = [{"method": name} | measured(str(one), psnr) for name, psnr in methods.items() for one in range(3)]
    write(empty_run, "evaluate", rows)
    verdict = table(empty_run, "reconstruction")[0]["note"].splitlines()[0]
    assert verdict.startswith(
        "Rodin beats the mean person and the nearest person in PSNR: +2.00 dB [+2.00, +2.00] over "
    )
    assert verdict.endswith("3 people")


def test_fits_name_their_worst(empty_run: Path):
    values = {"a": (25, 3), "b": (21, 1), "c": (29, 8), "d": (40, 2)}
    write(empty_run, "fit", [{"subject": name, "psnr": psnr, "seconds": time} for name, (psnr, time) in values.items()])
    quality, time = table(empty_run, "fit")
    assert [quality[key] for key in ("least", "median", "most", "mean", "subjects")] == [21, 27, 40, 28.75, 4]
    assert [time[key] for key in ("least", "median", "most", "mean")] == [1, 2.5, 8, 3.5]
    assert quality["note"] == "least well fitted: person b with 21.00 dB"


def test_haze_is_shown_in_per_cent_where_it_was_measured(empty_run: Path):
    row = {"psnr": 25.0, "seconds": 1.0}
    write(empty_run, "fit", [{"subject": "a", "haze": 0.004} | row, {"subject": "b", "haze": 0.002} | row])
    _, beside, _ = table(empty_run, "fit")
    assert (beside["key"], beside["least"], beside["most"]) == ("haze", 0.2, 0.4)
    assert beside["mean"] == pytest.approx(0.3)
    rows = [{"method": "rodin", "haze": share} | measured(str(share), 20) for share in (0.01, 0.02)]
    write(empty_run, "evaluate", [*rows, {"method": "mean person"} | measured("c", 20)])
    ours, mean = table(empty_run, "reconstruction")
    assert ours["haze"] == pytest.approx(1.5)
    assert "haze" not in mean


def test_timings_count_tasks_once_and_end_with_the_total(empty_run: Path):
    for name, shards in (("sample", [(0, 5.0), (0, 7.0), (1, 6.0)]), ("render", [(0, 1.0)]), ("my-stage", [(0, 2.0)])):
        rows = [{"shard": shard, "seconds": seconds, "peak_rss_mb": None} for shard, seconds in shards]
        write(empty_run, f"timing-{name}", rows, "timing")
    rows = table(empty_run, "timings")
    assert [row["name"] for row in rows] == ["render", "sample", "my-stage", "all stages"]
    assert [row["tasks"] for row in rows] == [1, 2, 1, 4]
    assert [row["seconds"] for row in rows] == [1, 18, 2, 21]
    assert [row["longest_seconds"] for row in rows] == [1, 7, 2, 7]
    assert rows[-1]["peak_rss_mb"] is None


def test_a_resumed_training_counts_whole_and_hours_are_of_all_devices(empty_run: Path):
    timed = {"peak_rss_mb": None, "seconds": 900.0, "paced_seconds": 3600.0}
    write(empty_run, "timing-base", [timed | {"shard": 0, "ranks": 2, "cpus": 4, "gpus": 1}], "timing")
    write(empty_run, "timing-fit", [timed | {"shard": 0, "ranks": 1, "cpus": 2, "gpus": 0}], "timing")
    fit, base, total = table(empty_run, "timings")
    assert (fit["name"], base["seconds"], base["longest_seconds"]) == ("fit", 3600.0, 3600.0)
    assert [(row["cpu_hours"], row["gpu_hours"]) for row in (fit, base, total)] == [(2, 0), (8, 2), (10, 2)]
    machines = [
        {"device": "H200", "ranks": 2, "gpus": 4, "cpus": 8},
        {"device": "EPYC", "ranks": 1, "gpus": 0, "cpus": 2},
    ]
    write(empty_run, "timing-clip", [timed | {"shard": n} | one for n, one in enumerate(machines)], "timing")
    assert hardware(empty_run) == "8 × H200, 2 × EPYC"
    write(empty_run, "timing-clip", [timed | {"shard": 0, "device": 7}], "timing")
    assert hardware(empty_run) == ""
    RunFolder(empty_run).results.joinpath("timing-clip-00000.jsonl").unlink()
    write(empty_run, "timing-embed", [{"shard": 0, "seconds": 3.0}], "timing")  # timed by an earlier rodin
    rows = table(empty_run, "timings")
    assert {(row["cpu_hours"], row["gpu_hours"]) for row in rows} == {(None, None)}


def test_times_of_stages_that_another_run_made_are_told_apart(empty_run: Path):
    taken = {"seconds": 8.0, "peak_rss_mb": 1.0, "taken_from": "runs/other"}
    write(empty_run, "timing-fit", [{"shard": 0} | taken, {"shard": 1} | taken], "timing")
    write(empty_run, "timing-base", [{"shard": 0, "seconds": 3.0, "peak_rss_mb": 2.0}], "timing")
    *_, total = table(empty_run, "timings")
    assert total["seconds"] == 19.0
    assert "taken over from runs/other, with the times there: fit\nmade by this run itself: 3.0 s" in total["note"]
    write(empty_run, "timing-fit", [{"shard": 0, "seconds": 5.0, "peak_rss_mb": 1.0}], "timing")
    assert "taken" not in table(empty_run, "timings")[-1]["note"]


def test_losses_are_read_in_order_of_steps(empty_run: Path):
    write(empty_run, "base", [{"step": step, "loss": 1 / step} for step in range(40, 0, -1)])
    (row,) = table(empty_run, "losses")
    assert (row["steps"], row["first_loss"]) == (40, 1)
    assert row["last_loss"] == pytest.approx(sum(1 / step for step in (37, 38, 39, 40)) / 4)


def test_sweeps_stand_in_order_of_what_is_swept(empty_run: Path):
    rows = [{"subject": "a", "value": value, "psnr": float(value), "megabytes": value / 2} for value in (12, 3, 6)]
    write(empty_run, "sweep-views", rows)
    assert [row["value"] for row in by_value(empty_run, "sweep-views")] == [3, 6, 12]
    found = table(empty_run, "views")
    assert [(row["views"], row["psnr"], row["megabytes"], row["gain_over_last"]) for row in found] == [
        (3, 3, 1.5, None), (6, 6, 3, 3), (12, 12, 6, 6),
    ]  # fmt: skip
    assert found[0]["seconds"] is None


def test_each_sweep_has_its_own_table(full_run: Path):
    assert [row["tri-plane resolution"] for row in table(full_run, "resolution")] == [16, 32, 64]
    assert [row["views"] for row in table(full_run, "views")] == [6, 12, 21]


def test_the_convolutions_ssim(full_run: Path):
    assert [(row["ssim"], row["alone_ssim"]) for row in table(full_run, "convolution")] == [
        (pytest.approx(0.8), pytest.approx(0.9))
    ] * 4


def test_neighbours_stand_by_sample_nearest_first(empty_run: Path):
    rows = [
        {"sample": "b", "neighbours": ["3", "4", "5"], "similarity": [0.9, 0.8, 0.7]},
        {"sample": "a", "neighbours": ["1"], "similarity": [0.6]},
    ]
    write(empty_run, "evaluate", rows, "neighbours")
    found = [
        [row[key] for key in ("sample", "nearest", "similarity", "others")] for row in table(empty_run, "neighbours")
    ]
    assert found == [["a", "1", 0.6, ""], ["b", "3", 0.9, "4, 5"]]


@pytest.mark.parametrize(("neighbours", "similarity"), [([], []), (["1"], [0.5, 0.4]), (["1", "2"], [0.5])])
def test_unequal_neighbours_are_refused(empty_run: Path, neighbours: list[str], similarity: list[float]):
    write(empty_run, "evaluate", [{"sample": "a", "neighbours": neighbours, "similarity": similarity}], "neighbours")
    with pytest.raises(ValueError, match="'neighbours' row 1"):
        table(empty_run, "neighbours")


def test_prompts_lack_a_ceiling_that_is_not_wholly_known(empty_run: Path):
    row = {"prompt": "p", "sample": "s", "wanted": "red"}
    prompts = [row | {"attribute": "hair", "measured": "red", "hit": True}] * 3
    prompts += [row | {"attribute": "shirt", "measured": "blue", "hit": False}]
    rows = [{"stage": "prompts"} | one for one in prompts]
    rows += [{"stage": "prompts-check", "attribute": "hair", "accuracy": 0.9}]
    write_rows(RunFolder(empty_run), "evaluate", 0, rows)
    everything, hair, shirt = table(empty_run, "prompts")
    assert (everything["ceiling"], hair["ceiling"], shirt["ceiling"]) == (None, 0.9, None)
    assert (everything["chance"], hair["chance"], shirt["chance"]) == (0.75, 1, 0)
    assert everything["hit_rate_low"] < everything["hit_rate"] == 0.75 < everything["hit_rate_high"]
    assert hair["hit_rate_high"] == 1


def test_the_limit_of_similarity_leaves_one_in_twenty_over_it():
    people = [{"similarity": number / 100} for number in range(100)]
    assert similarity_limit(people) == 0.94
    assert similarity_limit(people[:19]) == 0.18
    assert similarity_limit([]) is None


def test_copies_without_people_never_seen_have_no_limit(empty_run: Path):
    row = {"set": "samples", "name": "a", "nearest": "000000", "similarity": 0.9, "step": 5}
    write(empty_run, "evaluate", [row | {"clip_ratio": 0.2, "picture_ratio": 0.5}], "memorisation")
    (line,) = table(empty_run, "memorisation")
    assert (line["clip_copies"], line["picture_copies"], line["over_limit"]) == (1, 0, None)
    assert "base.keep_averages=true" in line["note"]


def test_the_interval_of_a_ratio_ends_at_one(empty_run: Path):
    row = {"set": "samples", "nearest": "000000", "similarity": 0.9, "step": 5}
    rows = [row | {"name": str(n), "clip_ratio": one, "picture_ratio": one} for n, one in enumerate([0.5, 1.0, 1.0])]
    write(empty_run, "evaluate", rows, "memorisation")
    (line,) = table(empty_run, "memorisation")
    assert line["clip_ratio_high"] == line["picture_ratio_high"] == 1.0


def test_a_run_evaluated_before_copies_were_looked_for_says_how_to_look(empty_run: Path):
    with pytest.raises(ValueError, match="no 'memorisation' rows"):
        table(empty_run, "memorisation")
    write(empty_run, "evaluate", [{"x": 1}], "frechet")
    with pytest.raises(ValueError, match=r"earlier rodin; move .*evaluate elsewhere, then run stage 'evaluate'"):
        table(empty_run, "memorisation")


def test_attributes_without_a_colour_and_a_measure_that_learned_nothing(empty_run: Path):
    row = {"stage": "prompts", "prompt": "a man", "sample": "s", "attribute": "hat", "control": False, "pair": 0}
    check = {"stage": "prompts-check", "attribute": "beard", "accuracy": None, "with_it": 1, "without_it": 7}
    rows = [row | {"wanted": "yes", "measured": "yes", "hit": True, "counted": True}, check | {"counted": False}]
    write_rows(RunFolder(empty_run), "evaluate", 0, rows)
    hat, beard = table(empty_run, "prompts")
    assert (hat["hits"], hat["hit_rate"], hat["ceiling"], hat["unasked"]) == (1, 1, None, None)
    assert (beard["prompts"], beard["hits"], beard["ceiling"]) == (0, None, None)
    reason = "beard: not counted, as its measure cannot be learned, tried on 1 people with and 7 without"
    assert hat["note"].splitlines()[-1].startswith(reason)


@pytest.mark.parametrize(
    ("name", "words"),
    [("clip-retrieval", "stage 'clip'"), ("fit", "stage 'index'"), ("sweep-cfg", "stage 'sweep-cfg'"),
     ("sweep-views", "`rodin sweep views --run")],
)  # fmt: skip
def test_missing_rows_name_what_makes_them(empty_run: Path, name: str, words: str):
    with pytest.raises(ValueError, match=words):
        results(empty_run, name, name, {})


@pytest.mark.parametrize(("value", "kind"), [(True, int), (True, float), ("1", int), (1.5, int), (1, str), (1, bool)])
def test_a_value_of_another_type_is_refused(empty_run: Path, value: Any, kind: type):
    write(empty_run, "base", [{"x": value}])
    with pytest.raises(ValueError, match=r"'base' row 1 has x="):
        results(empty_run, "base", "base", {"x": kind})


def test_rows_of_other_stages_are_left_out(empty_run: Path):
    write_rows(RunFolder(empty_run), "evaluate", 0, [{"stage": "frechet", "x": 1}, {"stage": "prompts", "x": 2}])
    assert [row["x"] for row in results(empty_run, "evaluate", "prompts", {"x": int})] == [2]
