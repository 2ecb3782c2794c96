"""`rodin study` as typed: from folders to a checklist, a killed build, what scripts get, and mistakes in one line."""

import json
import re
from pathlib import Path

import pytest
from fixtures.small_study import write_pictures

from analysis.study.record import open_study
from analysis.study.votes import Votes
from jobs.cli.app import status_of

BUILD = ["study", "build", "--output", "study", "--question", "Which is sharper?", "--size", "96", "--trials", "6"]
THREE = ["ours=pictures/ours", "blurred=pictures/blurred", "EG3D=pictures/EG3D"]


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("pictures"), 4)


def answered(study: Path) -> None:
    """Every rater prefers the method named first, and knows a mosaic from a picture."""
    opened = open_study(study)
    votes, order = Votes(opened.votes), opened.design.methods
    for rater in range(votes.raters()):
        votes.consent(rater)
        for number in range(opened.design.asked):
            trial = votes.trial(rater, number)
            assert trial
            worth = [order.index(one) if one in order else 9 for one in (trial.left, trial.right)]
            votes.vote(rater, number, "left" if worth[0] < worth[1] else "right", 1000 + number)
    votes.close()


def test_from_folders_to_table_2(capsys: pytest.CaptureFixture[str]):
    assert status_of([*BUILD, *THREE, "--dry-run", "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert (planned["items"], planned["combinations"], planned["asked_of_each_rater"]) == (4, 12, 14)
    assert not Path("study").exists()
    assert status_of([*BUILD, *THREE]) == 0
    out = capsys.readouterr().out
    assert "3 methods, 4 items, 12 pairs; each rater sees 6 pairs, 4 catch trials and 4 repetitions" in out
    assert "next: `rodin study invite study`" in out
    assert status_of([*BUILD, *THREE]) == 0
    capsys.readouterr()
    assert status_of(["study", "invite", "study", "--raters", "3", "--url", "https://study.example.org/"]) == 0
    links = capsys.readouterr().out.split()
    assert len(set(links)) == 3
    assert all(re.fullmatch(r"https://study\.example\.org/#[\w-]{32}", link) for link in links)
    assert status_of(["study", "invite", "study", "--port", "9000", "--json"]) == 0
    (link,) = json.loads(capsys.readouterr().out)
    assert link.startswith("http://127.0.0.1:9000/#")
    answered(Path("study"))
    assert status_of(["study", "tally", "study"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"ours > EG3D +8 +4 +100\.0 \[67\.6, 100\.0\] .* 90\.8", out)
    assert status_of(["study", "tally", "study", "--json", "--output", "elsewhere"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in found["table_strengths"]] == ["ours", "blurred", "EG3D"]
    assert found["raters"] == 4
    assert found["left_out"] == []
    assert all(Path(path).stat().st_size for path in found["files"])
    endings = sorted(Path(path).suffix for path in found["files"])
    assert endings == sorted([".txt", ".md", ".csv", ".tex"] * 3 + [".png", ".pdf", ".md"])
    assert {Path(path).parts[0] for path in found["files"]} == {"elsewhere"}


def test_pictures_without_a_partner_are_told(capsys: pytest.CaptureFixture[str]):
    Path("pictures/ours/0003.png").unlink()
    assert status_of([*BUILD, *THREE, "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert "blurred: 1 picture without a partner of the same name elsewhere, left out" in captured.err
    assert "3 items" in captured.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*BUILD, "ours"], "got 'ours', wanted NAME=PATH"),
        ([*BUILD, "ours="], "got 'ours=', wanted NAME=PATH"),
        ([*BUILD, "ours=pictures/ours"], "got 1 methods, wanted two or more"),
        ([*BUILD, "a=pictures/ours", "a=pictures/EG3D"], "method 'a' is named twice"),
        ([*BUILD, "a=pictures/ours", "b=pictures/none"], "pictures/none: no such folder"),
        ([*BUILD, "--methods", "rodin,mean"], "--run and --methods belong together"),
        ([*BUILD, "--run", "pictures", "--methods", "rodin"], "pictures: no run there"),
        ([*BUILD, *THREE, "--of", "faces"], "--of got 'faces', wanted people or samples"),
        ([*BUILD, *THREE, "--trials", "99"], "--trials got 99, and there are 12 pairs"),
        (["study", "invite", "pictures"], "pictures: not a study"),
        (["study", "serve", "pictures"], "pictures: not a study"),
        (["study", "tally", "pictures"], "pictures: not a study"),
        (["study", "invite", "study", "--raters", "0"], "--raters"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(arguments, message, capsys: pytest.CaptureFixture[str]):
    assert status_of(arguments) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("rodin: error: ")
    assert message in line
    assert not Path("study").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["invite", "study", "--url", "study.example.org"], "--url got 'study.example.org', wanted an address"),
        (["serve", "study", "--url", "ftp://x"], "--url got 'ftp://x', wanted an address"),
        (["invite", "study", "--url", "http://[::1"], "--url got 'http://[::1', wanted an address"),
        (["invite", "study", "--url", "http://x:99999"], "--url got 'http://x:99999', wanted an address"),
        (["invite", "study", "--url", "http://me:pw@x"], "--url got 'http://me:pw@x', wanted an address"),
        (["invite", "study", "--url", "http://x/#y"], "--url got 'http://x/#y', wanted an address"),
        (["serve", "study", "--host", "a" * 300], "cannot listen on aaa"),
        (
            ["serve", "study", "--host", "no such host"],
            "cannot listen on no such host, port 8123 (Name or service not known); choose",
        ),
        (
            ["serve", "study", "--host", "203.0.113.9"],
            "203.0.113.9, port 8123 (Cannot assign requested address); choose",
        ),
        (["serve", "study", "--host", ""], "--host is empty, wanted an address such as 127.0.0.1"),
        (["tally", "study"], "no votes to count yet; invite raters with `rodin study invite`"),
        (["tally", "study", "--catch-pass", "2"], "--catch-pass got 2.0, wanted a share"),
    ],
)
def test_mistakes_with_a_study_are_one_line(arguments, message, capsys: pytest.CaptureFixture[str]):
    assert status_of([*BUILD, *THREE]) == 0
    capsys.readouterr()
    assert status_of(["study", *arguments]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_runs_refuse_what_they_have_no_models_of(run: Path, capsys: pytest.CaptureFixture[str]):
    Path(run).rename("demo")
    for given, message in (
        (["--run", "demo", "--methods", "rodin,giraffe"], "wanted some of rodin, autoencoder, mean, nearest"),
        (["--run", "demo", "--methods", "rodin,mean", "--of", "samples"], "with --of samples only rodin can be"),
        (["a=demo", "b=pictures/ours"], "demo"),
        (["a=pictures/EG3D", "b=pictures/ours", "--reference", "demo"], "demo"),
    ):
        assert status_of([*BUILD, *given]) == 2
        assert message in capsys.readouterr().err
        assert not Path("study").exists()
