"""Table 1 out of the measures of each picture, by hand; old runs; cells without a value; intervals in their range."""

import csv
import io
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from scipy import stats

from analysis.results.pictures import Pictures, pictures_by_scale
from analysis.results.statistics import RANGES, mean_interval
from analysis.tables.layout import comma_separated, grid, latex, markdown
from analysis.tables.table_1 import OTHER_VIEWS
from analysis.tables.tables import table
from rodin.store import manifest
from rodin.store.errors import StoreError
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

PSNR = {"a": [10.0, 20.0, 30.0], "b": [12.0, 22.0, 32.0], "c": [14.0, 24.0, 34.0]}


def write(
    run: Path,
    shard: int,
    scale: float,
    people: dict[str, list[float]],
    psnr: float = 1.0,
    compared: tuple[int, ...] = (0, 5, 9),
    measures: tuple[str, ...] = ("psnr", "ssim"),
) -> None:
    folder = RunFolder(run)
    known = {"guidance_scale": scale, "methods": ["mean person", "rodin"], "measures": list(measures)}
    shapes = {"rgba": (1, 1, 1, 4), "measures": (2, 3, len(measures))}
    attributes = known | {"compared": list(compared)}
    with ShardWriter(folder.stage("sweep-cfg"), shard, "samples", list(people), shapes, attributes) as writer:
        for subject, values in people.items():
            each = np.zeros((2, 3, len(measures)))
            each[1] = np.stack([values, *[np.array(values) / 100] * (len(measures) - 1)], axis=1)
            writer.add(subject, rgba=np.zeros((1, 1, 1, 4), np.uint8), measures=each)
        writer.publish()
    row = {"stage": "sweep-cfg", "guidance_scale": scale, "psnr": psnr, "ssim": 0.1, "lpips": None}
    write_rows(folder, "sweep-cfg", shard, [row | {"subject": subject} for subject in people])


def test_means_come_from_the_pictures_and_those_of_all_parts(empty_run: Path):
    write(empty_run, 0, 1.5, {name: PSNR[name] for name in "ab"})
    write(empty_run, 1, 1.5, {"c": PSNR["c"]})
    line = table(empty_run, "1")[2]
    assert (line["subjects"], line["pictures"], line["psnr"]) == (3, 3, pytest.approx(22))
    assert line["psnr_low"] == pytest.approx(22 - 4.968276, abs=1e-5)  # of 20, 22, 24
    assert line["other_views_psnr"] == pytest.approx(27)  # without view 0
    assert line["ssim"] == pytest.approx(0.22)
    assert line["difference_psnr"] == pytest.approx(22 - 24.07)
    assert line["lpips"] is line["difference_lpips"] is line["other_views_lpips"] is None


def test_parts_that_compare_other_views_are_not_mixed(empty_run: Path):
    few, many = {"a": PSNR["a"]}, {"b": PSNR["b"], "c": PSNR["c"]}
    for scale, first, second in ((1.2, few, many), (1.5, many, few), (3.0, few, {"c": PSNR["c"]})):
        write(empty_run, int(10 * scale), scale, first)
        write(empty_run, int(10 * scale) + 1, scale, second, compared=(0, 1, 2))
    found = {scale: (one.subjects, one.compared) for scale, one in pictures_by_scale(empty_run).items()}
    assert found == {1.2: (["b", "c"], [0, 1, 2]), 1.5: (["b", "c"], [0, 5, 9]), 3.0: (["a"], [0, 5, 9])}


def test_parts_measured_before_and_after_lpips_are_not_mixed(empty_run: Path):
    """The weights of LPIPS may be fetched between two parts of a sweep: only the second then measures it."""
    write(empty_run, 0, 1.5, {"a": PSNR["a"]})
    write(empty_run, 1, 1.5, {"b": PSNR["b"], "c": PSNR["c"]}, measures=("psnr", "ssim", "lpips"))
    kept = pictures_by_scale(empty_run)[1.5]
    assert (kept.subjects, kept.measures) == (["b", "c"], ["psnr", "ssim", "lpips"])
    line = table(empty_run, "1")[2]
    assert (line["subjects"], line["psnr"]) == (3, pytest.approx((1 + 22 + 24) / 3))
    assert line["lpips"] is None
    assert "it was not measured" in line["missing_lpips"]


