"""The page: well formed, self-contained, complete, and honest about what is missing."""

import re
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.figures.figures import FIGURES
from analysis.report.findings import write_findings
from analysis.report.report import write_report
from analysis.results.provenance import fresh_command, resume_command
from analysis.tables.tables import TABLES
from rodin.presets import preset
from rodin.presets.toml import to_toml

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Open tags must close in order; notes pictures, links and what would be loaded from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "img":
            self.pictures.append(given)
        if tag == "a":
            self.links.append(str(given["href"]))
        self.loaded += [str(given[key]) for key in ("src", "srcset", "data", "poster") if key in given]
        assert tag not in ("script", "iframe", "link", "object")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page(report_path: Path) -> str:
    return report_path.read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_self_contained(page: str):
    read = Page(page)
    assert not read.open
    assert len(read.ids) == len(set(read.ids))
    assert all(link.startswith("#") and link[1:] in read.ids for link in read.links)
    assert all(source.startswith("data:image/png;base64,") for source in read.loaded)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_page_holds_everything(page: str):
    read = Page(page)
    assert len(read.pictures) == len(FIGURES)
    assert all(len(str(one["alt"])) > 20 and int(str(one["width"])) > 0 for one in read.pictures)
    provenance = ("preset tiny", "seed 3", "0123456789ab", "torch 2.13.0", "base.diffusion.timesteps")
    numbers = ("24.21", "Rodin beats both", "5 of 8", "25.5 dB", "0.25", "What loss is normal?")
    again = ("--set data.subjects=12", "git checkout 0123456789abcdef")
    for words in (*provenance, *numbers, *again):
        assert words in page, words
    assert "Not there yet" not in page


def test_every_table_and_figure_is_written(report_path: Path):
    endings = {"csv", "md", "tex", "txt"}
    tables, figures = ({path.name for path in (report_path.parent / name).iterdir()} for name in ("tables", "figures"))
    assert tables == {f"table-{name}.{ending}" for name in TABLES for ending in endings}
    assert {f"figure-{name}.png" for name in FIGURES} <= figures


def test_a_run_with_a_pretrained_clip_lacks_no_table_of_a_small_one(tmp_path: Path):
    (tmp_path / "run.toml").write_text(to_toml(preset("paper")))
    assert "table clip" not in write_findings(tmp_path).missing


def test_an_empty_run_has_a_page_that_says_what_to_run(empty_run: Path):
    page = write_report(empty_run).read_text(encoding="utf-8")
    assert not Page(page).open
    assert len(write_findings(empty_run).missing) == len(TABLES) + len(FIGURES)
    assert "Nothing was measured yet" in page
    assert "table 1" in page
    assert "rodin run" in page


def test_a_run_without_run_toml_has_a_page(tmp_path: Path):
    assert not Page(write_report(tmp_path).read_text(encoding="utf-8")).open


def test_names_are_escaped(tmp_path: Path):
    run = tmp_path / "<script>alert(1)</script>".replace("/", "-")
    run.mkdir()
    assert not Page(write_report(run).read_text(encoding="utf-8")).open


def test_damage_is_told_not_hidden(empty_run: Path):
    (empty_run / "results").mkdir()
    (empty_run / "results" / "fit-00000.jsonl").write_text("{")
    assert "not a result row" in write_findings(empty_run).missing["table fit"]
    assert "not a result row" in write_report(empty_run).read_text(encoding="utf-8")


def test_a_damaged_run_toml_is_one_clear_line(empty_run: Path):
    (empty_run / "run.toml").write_text("preset = ")
    with pytest.raises(ValueError, match=r"run\.toml: not TOML"):
        write_report(empty_run)


def test_commands_that_go_on_and_begin_anew(tmp_path: Path, full_run: Path):
    (tmp_path / "run.toml").write_text(to_toml(preset("demo")))
    assert resume_command(tmp_path) == f"rodin run demo --run {tmp_path}"
    assert fresh_command(tmp_path) == "rodin run demo"
    assert resume_command(full_run) == f"rodin run {full_run}/run.toml --run {full_run}"
    words = fresh_command(full_run).split(" --set ")
    again = preset(words[0].split()[-1], words[1:])
    assert tomllib.loads(to_toml(again)) == tomllib.loads((full_run / "run.toml").read_text())["config"]


def test_analysis_needs_no_torch():
    code = (
        "import sys, importlib, pkgutil, analysis\n"
        "for module in pkgutil.walk_packages(analysis.__path__, 'analysis.'): importlib.import_module(module.name)\n"
        "assert 'analysis.report.report' in sys.modules\n"
        "heavy = {'torch', 'mpi4py', 'submitit', 'bpy'} & {name.split('.')[0] for name in sys.modules}\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
