"""The page: well formed, self-contained, complete, and honest about what is missing."""

import base64
import html
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from fixtures.pages import Page
from PIL import Image

from analysis.figures.figures import FIGURES
from analysis.report.findings import write_findings
from analysis.report.report import SECTIONS, TABLE_TITLES, write_report
from analysis.results.provenance import fresh_command, resume_command
from analysis.tables.layout import grid
from analysis.tables.tables import TABLES, table
from rodin.evaluation.shown import TURNED
from rodin.presets import preset
from rodin.presets.toml import to_toml
from rodin.store.results import write_rows
from rodin.store.run_folder import RunFolder

MISSING_FIT = (
    "empty: no 'fit' rows in results/fit-*.jsonl yet; run stage 'index': "
    "`rodin run empty/run.toml --run empty` goes on with whatever is missing"
)


def test_the_page_is_well_formed_and_self_contained(page: str):
    read = Page(page)
    assert not read.open
    assert len(read.ids) == len(set(read.ids))
    assert all(source.startswith("data:image/webp;base64,") for source in read.loaded)
    assert not re.search(r"https?://|@import|url\(", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_the_page_holds_everything(page: str):
    read = Page(page)
    assert len(read.pictures) == len(FIGURES) + TURNED
    assert all(len(str(one["alt"])) > 20 and int(str(one["width"])) > 0 for one in read.pictures)
    provenance = ("preset tiny", "seed 3", "0123456789ab", "torch 2.13.0", "base.diffusion.timesteps")
    numbers = (
        "24.21",
        "Rodin beats the mean person, and cannot be told apart",
        "5 of 8",
        "25.5 dB",
        "0.25",
        "What loss is normal?",
    )
    again = ("--set data.subjects=12", "git checkout 0123456789abcdef")
    for words in (*provenance, *numbers, *again):
        assert words in page, words
    assert "Not there yet" not in page
    meshes = json.loads(re.search('id="mesh-data">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]
    assert [mesh["name"] for mesh in meshes] == [f"unconditional-{number:05d}" for number in range(3)]


def test_the_page_shows_the_tables_and_figures_that_were_written(page: str, report_path: Path):
    read = Page(page)
    for name, title in TABLE_TITLES.items():
        shown = grid(table(report_path.parent, name))
        assert read.tables[title] == [
            list(zip(line, shown.numeric, strict=True)) for line in [shown.header, *shown.lines]
        ]
    assert [cells[1][0] for cells in read.tables[TABLE_TITLES["timings"]]] == ["tasks", "2", "1", "3"]
    assert [cells[1][1] for cells in read.tables[TABLE_TITLES["losses"]]] == [True] * 5
    assert [cells[0][1] for cells in read.tables[TABLE_TITLES["losses"]]] == [False] * 5
    by_caption = {one["alt"]: one for one in read.pictures}
    for name, figure in FIGURES.items():
        shown = by_caption[figure.caption_of(report_path.parent)]
        with (
            Image.open(report_path.parent / "figures" / f"figure-{name}.png") as whole,
            Image.open(io.BytesIO(base64.b64decode(str(shown["src"]).partition(",")[2]))) as image,
        ):
            assert (shown["width"], shown["height"]) == tuple(map(str, image.size)) == tuple(map(str, whole.size))
            difference = np.asarray(whole.convert("RGB"), float) - np.asarray(image.convert("RGB"), float)
            assert np.abs(difference).mean() < 3  # grey levels: the same picture, compressed


def _numbers_of(name: str) -> list[str]:
    """Title of the plot that stands between Figure 7 and its table, which has the same title."""
    return [FIGURES["memorisation"].title] if name == "7" else []


def test_the_page_says_where_things_stand(page: str):
    read = Page(page)
    assert list(read.inside) == list(SECTIONS)
    assert read.links[: len(SECTIONS)] == [f"#{name}" for name in SECTIONS]
    assert read.links.count("#figure-13") == 1
    assert [texts[0] for texts in read.inside.values()] == list(SECTIONS.values())
    where = {
        "data": ["Fits", FIGURES["subjects"].title, FIGURES["fit"].title, "Fréchet distance"],
        "figures": [
            text
            for name, table in {
                "3": "resolution", "4": "views", "5": "", "6": "convolution", "7": "memorisation", "8": "", "9": "",
                "10": "", "11": "", "12": "", "13": "",
            }.items()
            for text in (FIGURES[name].title, *([TABLE_TITLES[table]] if table else []), *_numbers_of(name))
        ],
        "edits": [FIGURES["edits"].title],
        "control": ["Prompt hit rate", *(FIGURES[name].title for name in ("prompts", "attributes")),
                    TABLE_TITLES["clip"], FIGURES["reconstruction"].title],
        "paper": [TABLE_TITLES["1"], FIGURES["guidance"].title, "Why the numbers differ"],
    }  # fmt: skip
    for name, titles in where.items():
        assert [text for text in read.inside[name] if text in titles] == titles
    assert read.inside["summary"][-2].startswith("Rodin beats the mean person, and cannot be told apart from the ")
    assert read.inside["summary"][-2].endswith("person by person, 3 people.")
    assert "Last loss: mean over the last tenth of the rows." in read.inside["losses"]


def test_the_scales_of_run_and_paper_stand_side_by_side(page: str):
    header, *lines = ([text for text, _ in cells] for cells in Page(page).tables["Scale of this run and of the paper"])
    assert header == ["", "this run", "paper"]
    config = preset("tiny", ["data.subjects=12", "data.held_out=3"])
    assert lines == [
        ["people trained on", "12", "100,000"],
        ["pictures of each", f"{config.data.views}", "300"],
        ["picture size", f"{config.data.resolution}²", "256²"],
        ["tri-plane", f"{config.triplane.resolution}²", "256²"],
        ["features of a plane", f"{config.triplane.channels}", "32"],
        ["base model's planes", f"{config.triplane.base_resolution}²", "64²"],
        ["channels of the base model", f"{config.base.channels}", "192"],
        ["batch of the base model", f"{config.base.training.batch}", "48"],
        ["people Table 1 is measured on", "2", "1,000"],
    ]


def test_the_head_and_the_commands_are_those_of_the_run(page: str, full_run: Path):
    facts = re.search('<p class="soft">(.*?)</p>', page)[1].split(" · ")  # type: ignore[index]
    assert [*facts[:2], *facts[3:]] == [
        *("preset tiny", "seed 3", "4 × AMD EPYC", "0.1 core-hours", "code 0123456789ab", "torch 2.13.0")
    ]
    assert re.fullmatch(r"\d+ \w+ 20\d\d", facts[2])
    assert "trained on 12 people: tri-plane diffusion" in page
    commands = html.unescape(re.search(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)[1])  # type: ignore[index]
    checkout, install, run = commands.splitlines()
    assert checkout == "git checkout 0123456789abcdef"
    assert install == "pip install -c constraints.txt -e '.[demo]'"
    assert run == fresh_command(full_run)
    read = Page(page)
    assert [("seed", False), ("3", True)] not in read.tables["Code and versions"]
    assert ["seed", "3"] in [[text for text, _ in cells] for cells in read.tables["The whole config"]]
    assert not any(cells[0][0].startswith("config") for cells in read.tables["Code and versions"])
    assert ["versions.torch", "2.13.0"] in [[text for text, _ in cells] for cells in read.tables["Code and versions"]]


def test_every_table_and_figure_is_written(report_path: Path):
    endings = {"csv", "md", "tex", "txt"}
    tables, figures = ({path.name for path in (report_path.parent / name).iterdir()} for name in ("tables", "figures"))
    assert tables == {f"table-{name}.{ending}" for name in TABLES for ending in endings}
    assert figures == {f"figure-{name}.{ending}" for name in FIGURES for ending in ("png", "pdf")} | {
        f"turn-unconditional-{number:05d}.webp" for number in range(TURNED)
    }


def test_a_run_with_a_pretrained_clip_lacks_no_table_of_a_small_one(tmp_path: Path):
    (tmp_path / "run.toml").write_text(to_toml(preset("paper")))
    assert "table clip" not in write_findings(tmp_path).missing


def test_an_empty_run_has_a_page_that_says_what_to_run(empty_run: Path):
    page = write_report(empty_run).read_text(encoding="utf-8")
    assert not Page(page).open
    assert len(write_findings(empty_run).missing) == len(TABLES) + len(FIGURES) - 1  # no edits, so no figure of any
    assert "Nothing was measured yet" in page
    inside = Page(page).inside
    assert "Not there yet: table fit, figure subjects, figure fit, table frechet;" in inside["data"]
    assert "Not there yet: table timings;" in inside["cost"]
    reasons = dict(zip(inside["missing"][3::2], inside["missing"][2::2], strict=False))
    assert reasons[": " + MISSING_FIT] == "table fit, figure fit"
    assert "edits" not in inside


def test_a_run_without_run_toml_has_a_page(tmp_path: Path):
    assert not Page(write_report(tmp_path).read_text(encoding="utf-8")).open


def test_texts_of_a_run_are_escaped(tmp_path: Path):
    run = tmp_path / "<script>alert(1)</script>".replace("/", "-")
    run.mkdir()
    row = {"stage": "neighbours", "sample": "<b>&", "neighbours": ['"<i>'], "similarity": [0.5]}
    write_rows(RunFolder(run), "evaluate", 0, [row])
    page = write_report(run).read_text(encoding="utf-8")
    read = Page(page)
    assert not read.open
    assert [text for text, _ in read.tables["Nearest training people"][1]] == ["<b>&", '"<i>', "0.500", ""]
    assert not re.search("<(b>&|i>)|alert.1.<|<script>alert", page)


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
    words = shlex.split(fresh_command(full_run))
    assert set(words[3::2]) == {"--set"}
    again = preset(words[2], words[4::2])
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