def test_parts_without_people_or_without_measures_have_no_pictures(empty_run: Path):
    """A part has no people where they were lost on the way; one of an older version has no measures."""
    folder = RunFolder(empty_run)
    write(empty_run, 0, 1.5, PSNR)
    manifest.publish(folder.manifest("sweep-cfg", 1), {"files": {}})
    with ShardWriter(folder.stage("sweep-cfg"), 2, "samples", ["old"], {"rgba": (1, 1, 1, 4)}, {}) as writer:
        writer.add("old", rgba=np.zeros((1, 1, 1, 4), np.uint8))
        writer.publish()
    assert pictures_by_scale(empty_run)[1.5].subjects == list(PSNR)
    assert table(empty_run, "1")[2]["psnr"] == pytest.approx(22)


def test_the_given_view_is_known_by_its_number_not_its_place():
    values = np.array([[[10], [30], [80]]], np.float32)
    assert Pictures(["a"], [5, 0, 9], ["psnr"], values).person_means("psnr", but_given=True) == {"a": 45.0}
    assert Pictures(["a"], [3, 5, 9], ["psnr"], values).person_means("psnr", but_given=True) == {"a": 40.0}


def test_where_the_given_view_alone_is_compared_there_is_no_mean_of_others():
    kept = Pictures(["a"], [0], ["psnr"], np.full((1, 1, 1), 20, np.float32))
    assert kept.person_means("psnr") == {"a": 20.0}
    assert kept.person_means("psnr", but_given=True) == kept.person_means("lpips") == {}


def test_people_without_kept_pictures_keep_their_rows(empty_run: Path):
    write(empty_run, 0, 1.5, {"a": PSNR["a"]})
    row = {"stage": "sweep-cfg", "guidance_scale": 1.5, "psnr": 40.0, "ssim": 0.1, "lpips": None, "subject": "old"}
    write_rows(RunFolder(empty_run), "sweep-cfg", 7, [row])
    line = table(empty_run, "1")[2]
    assert line["psnr"] == pytest.approx((20 + 40) / 2)
    assert line["other_views_psnr"] is None  # of one of both: it would stand beside a mean of other people


def test_a_scale_that_the_paper_lacks_has_a_column_without_its_numbers(empty_run: Path):
    write(empty_run, 0, 2.0, PSNR)
    rows = table(empty_run, "1")
    assert [row["guidance_scale"] for row in rows] == [1.0, 1.2, 1.5, 2.0, 3.0, 6.0]
    assert (rows[3]["name"], rows[3]["psnr"]) == ("2.0", pytest.approx(22))
    assert rows[3]["paper_psnr"] is rows[3]["difference_psnr"] is None
    lines = grid(rows).lines
    assert [line[5] for line in lines[:2]] == ["22.00 [17.03, 26.97]", "—"]
    (pictures,) = (line for line in lines if line[0] == "pictures of each")
    assert pictures[2:] == ["—", "—", "—", "3", "—", "—"]


def test_means_of_other_views_end_where_the_measure_does_and_are_explained(empty_run: Path):
    write(empty_run, 0, 1.5, {"a": [0, 100, 100], "b": [0, 100, 100], "c": [0, 40, 40]}, compared=(0, 1, 2))
    rows = table(empty_run, "1")
    assert (rows[2]["other_views_ssim"], rows[2]["other_views_ssim_high"]) == (pytest.approx(0.8), 1.0)
    assert OTHER_VIEWS in grid(rows).notes


