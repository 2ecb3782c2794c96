"""`rodin tables`, `figures` and `report --all`: what could be made, and for the rest the command that makes it."""

import json
from pathlib import Path

import pytest
from fixtures import finished_rows

from jobs.cli import results
from jobs.cli.app import status_of
from rodin.evaluation import shown
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


@pytest.fixture
def measured(run: Path) -> Path:
    finished_rows.write_quality(RunFolder(run))
    return run


def test_tables_are_written_and_the_rest_is_told(measured: Path, capsys: pytest.CaptureFixture[str]):
    assert status_of(["tables", "--run", "run"]) == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["table fit"] == " ".join(f"run/tables/table-fit.{end}" for end in ("csv", "md", "tex", "txt"))
    assert all(Path(path).is_file() for path in lines["table 1"].split())
    assert lines["table views"].endswith("`rodin sweep views --run run` measures them")
    assert all(("not there yet: " in text) != text.startswith("run/tables/") for text in lines.values())
    assert status_of(["tables", "--run", "run", "--json", "--output", "elsewhere"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["made"]) == {"1", "fit"}
    assert found["made"]["fit"][0] == "elsewhere/tables/table-fit.csv"
    assert found["missing"]["views"].endswith("`rodin sweep views --run run` measures them")


def test_figures_are_drawn_and_the_rest_is_told(measured: Path, capsys: pytest.CaptureFixture[str]):
    assert status_of(["figures", "--run", "run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["made"] == {
        name: [f"run/figures/figure-{name}.{ending}" for ending in ("pdf", "png")] for name in ("fit", "guidance")
    }
    assert all(Path(path).is_file() for paths in found["made"].values() for path in paths)
    assert {str(number) for number in range(3, 14)} <= set(found["missing"])
    assert all("\n" not in reason and "`rodin " in reason for reason in found["missing"].values())


@pytest.mark.parametrize("name", [str(number) for number in range(3, 14)])
def test_a_figure_that_a_run_lacks_names_the_command_in_one_line(
    run: Path, name: str, capsys: pytest.CaptureFixture[str]
):
    assert status_of(["figure", name, "--run", "run"]) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
    assert "`rodin " in found.err
    assert not (run / "figures").exists()


def test_an_unknown_figure_renders_nothing_first(run: Path, capsys: pytest.CaptureFixture[str]):
    assert status_of(["figure", "2", "--run", "run"]) == 2
    assert "no figure '2'; there are subjects, fit, 3, 4, 5," in capsys.readouterr().err


def test_output_that_is_a_file_is_refused(run: Path, capsys: pytest.CaptureFixture[str]):
    for command in ("tables", "figures"):
        assert status_of([command, "--run", "run", "--output", "me.png"]) == 2
        assert "which is a file; wanted a folder" in capsys.readouterr().err


def test_larger_pictures_are_rendered_in_the_run_alone(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    rendered: list[tuple[str, ...]] = []
    monkeypatch.setattr("rodin.evaluation.showing.show", lambda config, folder, parts, hooks: rendered.append(parts))
    folder = RunFolder(run)
    for stage in ("decoder", "sample"):
        manifest.publish(folder.manifest(stage), {"files": {}})
    config = results.read_config(folder)
    results.enlarge_own(config, folder, ("turned", "inverted"), Path("elsewhere.png"), False)
    assert rendered == []
    assert "`rodin figures --run run` renders larger ones" in capsys.readouterr().err
    results.enlarge_own(config, folder, ("turned", "inverted"), None, True)
    assert rendered == [["turned"]]  # of portraits nothing is there to make them of
    made = shown.part_folder(folder, "turned")
    assert made is not None
    manifest.publish(made / "00000.json", {"files": {}})
    results.enlarge_own(config, folder, ("turned", "inverted"), None, True)
    assert len(rendered) == 1


def test_the_page_of_all_runs(run: Path, capsys: pytest.CaptureFixture[str]):
    assert status_of(["report", "--all", "."]) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert b">run<" in Path("report.html").read_bytes()
    assert status_of(["report", "--all", ".", "--output", "all.html", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": "all.html"}
    for words in ([], ["--all", ".", "--run", "run"], ["--all", "nowhere"], ["--all", "run"]):
        assert status_of(["report", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
