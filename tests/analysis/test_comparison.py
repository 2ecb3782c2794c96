"""Runs side by side: differences person by person against hand-computed ones, who is the same person, bad input."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_graph import write_views
from PIL import Image
from scipy import stats

from analysis.figures.comparison import arrangement
from analysis.results.comparison import Compared, compare, configs_of, runs_of
from analysis.results.statistics import difference_of_rates, paired_rates, rate_interval
from analysis.tables.comparison import cell, comparison_rows, comparison_text
from jobs.cli.app import status_of
from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder
from rodin.store.shards.writer import ShardWriter

T_2 = 4.302652729911275  # Student's t, 0.975, two degrees of freedom, from a printed table


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("jobs.run.record.code_version", lambda: {"version": "0"})


def make(
    name: str, psnr: list[float], first: int = 4, changes: tuple[str, ...] = (), seconds: float = 5.0, drawn: str = "x"
) -> Path:
    """A run that measured people from id `first` on."""
    run = RunFolder(Path(name))
    write_config(run, preset("tiny", changes))
    rows = [
        {"stage": "evaluate", "subject": f"{first + place:06d}", "method": method, "psnr": value + plus, "ssim": 0.5}
        | {"lpips": None, "guidance_scale": 1.5, "haze": 0.01 * (place + 1)}
        for place, value in enumerate(psnr)
        for method, plus in (("rodin", 0.0), ("mean person", 9.0))
    ]
    rows += [
        {"stage": "prompts", "prompt": f"p{place}", "attribute": "hair", "wanted": "red", "measured": "red"}
        | {"hit": place < len(psnr) - 1, "sample": f"{drawn}-{place}"}
        for place in range(4)
    ]
    write_rows(run, "evaluate", 0, rows)
    for shard, scale in enumerate((1.0, 3.0)):
        people = [
            {"stage": "sweep-cfg", "subject": f"{first + place:06d}", "guidance_scale": scale, "psnr": value - scale}
            | {"ssim": 0.5, "lpips": 0.1}
            for place, value in enumerate(psnr)
        ]
        write_rows(run, "sweep-cfg", shard, people)
    taken = {"taken_from": "elsewhere"} if seconds > 5 else {}
    times = {"stage": "timing", "name": "fit", "shard": 0, "seconds": seconds, "peak_rss_mb": 100.0}
    write_rows(run, "timing-fit", 0, [times | taken])
    resumed = {"name": "base", "seconds": 0.5, "paced_seconds": 2.0, "peak_rss_mb": 90.0}  # the times of all its work
    write_rows(run, "timing-base", 0, [times | resumed])
    return run.path


def one(found: list[Compared], measure: str, run: str) -> Compared:
    (row,) = [row for row in found if (row.measure.name, row.run) == (measure, run)]
    return row


def test_differences_are_taken_person_by_person():
    make("a", [20.0, 22.0, 24.0])
    make("b", [21.0, 22.5, 24.3], seconds=7.0)
    found = compare(runs_of([Path("a"), Path("b")]))
    here = one(found, "reconstruction.psnr", "b")
    # differences 1, 0.5, 0.3: mean 0.6, standard deviation sqrt(0.13), of the mean sqrt(0.13 / 3)
    half = T_2 * math.sqrt(0.13 / 3)
    assert here.difference is not None
    assert here.value is not None
    assert (here.difference.mean, here.difference.low, here.difference.high) == pytest.approx(
        (0.6, 0.6 - half, 0.6 + half)
    )
    assert (here.shared, here.paired, here.value.mean) == (3, True, pytest.approx(22.6))
    base = one(found, "reconstruction.psnr", "a")
    assert base.difference is None
    assert base.value is not None
    assert base.value.low == pytest.approx(22.0 - T_2 * 2 / math.sqrt(3))
    scale = one(found, "table-1.psnr.3", "b")
    assert scale.difference == here.difference
    assert scale.value is not None
    assert scale.value.mean == pytest.approx(19.6)
    haze = one(found, "reconstruction.haze", "a").value
    assert haze is not None
    assert haze.mean == pytest.approx(2.0)  # per cent
    assert haze.low == 0.0  # not 2 - 2.5: the interval ends where the measure ends
    assert all(row.measure.name != "reconstruction.lpips" for row in found)
    assert one(found, "table-1.lpips.1", "a").value is not None
    prompts = one(found, "prompts.colours", "a").value
    assert prompts is not None
    assert (prompts.mean, prompts.count) == (0.5, 4)
    costs = {name: one(found, f"costs.{name}", "b") for name in ("seconds", "own_seconds", "memory")}
    assert {name: row.value.mean for name, row in costs.items() if row.value} == {
        "seconds": 9.0,
        "own_seconds": 2.0,
        "memory": 100.0,
    }
    assert costs["seconds"].difference is not None
    assert costs["seconds"].difference.mean == 2.0


def test_the_first_run_named_is_what_others_are_compared_with():
    make("a", [20.0, 22.0, 24.0])
    make("b", [21.0, 22.5, 24.3])
    found = compare(runs_of([Path("b"), Path("a")]))
    here = one(found, "reconstruction.psnr", "a")
    assert here.difference is not None
    assert here.difference.mean == pytest.approx(-0.6)
    assert one(found, "reconstruction.psnr", "b").difference is None


def test_people_that_only_one_run_measured_are_left_out_of_the_difference():
    make("a", [20.0, 22.0, 24.0])
    make("b", [22.5, 24.3, 90.0], first=5)
    found = compare(runs_of([Path("a"), Path("b")]))
    here = one(found, "reconstruction.psnr", "b")
    assert here.difference is not None
    assert (here.shared, here.difference.mean) == (2, pytest.approx(0.4))
    text = comparison_text(["a", "b"], {}, found)
    assert "Reconstruction from one picture: b shares 2 people with a, of 3 and 3" in text


def test_without_shared_people_it_is_welch_and_says_so():
    make("a", [20.0, 22.0, 24.0])
    make("b", [21.0, 25.0, 25.5, 26.0], first=10)
    found = compare(runs_of([Path("a"), Path("b")]))
    here = one(found, "reconstruction.psnr", "b")
    ends = stats.ttest_ind([21.0, 25.0, 25.5, 26.0], [20.0, 22.0, 24.0], equal_var=False).confidence_interval(0.95)
    assert here.difference is not None
    assert (here.difference.low, here.difference.high) == pytest.approx((ends.low, ends.high))
    assert (here.shared, here.paired) == (0, False)
    text = comparison_text(["a", "b"], {}, found)
    assert "Reconstruction from one picture: b shares no people with a; the difference is between two groups" in text
    assert "unpaired" in text
    assert "of twenty such intervals one lacks 0 by chance alone" in text
    assert [row["paired"] for row in comparison_rows(found) if row["measure"] == "reconstruction.psnr"] == [None, False]


def test_a_difference_of_prompts_is_one_of_rates():
    make("a", [20.0])  # none of four prompts came out
    make("b", [20.0] * 5)  # all
    make("c", [20.0])
    make("d", [20.0] * 5, drawn="other")
    found = compare(runs_of([Path(name) for name in "abcd"]))
    rates = {run: one(found, "prompts.colours", run) for run in "bcd"}
    b, c, d = (rates[run].difference for run in "bcd")
    assert b == paired_rates([True] * 4, [False] * 4)
    assert c == paired_rates([False] * 4, [False] * 4)
    assert d == difference_of_rates(rate_interval(4, 4), rate_interval(0, 4))
    assert [(one.same, one.paired) for one in rates.values()] == [(False, True), (True, True), (False, False)]
    sure = "1.00  +1.00 [+0.31, +1.00]"  # by Student's t +1.00 to +1.00
    assert [cell(one) for one in rates.values()] == [sure, "0.00  same", f"{sure} unpaired"]


def test_an_id_is_the_same_person_only_if_the_traits_are():
    ids = [f"{number:06d}" for number in range(4, 7)]
    for name in ("a", "b", "c"):
        make(name, [20.0, 22.0, 24.0])
    write_views(Path("a/views"), 0, ids)
    write_views(Path("b/views"), 0, ids)
    shapes = {"rgba": (3, 4, 4, 4), "camera_to_world": (3, 4, 4), "intrinsics": (3, 4)}  # more views of 6 alone
    with ShardWriter(Path("c/views"), 0, "views", ids, shapes) as writer:
        for subject in ids:
            zeros = {
                name: np.zeros(shape, np.uint8 if name == "rgba" else np.float32) for name, shape in shapes.items()
            }
            number = int(subject) if subject == ids[-1] else 100 + int(subject)
            writer.add(subject, {"attributes": {"number": number}, "caption": "other words"}, **zeros)
        writer.publish()
    found = compare(runs_of([Path("a"), Path("b"), Path("c")]))
    assert one(found, "reconstruction.psnr", "b").shared == 3
    assert one(found, "reconstruction.psnr", "c").shared == 1
    assert one(found, "prompts.colours", "c").shared == 4


def test_only_keys_that_differ_are_shown():
    make("a", [20.0, 22.0], changes=("base.training.lr=0.5",))
    make("b", [20.0, 22.0], changes=("base.attention=[8, 4]",))
    runs = runs_of([Path("a"), Path("b")])
    assert configs_of(runs) == {
        "base.attention": {"a": [4], "b": [8, 4]},
        "base.training.lr": {"a": 0.5, "b": 0.001},
    }
    text = comparison_text(list(runs), configs_of(runs), compare(runs))
    assert "fit.steps" not in text
    assert "[8, 4]" in text
    assert "22.00" not in text.split("Reconstruction")[0]
    same = {"a": Path("a")}
    assert "The configs are the same." in comparison_text(["a"], configs_of(same), [])


def test_a_measure_that_one_run_lacks_is_a_dash():
    make("a", [20.0, 22.0])
    write_config(RunFolder(Path("b")), preset("tiny"))
    found = compare(runs_of([Path("a"), Path("b")]))
    assert one(found, "reconstruction.psnr", "b").value is None
    assert "—" in comparison_text(["a", "b"], {}, found)
    back = compare(runs_of([Path("b"), Path("a")]))
    assert one(back, "reconstruction.psnr", "a").difference is None


def grid() -> None:
    for rate in (0.001, 0.0005, 0.002):
        for channels in (16, 8):
            values = [20.0 + 300 * rate, 22.0 + channels / 10, 24.0]
            changes = (f"base.training.lr={rate}", f"base.channels={channels}", "base.head_channels=8")
            make(f"grid/lr-{rate}_channels-{channels}", values, changes=changes)
    Path("grid/notes").mkdir()


def test_a_grid_is_compared_as_a_whole_in_the_order_of_its_values():
    grid()
    names = [f"lr-{rate}_channels-{channels}" for rate in (0.0005, 0.001, 0.002) for channels in (8, 16)]
    runs = runs_of([Path("grid")])
    assert list(runs) == names
    axis, values, lines = arrangement(names, configs_of(runs))
    assert (axis, values) == ("base.training.lr", [0.0005, 0.001, 0.002])
    assert {label: list(line.values()) for label, line in lines.items()} == {
        "base.channels 8": [0.0005, 0.001, 0.002],
        "base.channels 16": [0.0005, 0.001, 0.002],
    }


def test_runs_that_no_axis_tells_apart_lie_side_by_side():
    differing = {"seed": {"a": 0, "b": 0, "c": 1}}
    assert arrangement(["a", "b", "c"], differing)[0] == "run"
    assert arrangement(["a", "b"], {})[0] == "run"
    axis, values, _ = arrangement(["a", "b", "c"], {"base.sampler": {"a": "ddim", "b": "heun", "c": "euler"}})
    assert (axis, values) == ("base.sampler", ["ddim", "heun", "euler"])
    many = {f"key{number}": {"a": number, "b": number + 1} for number in range(5)}
    assert arrangement(["a", "b"], many)[0] == "run"


def test_the_command_draws_a_grid_as_png_and_pdf(capsys: pytest.CaptureFixture[str]):
    grid()
    assert status_of(["compare", "grid"]) == 0
    *_, png, pdf = capsys.readouterr().out.splitlines()
    assert (png, pdf) == ("grid/compare-reconstruction.psnr.png", "grid/compare-reconstruction.psnr.pdf")
    with Image.open(png) as picture:
        assert picture.size[0] > 2 * picture.size[1]  # means, and beside them differences
    assert Path(pdf).read_bytes().startswith(b"%PDF")
    assert status_of(["compare", "grid", "--metric", "table-1.psnr.3", "--json", "--output", "other.png"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["plots"] == ["other.png", "other.pdf"]
    assert {row["measure"] for row in found["measures"]} == {"table-1.psnr.3"}
    assert set(found["differing"]) == {"base.training.lr", "base.channels"}
    assert found["runs"]["lr-0.002_channels-8"] == "grid/lr-0.002_channels-8"
    (row,) = [row for row in found["measures"] if row["run"] == "lr-0.001_channels-8"]
    assert row["difference"] == pytest.approx(0.15 / 3)
    assert (
        status_of(["compare", "grid/lr-0.001_channels-8", "grid/lr-0.002_channels-8", "--metric", "reconstruction"])
        == 0
    )
    out = capsys.readouterr().out
    assert "base.training.lr" in out
    assert ".png" not in out
    assert "Table 1" not in out


BAD = {
    "nothing": (["nowhere"], "nowhere: no run there, and no folder of runs"),
    "one": (["a"], "a: is one run; wanted at least two"),
    "twice": (["a", "b", "./a"], "a: comes twice"),
    "metric": (["a", "b", "--metric", "pnsr"], "--metric got 'pnsr'; measured here: reconstruction.psnr, "),
    "part of a name": (["a", "b", "--metric", "reconstruction.p"], "--metric got 'reconstruction.p'"),
    "output": (["a", "b", "--output", "x.svg"], "--output got 'x.svg', wanted a name that ends in .png"),
    "nothing to draw": (["c", "d", "--output", "x.png"], "there is nothing to draw"),
    "damaged config": (["a", "e"], "e/run.toml"),
    "damaged rows": (["a", "f"], "psnr='high', wanted a finite number"),
}


@pytest.mark.parametrize(("arguments", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    for name in ("a", "b", "e", "f"):
        make(name, [20.0, 22.0])
    for name in ("c", "d"):
        write_config(RunFolder(Path(name)), preset("tiny"))
    Path("e/run.toml").write_text("= 1")
    write_rows(
        RunFolder(Path("f")), "evaluate", 0, [{"stage": "evaluate", "subject": "4", "method": "rodin", "psnr": "high"}]
    )
    before = set(Path().rglob("*"))
    assert status_of(["compare", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1
    assert set(Path().rglob("*")) == before
