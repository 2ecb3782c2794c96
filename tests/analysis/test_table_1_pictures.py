"""Table 1 out of the measures of each picture, by hand; old runs; cells without a value; intervals in their range."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.results.pictures import Pictures, pictures_by_scale
from analysis.results.statistics import RANGES, mean_interval
from analysis.tables.layout import comma_separated, grid, latex, markdown
from analysis.tables.tables import table
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
) -> None:
    folder = RunFolder(run)
    known = {"guidance_scale": scale, "methods": ["mean person", "rodin"], "measures": ["psnr", "ssim"]}
    shapes = {"rgba": (1, 1, 1, 4), "measures": (2, 3, 2)}
    attributes = known | {"compared": list(compared)}
    with ShardWriter(folder.stage("sweep-cfg"), shard, "samples", list(people), shapes, attributes) as writer:
        for subject, values in people.items():
            each = np.zeros((2, 3, 2))
            each[1] = np.stack([values, np.array(values) / 100], axis=1)
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


def test_where_the_given_view_alone_is_compared_there_is_no_mean_of_others():
    kept = Pictures(["a"], [0], ["psnr"], np.full((1, 1, 1), 20, np.float32))
    assert kept.person_means("psnr") == {"a": 20.0}
    assert kept.person_means("psnr", but_given=True) == kept.person_means("lpips") == {}


def test_people_without_kept_pictures_keep_their_rows(empty_run: Path):
    write(empty_run, 0, 1.5, {"a": PSNR["a"]})
    row = {"stage": "sweep-cfg", "guidance_scale": 1.5, "psnr": 40.0, "ssim": 0.1, "lpips": None, "subject": "old"}
    write_rows(RunFolder(empty_run), "sweep-cfg", 7, [row])
    assert table(empty_run, "1")[2]["psnr"] == pytest.approx((20 + 40) / 2)


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
