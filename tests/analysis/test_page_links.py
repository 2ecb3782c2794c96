"""Where the page leads, and what it tells of the machine it was made on."""

import re
import shutil
from pathlib import Path

from fixtures.pages import Page

from analysis.report.links import without_paths
from analysis.report.report import SECTIONS, write_report


def test_links_lead_into_the_page_or_to_files_of_the_run(page: str, report_path: Path):
    read, run = Page(page), report_path.parent
    inner, outer = ([link for link in read.links if link.startswith("#") == flag] for flag in (True, False))
    assert all(link[1:] in read.ids for link in inner)
    assert outer
    assert all(not link.startswith(("/", "..")) and (run / link).exists() for link in outer)
    wanted = {f"tables/table-1.{ending}" for ending in ("csv", "tex", "txt")}
    wanted |= {f"figures/figure-9.{ending}" for ending in ("png", "pdf")}
    wanted |= {"samples/meshes/unconditional-00002.glb", "figures/turn-unconditional-00003.webp"}
    assert wanted <= set(outer)
    assert inner.count("#contents") == len(SECTIONS)


def test_failures_and_copies_are_in_the_contents(page: str):
    links = Page(page).links
    assert links[len(SECTIONS) : len(SECTIONS) + 2] == ["#figure-8", "#figure-memorisation"]


def test_damaged_pictures_and_meshes_are_told_and_the_rest_is_shown(full_run: Path, tmp_path: Path):
    for name in ("run.toml", "decoder", "show", "samples", "views"):
        (shutil.copytree if (full_run / name).is_dir() else shutil.copy)(full_run / name, tmp_path / name)
    (store,) = tmp_path.glob("show/turned-*/00000.h5")
    store.write_bytes(b"damaged")
    (tmp_path / "samples" / "meshes" / "unconditional-00001.glb").write_bytes(b"damaged")
    page = write_report(tmp_path).read_text(encoding="utf-8")
    missing = page[page.index('id="missing"') :]
    for words in ("turning avatars", "meshes</b>: ", "unconditional-00001.glb: not a mesh", "/00000.h5"):
        assert words in missing
    assert 'id="figure-subjects"' in page
    assert not Page(page).open


def test_no_absolute_path_is_printed(full_run: Path, empty_run: Path, page: str):
    (empty_run / "run.toml").write_text(f"preset = 'x'\n[prior]\npairs = '{empty_run}/secret/pairs.h5'\n")
    pages = {full_run: page, empty_run: write_report(empty_run).read_text(encoding="utf-8")}
    for run, text in pages.items():
        assert str(run.parent) not in text
        assert not re.search(r"[\s'\"`>(](/tmp|/home|/root|/usr)/", text)
    assert "empty/secret/pairs.h5" in pages[empty_run]
    assert (
        without_paths("got '/data/x/y.png', wanted runs/a/b and a/b", full_run)
        == "got '…/y.png', wanted runs/a/b and a/b"
    )


def test_a_run_called_by_a_word_leaves_that_word_in_texts(full_run: Path, tmp_path: Path, monkeypatch):
    (tmp_path / "run").symlink_to(full_run)
    monkeypatch.chdir(tmp_path)
    text = "rodin run run/run.toml --run run --set a=b; run stage 'evaluate' of a run; overrun/x"
    name = full_run.name
    wanted = f"rodin run {name}/run.toml --run {name} --set a=b; run stage 'evaluate' of a run; overrun/x"
    assert without_paths(text, Path("run")) == wanted
    assert without_paths(f"{tmp_path}/run/x and {tmp_path}/running/x", tmp_path / "run") == f"{name}/x and …/x"