def test_a_run_without_kept_pictures_has_no_line_of_other_views(full_run: Path):
    assert OTHER_VIEWS not in grid(table(full_run, "1")).notes


def test_the_command_for_a_scale_keeps_those_that_the_run_has(empty_run: Path):
    """It takes the sweep away and makes it again: a scale that it left out would be lost."""
    folder = RunFolder(empty_run)
    record = tomllib.loads(folder.config_file.read_text(encoding="utf-8"))
    record["config"]["sweeps"]["guidance_scales"] = [3.0, 1.0, 2.5]
    folder.config_file.write_text(tomli_w.dumps(record), encoding="utf-8")
    write(empty_run, 0, 3.0, PSNR)
    rows = {row["guidance_scale"]: row for row in table(empty_run, "1")}
    assert f"`rm -r {folder.stage('sweep-cfg')}; rodin run {folder.config_file} " in rows[6.0]["missing_psnr"]
    assert "--set 'sweeps.guidance_scales=[1,2.5,3,6]'`" in rows[6.0]["missing_psnr"]
    assert "not measured yet" in rows[1.0]["missing_psnr"]
    stages = " ".join(str(folder.stage(name)) for name in ("sweep-cfg", "evaluate", "report"))
    assert f"`rm -r {stages}`" in rows[3.0]["missing_lpips"]


def test_a_damaged_shard_is_one_clear_line(empty_run: Path):
    write(empty_run, 0, 1.5, PSNR)
    path = RunFolder(empty_run).shard("sweep-cfg", 0)
    data = bytearray(path.read_bytes())
    place = data.find(np.array([10.0, 0.1], "<f4").tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match="damaged"):
        pictures_by_scale(empty_run)


def test_cells_without_a_value_name_the_command_in_every_format(full_run: Path, empty_run: Path):
    rows = table(full_run, "1")
    shown = grid(rows)
    psnr, lpips = (next(line for line in shown.lines if line[0].startswith(name)) for name in ("PSNR", "LPIPS"))
    assert psnr[-1] == "—²"
    assert lpips[2:] == ["—¹"] * 4 + ["—²"]
    assert shown.notes[0].startswith("¹ LPIPS is —")
    assert "`rodin run " in shown.notes[0]
    assert "sweeps.guidance_scales=[" in shown.notes[1] or "not measured yet" in shown.notes[1]
    assert "6" in shown.notes[1]
    assert "—¹" in markdown(shown)
    assert "---$^1$" in latex(shown)
    lines = list(csv.DictReader(io.StringIO(comma_separated(rows))))
    assert "`rodin run " in lines[4]["missing_psnr"]
    assert lines[0]["missing_psnr"] == ""
    assert all(shown.numeric[2:])


def test_difference_is_printed_with_its_sign(full_run: Path):
    (line,) = (line for line in grid(table(full_run, "1")).lines[:4] if line[1] == "ours − paper")
    assert line[2:] == ["−2.06", "−2.21", "−2.07", "−4.05", "—"]


def test_an_interval_ends_where_the_measure_does():
    assert mean_interval([0.9, 1.0, 0.98], RANGES["ssim"]).high == 1.0
    assert mean_interval([0.01, 0.2, 0.02], RANGES["lpips"]).low == 0.0
    found = mean_interval([0.01, 0.2, 0.02])
    assert found.low is not None
    assert found.low < 0


def test_a_bootstrap_over_many_people_has_the_same_interval():
    values = -np.random.default_rng(0).gamma(2, 1, 400)
    wanted = stats.bootstrap((values,), np.mean, method="BCa", n_resamples=2000, random_state=0).confidence_interval
    wanted = wanted() if callable(wanted) else wanted
    found = mean_interval(values.tolist())
    width = wanted.high - wanted.low
    assert found.low == pytest.approx(wanted.low, abs=0.05 * width)
    assert found.high == pytest.approx(wanted.high, abs=0.05 * width)
