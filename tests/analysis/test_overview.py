"""The page of all runs: a line for each, its state and numbers, links that lead to the runs' pages."""

import shutil
from pathlib import Path

import pytest
from fixtures.pages import Page

from analysis.report.overview import overview_page, run_line
from analysis.report.report import write_report
from rodin.store import manifest
from rodin.store.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(full_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, one as far as its samples, one whose run.toml is damaged, and a folder of another kind."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copytree(full_run, folder / "a run", ignore=shutil.ignore_patterns("report.html"))
    manifest.publish(RunFolder(folder / "a run").manifest("report"), {"files": {}})
    for name in ("begun", "damaged", "notes"):
        (folder / name).mkdir()
    shutil.copy(full_run / "run.toml", folder / "begun")
    shutil.copytree(full_run / "samples", folder / "begun" / "samples")
    (folder / "damaged" / "run.toml").write_text("preset = ")
    write_report(folder / "begun")
    return folder


def test_every_run_has_a_line(runs: Path, tmp_path: Path):
    page = overview_page(runs, tmp_path).decode()
    read = Page(page)
    assert not read.open
    assert len(read.pictures) == 6  # three faces of each run that has samples
    assert all(source.startswith("data:image/webp;base64,") for source in read.loaded)
    lines = {line.name: line for line in (run_line(runs / name, runs) for name in ("a run", "begun", "damaged"))}
    whole, begun, damaged = lines.values()
    assert (whole.preset, whole.state, whole.link) == ("tiny", "finished", None)
    assert whole.numbers == ["25.5 dB", "22.00 dB", "+1.17 dB (not sure)", "5 of 8"]
    assert whole.cost == "0.1 core-hours"
    assert (begun.state, begun.numbers, begun.cost) == ("as far as sample", [""] * 4, "")
    assert damaged.state.startswith("damaged/run.toml: not TOML")
    assert str(runs) not in page
    assert page.index(">a run<") < page.index("begun</a>") < page.index(">damaged<")


def test_links_are_relative_to_the_page(runs: Path, tmp_path: Path):
    assert run_line(runs / "begun", runs).link == "begun/report.html"
    (runs / "begun" / "report.html").rename(runs / "begun" / "old.html")
    assert run_line(runs / "begun", runs).link is None


def test_a_folder_without_runs_is_one_clear_line(tmp_path: Path):
    with pytest.raises(ValueError, match=r"holds no run folder \(none has a run\.toml\); `rodin run PRESET` makes one"):
        overview_page(tmp_path, tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        overview_page(tmp_path / "nowhere", tmp_path)
