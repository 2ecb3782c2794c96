"""Tables out of rows: numbers by hand, every ending, partial runs, damaged rows."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from analysis.results.paper import DASH
from analysis.tables.convolution import verdict
from analysis.tables.tables import TABLES, render_table, table, write_table
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder


def test_table_1_by_hand(full_run: Path):
    rows = {row["guidance_scale"]: row for row in table(full_run, "1")}
    assert list(rows) == [1.0, 1.2, 1.5, 3.0, 6.0]
    assert rows[1.0]["name"] == "w/o CFG"
    assert (rows[1.0]["psnr"], rows[3.0]["psnr"]) == (22.0, 20.0)
    assert rows[1.0]["psnr_low"] == pytest.approx(22 - 4.968276, abs=1e-5)
    assert rows[1.5]["psnr_low"] == rows[1.5]["psnr_high"] == 22.0
    assert rows[1.2]["ssim"] == pytest.approx(0.722)
    assert [rows[scale]["paper_psnr"] for scale in rows] == [24.06, 24.21, 24.07, 24.05, 24.15]
    assert [rows[scale]["paper_ssim"] for scale in rows] == [0.795, 0.794, 0.792, 0.782, 0.775]
    assert [rows[scale]["paper_lpips"] for scale in rows] == [0.128, 0.121, 0.133, 0.141, 0.146]
    assert rows[1.0]["lpips"] is None
    assert rows[6.0]["psnr"] is None


def test_table_1_prints_as_the_paper_does(full_run: Path):
    text = render_table(table(full_run, "1"))
    first = text.splitlines()[0].split()
    assert first == ["w/o", "CFG", "1.2", "1.5", "3.0", "6.0"]
    assert "22.00 [17.03, 26.97]" in text
    lpips = next(line for line in text.splitlines() if line.startswith("LPIPS") and "ours" in line)
    assert [text.rstrip("¹²") for text in lpips.split()].count(DASH) == 5
    assert "rodin weights fetch" in text
    assert "6 was not measured" in text


def test_reconstruction_by_hand(full_run: Path):
    rows = {row["method"]: row for row in table(full_run, "reconstruction")}
    assert rows["mean person"]["gain_psnr"] == pytest.approx((2 + 3 + 4) / 3)
    assert rows["nearest person"]["gain_psnr"] == pytest.approx((1 + 0.5 + 2) / 3)
    # differences 2, 3, 4: s = 1, half = 4.302653 / sqrt(3)
    assert rows["mean person"]["gain_psnr_low"] == pytest.approx(3 - 2.484138, abs=1e-5)
    told = "Rodin beats the mean person, and cannot be told apart from the nearest person in PSNR: +3.00 dB [+0.52, "
    assert rows["rodin"]["note"].startswith(told)


def test_table_1_beside_the_two_guesses_person_by_person(full_run: Path):
    rows = {row["guidance_scale"]: row for row in table(full_run, "1")}
    # 22 22 22 at 1.5 against 18 19 20 of the mean person: 4, 3, 2; s = 1, half = 4.302653 / sqrt(3)
    assert rows[1.5]["gain_mean_person_psnr"] == pytest.approx(3.0)
    assert rows[1.5]["gain_mean_person_psnr_low"] == pytest.approx(3 - 2.484138, abs=1e-5)
    assert rows[1.5]["gain_nearest_person_psnr"] == pytest.approx((3 + 0.5 + 0) / 3)
    assert rows[1.2]["gain_mean_person_ssim"] == pytest.approx(-0.078)
    assert rows[6.0]["gain_mean_person_psnr"] is rows[1.5]["gain_mean_person_lpips"] is None
    text = render_table(table(full_run, "1"))
    (psnr, ssim) = (line for line in text.splitlines() if line.lstrip().startswith("better than the mean person"))
    assert "+3.00 [0.52, 5.48]" in psnr
    assert "−0.078" in ssim


def test_table_1_needs_no_guesses(empty_run: Path):
    row = {"stage": "sweep-cfg", "subject": "1", "guidance_scale": 1.0, "psnr": 20.0, "ssim": 0.5, "lpips": 0.1}
    write_rows(RunFolder(empty_run), "sweep-cfg", 0, [row])
    text = render_table(table(empty_run, "1"))
    assert "20.00" in text
    assert "person" not in text
    assert "posterior" not in text


def test_the_posterior_mean_stands_beside_table_1(full_run: Path):
    rows = {row["method"]: row for row in table(full_run, "reconstruction")}
    assert list(rows) == ["rodin", "posterior mean", "mean person", "nearest person"]
    assert [rows[name].get("guidance_scale") for name in rows] == [1.5, 1.5, None, None]
    assert rows["posterior mean"]["gain_psnr"] == pytest.approx(-(0.5 + 0.25 + 0.75) / 3)
    for name in ("1", "reconstruction"):
        (sentence,) = (line for line in render_table(table(full_run, name)).splitlines() if "posterior mean (" in line)
        assert "PSNR 22.50, SSIM 0.800; the avatars have −0.50 dB [−1.12, +0.12] against it" in sentence


def test_a_lower_lpips_is_better_and_verdicts_say_so(empty_run: Path):
    values = {"rodin": (0.10, 0.12, 0.11), "mean person": (0.20, 0.24, 0.22), "nearest person": (0.09, 0.12, 0.105)}
    write_rows(RunFolder(empty_run), "evaluate", 0, [
        {"stage": "evaluate", "subject": str(person), "method": method, "psnr": 20.0, "ssim": 0.5, "lpips": lpips}
        for method, numbers in values.items()
        for person, lpips in enumerate(numbers)
    ])  # fmt: skip
    rows = {row["method"]: row for row in table(empty_run, "reconstruction")}
    assert rows["mean person"]["gain_lpips"] == pytest.approx(0.11)
    assert rows["nearest person"]["gain_lpips"] == pytest.approx(-0.005)
    assert "gain_lpips" not in rows["rodin"] or rows["rodin"]["gain_lpips"] is None
    (sentence,) = (line for line in rows["rodin"]["note"].splitlines() if line.startswith("in LPIPS"))
    assert "+0.110 LPIPS [+0.085, +0.135] over the mean person, −0.005 LPIPS [−0.017, +0.007]" in sentence
    assert sentence.endswith("; cannot be told apart from the nearest person")
    (sure,) = (line for line in rows["rodin"]["note"].splitlines() if line.startswith("in SSIM"))
    assert sure.endswith("apart from the mean person and the nearest person")  # equal everywhere: 0 is not excluded


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        ([19.9, 20.1, 20.0], "Rodin beats the mean person, and loses to the nearest person in PSNR"),
        ([10.0, 11.0, 10.5], "Rodin loses to the mean person and the nearest person in PSNR"),
        ([18.0, 21.0, 19.5], "Rodin cannot be told apart from the mean person, and loses to the nearest person in"),
        ([19.5, 20.5], "2 people are too few to tell, 3 are wanted at least: +1.00 dB over the mean person, "),
    ],
)
def test_verdict_says_a_loss_plainly(empty_run: Path, ours: list[float], words: str):
    values = {"rodin": ours, "mean person": [19.0] * len(ours), "nearest person": [25.0] * len(ours)}
    write_rows(RunFolder(empty_run), "evaluate", 0, [
        {"stage": "evaluate", "subject": str(person), "method": method, "psnr": psnr, "ssim": 0.5, "lpips": 0.1}
        for method, numbers in values.items()
        for person, psnr in enumerate(numbers)
    ])  # fmt: skip
    assert words in table(empty_run, "reconstruction")[0]["note"]


def test_verdict_needs_both_guesses(empty_run: Path):
    row = {"stage": "evaluate", "subject": "1", "method": "rodin", "psnr": 20.0, "ssim": 0.5, "lpips": None}
    write_rows(RunFolder(empty_run), "evaluate", 0, [row])
    assert "No verdict" in table(empty_run, "reconstruction")[0]["note"]


def test_prompts_by_hand(full_run: Path):
    everything, hair, shirt = table(full_run, "prompts")[:3]
    assert (everything["attribute"], everything["hits"], everything["prompts"]) == ("colours", 5, 8)
    assert (hair["hits"], hair["prompts"]) == (4, 6)
    # hair wanted 2 red, 2 black, 1 blond, 1 brown; measured 2 red, 1 black, 1 blond, 2 brown: 4+2+1+2 = 9 of 36
    assert hair["chance"] == pytest.approx(9 / 36)
    assert (hair["ceiling"], shirt["ceiling"]) == (0.9, 0.7)
    assert everything["ceiling"] == pytest.approx((6 * 0.9 + 2 * 0.7) / 8)


def test_attributes_asked_for_by_hand(full_run: Path):
    everything, *_, together, beard, glasses, hat = table(full_run, "prompts")
    assert [row["attribute"] for row in (together, beard, glasses, hat)] == ["beard, hat", "beard", "glasses", "hat"]
    assert [(row["hits"], row["prompts"]) for row in (together, beard, hat)] == [(1, 2), (1, 1), (0, 1)]
    assert [row["unasked"] for row in (everything, together, beard, hat)] == [None, 0.5, 1.0, 0.0]
    assert together["hit_rate_low"] == pytest.approx(0.0945, abs=1e-3)  # Wilson's interval of 1 in 2
    assert (glasses["hits"], glasses["prompts"], glasses["hit_rate"], glasses["unasked"]) == (None, 1, None, None)
    assert beard["ceiling"] == pytest.approx((1 + 75 / 80) / 2)
    assert beard["ceiling_low"] < beard["ceiling"] < beard["ceiling_high"] <= 1
    assert glasses["ceiling"] == pytest.approx((12 / 20 + 60 / 80) / 2)
    assert (
        everything["note"].splitlines()[-1].startswith("glasses: not counted, as its measure is right on 68% of pict")
    )
    assert "hat: not" not in everything["note"]


def test_copies_by_hand(full_run: Path):
    early, late, unseen, known = table(full_run, "memorisation")
    assert [row["of"] for row in (early, late, unseen)] == [
        "samples, step 150",
        "samples, step 300",
        "people never seen",
    ]
    assert [row["count"] for row in (early, late, unseen)] == [8, 8, 3]
    assert [row["picture_copies"] for row in (early, late, unseen)] == [0, 0.25, 0]
    assert [row["clip_copies"] for row in (early, late, unseen)] == [0, 0, 0]
    assert [row["over_limit"] for row in (early, late, unseen)] == [
        0,
        0.25,
        0,
    ]  # the limit is the most similar of three
    assert late["picture_ratio"] == pytest.approx((2 * 0.1 + 6 * 0.8) / 8)
    assert unseen["similarity"] == pytest.approx(0.6)
    assert late["picture_copies_high"] == pytest.approx(0.5907, abs=1e-3)  # Wilson's interval of 2 in 8
    assert (known["of"], known["count"]) == ("known copies", 4)
    assert (known["clip_copies"], known["picture_copies"]) == (1, 0.5)
    told, over = early["note"].splitlines()[-2:]
    assert told.startswith("what can be told: of 8 samples, at most 59% are noticed as copies")
    assert "more similar than 0.700, which 3 people never seen set; without copying 25% of samples are expected" in over


def test_other_tables_by_hand(full_run: Path):
    quality = table(full_run, "fit")[0]
    assert (quality["mean"], quality["least"], quality["median"], quality["most"]) == (25.5, 20.0, 25.5, 31.0)
    fit, base, total = table(full_run, "timings")
    assert [row["name"] for row in (fit, base, total)] == ["fit", "base", "all stages"]
    assert (fit["seconds"], fit["longest_seconds"], fit["peak_rss_mb"], fit["tasks"]) == (24.0, 14.0, 501.0, 2)
    assert (total["seconds"], total["peak_rss_mb"]) == (124.0, 800.0)
    assert (total["cpu_hours"], total["gpu_hours"]) == (pytest.approx((10 + 14 + 4 * 100) / 3600), None)
    assert table(full_run, "neighbours")[2]["similarity"] == pytest.approx(0.88)
    assert [row["psnr"] for row in table(full_run, "resolution")] == [18.5, 20.5, 22.5]
    assert [row["gain_over_last"] for row in table(full_run, "resolution")] == [None, 2.0, 2.0]
    assert table(full_run, "resolution")[1]["gain_over_last_low"] is None  # two people have no interval
    assert (table(full_run, "clip")[0]["image_to_text"], table(full_run, "clip")[0]["subjects"]) == (0.75, "held-out")
    assert table(full_run, "frechet")[0]["value"] == 0.25
    losses = {row["network"]: row for row in table(full_run, "losses")}
    assert losses["base"]["steps"] == 300
    assert losses["base"]["last_loss"] < 0.2 < 0.7 < losses["base"]["first_loss"]


@pytest.mark.parametrize("name", list(TABLES))
def test_every_table_is_written_in_four_endings(full_run: Path, name: str):
    rows = table(full_run, name)
    paths = {path.suffix: path for path in write_table(full_run, name, rows)}
    rows = json.loads(json.dumps(rows, allow_nan=False))
    with paths[".csv"].open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    markdown = [line for line in paths[".md"].read_text().splitlines() if line.startswith("|")]
    assert len({line.count("|") - line.count("\\|") for line in markdown}) == 1
    latex = paths[".tex"].read_text()
    body = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.count(" & ") for line in body}) == 1
    assert latex.count(r"\begin{tabular}") == latex.count(r"\end{tabular}") == 1
    assert "_" not in latex.replace(r"\_", "").partition(r"\begin{tabular}")[2]


def test_unknown_names_list_what_there_is(full_run: Path):
    with pytest.raises(ValueError, match="no table '9'; there are 1, fit"):
        table(full_run, "9")
    with pytest.raises(ValueError, match="user study"):
        table(full_run, "2")
    with pytest.raises(FileNotFoundError, match="no such run folder"):
        table(full_run / "absent", "1")


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("1", "sweep-cfg"),
        ("fit", "stage 'index'"),
        ("prompts", "evaluate"),
        ("timings", "timing"),
        ("views", "rodin sweep views"),
    ],
)
def test_missing_rows_name_the_stage(empty_run: Path, name: str, stage: str):
    with pytest.raises(ValueError) as caught:
        table(empty_run, name)
    assert stage in str(caught.value)
    assert "rodin " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"psnr": "much"}, "psnr='much', wanted a finite number"),
        ({"psnr": None}, "psnr=None"),
        ({"guidance_scale": True}, "guidance_scale=True"),
        ({"subject": 7}, "subject=7, wanted a text"),
    ],
)
def test_damaged_rows_are_one_clear_line(empty_run: Path, change: dict, words: str):
    row = {"stage": "sweep-cfg", "subject": "1", "guidance_scale": 1.0, "psnr": 20.0, "ssim": 0.5, "lpips": None}
    write_rows(RunFolder(empty_run), "sweep-cfg", 0, [row, row | change])
    with pytest.raises(ValueError) as caught:
        table(empty_run, "1")
    assert words in str(caught.value)
    assert "row 2" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b'{"stage": "fit"', b"\xff\xfe\x00", b"[1, 2]\n"])
def test_damaged_files_are_one_clear_line(empty_run: Path, data: bytes):
    folder = RunFolder(empty_run).results
    folder.mkdir()
    (folder / "fit-00000.jsonl").write_bytes(data)
    with pytest.raises(ValueError) as caught:
        table(empty_run, "fit")
    assert "fit-" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_convolutions_by_hand(full_run: Path):
    rows = {row["upsampler"]: row for row in table(full_run, "convolution")}
    assert list(rows) == ["neither", "roll-out only", "3D-aware only", "both"]
    assert [row["psnr"] for row in rows.values()] == [21, 22, 23, 24]
    assert [row["gain_behind"] for row in rows.values()] == [None, 1, 2, 3]
    assert rows["both"]["gain_behind_low"] == rows["both"]["gain_behind_high"] == 3
    assert [row["alone_psnr"] for row in rows.values()] == [25, 26.5, 28, 29.5]
    assert rows["both"]["gain_alone"] == 4.5
    assert rows["both"]["gain_alone_low"] is None  # of two people
    assert "+3.00" in render_table(list(rows.values()))
    behind, alone, *added, limit = rows["neither"]["note"].splitlines()
    assert behind.endswith("against neither: better: roll-out only, 3D-aware only, both")
    assert alone.endswith("against neither: not told apart: roll-out only, 3D-aware only, both")
    assert added[0].endswith("adds to roll-out (the paper's question): +2.00 dB [+2.00, +2.00]")
    assert added[1].rpartition(": ")[2] == "+3.00 dB"
    assert "another seed" in limit
    assert limit.endswith("of twenty such intervals one lacks 0 by chance alone")
    assert alone.startswith("alone, on low planes of people it was trained on")


def test_a_convolution_that_loses_is_said_to():
    rows: list[dict[str, Any]] = [
        {"upsampler": "neither", "gain_behind": None},
        {"upsampler": "both", "gain_behind": -1.0, "gain_behind_low": -1.5, "gain_behind_high": -0.5},
        {"upsampler": "roll-out only", "gain_behind": 1.0, "gain_behind_low": None, "gain_behind_high": None},
    ]
    assert verdict(rows, "gain_behind") == "worse: both; not told apart: roll-out only"
    assert verdict(rows[:1], "gain_behind") == "not measured"
