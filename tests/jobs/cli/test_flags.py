"""Which option of a command reaches which argument of the library; the library itself does not run here."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from fixtures.recorded_calls import fake

from analysis.figures.figures import Figure
from jobs.cli.app import status_of
from jobs.run.lock import driving
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

PERSON = SimpleNamespace(capture=SimpleNamespace(name="ann"))


@pytest.mark.parametrize(
    ("name", "with_run", "module", "function"),
    [
        ("fit", False, "fit", "bench_fit"),
        ("conv", False, "conv", "bench_conv"),
        ("unet", False, "unet", "bench_unet"),
        ("sample", False, "guidance", "bench_guidance"),
        ("train", False, "train", "bench_train"),
        ("store", False, "reading", "bench_store"),
        ("fit", True, "fit_run", "bench_run"),
        ("decoder", True, "decoder", "bench_decoder"),
        ("sample", True, "sampling", "bench_run"),
        ("mesh", True, "mesh", "bench_mesh"),
    ],
)
def test_benches(
    name: str,
    with_run: bool,
    module: str,
    function: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    row = {"name": "x", "value": 2.0, "unit": "s", "baseline": "y", "baseline_value": 3.0, "ratio": 1.5, "over_all": 4}
    calls = fake(monkeypatch, f"rodin.bench.{module}", **{function: [row]})
    assert status_of(["bench", name, *(["--run", "run", "--subjects", "3"] if with_run else [])]) == 0
    assert capsys.readouterr().out.split() == ["x", "2", "s", "x1.50", "(y:", "3", "s)", "over", "all", "4.00"]
    ((_, arguments, _),) = calls
    assert arguments[:3] == ((preset("tiny"), RunFolder(run), 3) if with_run else ())
    assert status_of(["bench", name, *(["--run", "run"] if with_run else []), "--json"]) == 0
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed.items() >= (row | {"gpus": 0}).items()
    assert printed["device"]


def test_the_bench_of_the_cascade_prints_a_table_and_draws_a_sheet(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    measured = [({"subject": "000001", "step": "fitted planes", "psnr": 20.0, "ssim": 0.5, "lpips": 0.1}, "pictures")]
    calls = fake(monkeypatch, "rodin.bench.cascade", bench_cascade=measured)
    drawn = fake(monkeypatch, "analysis.figures.cascade", cascade_lines="lines")
    sheets = fake(monkeypatch, "analysis.figures.contact_sheet", contact_sheet="sheet", save_sheet=None)
    fake(monkeypatch, "rodin.store.shards.reader", Shards="views")
    assert status_of(["bench", "cascade", "--run", "run", "--subjects", "3"]) == 0
    *table, path = capsys.readouterr().out.splitlines()
    assert any(line.startswith("fitted planes") and "20.00" in line for line in table)
    assert path == "run/figures/figure-cascade.png"
    assert calls[0][1][:3] == (preset("tiny"), RunFolder(run), 3)
    assert drawn[0][1] == ("views", measured)
    assert sheets[1][1][:2] == (Path(path), "sheet")
    assert status_of(["bench", "cascade", "--run", "run", "--output", "a.png", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["step"], row["psnr"], row["gpus"]) == ("fitted planes", 20.0, 0)
    assert sheets[3][1][0] == Path("a.png")


def test_tables_figures_and_the_report(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def printed(*arguments: str) -> str:
        assert status_of([*arguments, "--run", "run"]) == 0
        return capsys.readouterr().out

    tables = fake(monkeypatch, "analysis.tables.tables", table=[{"psnr": 1}], render_table="| psnr |")
    shown = Figure("title", "caption", lambda *_: None, ("turned",))
    figures = fake(monkeypatch, "analysis.figures.figures", figure=Path("f.png"), check_name=shown)
    pages = fake(monkeypatch, "analysis.report.report", write_report=Path("r.html"), report_page=b"<p>")
    assert printed("table", "1") == "| psnr |\n"
    assert json.loads(printed("table", "1", "--json")) == [{"psnr": 1}]
    assert tables[0][1] == (run, "1")
    assert printed("figure", "9") == "f.png\n"
    assert json.loads(printed("figure", "9", "--json")) == {"figure": "9", "path": "f.png", "pdf": "f.pdf"}
    assert printed("figure", "9", "--output", "f.png") == "f.png\n"
    drawn = [call[1] for call in figures if call[0] == "figure"]
    assert drawn == [(run, "9", None), (run, "9", None), (run, "9", Path("f.png"))]
    assert printed("report") == "run/report.html\n"
    assert (run / "report.html").read_bytes() == b"<p>"
    assert json.loads(printed("report", "--json")) == {"report": "run/report.html"}
    assert printed("report", "--output", "a.html") == "a.html\n"
    assert [call[1] for call in pages] == [(run,), (run,), (run, Path("a.html"))]


MASKS = ["--masks", "m", "--invert-masks"]


@pytest.mark.parametrize(
    ("kind", "arguments", "aligned", "cut_out"),
    [
        ("colmap", [], (1.0, None, None, None, None), (None, None, False)),
        ("transforms", [], (1.0, (0.0, 0.0, 0.0), 1.0, "y", None), (None, None, False)),
        (
            "eg3d",
            ["--scale", "0.5", "--centre=1,-2,3.5", "--up", "z", "--front", "a.png"],
            (1.0, (1.0, -2.0, 3.5), 0.5, "z", "a.png"),
            (None, None, False),
        ),
        (
            "transforms",
            ["--scale", "auto", "--centre", "auto", "--up", "auto", *MASKS, "--background", "border"],
            (1.0, None, None, None, None),
            (Path("m"), "border", True),
        ),
    ],
)
def test_import(
    kind: str, arguments: list[str], aligned: tuple, cut_out: tuple, run: Path, monkeypatch: pytest.MonkeyPatch
):
    placed, cut = SimpleNamespace(scale=1.0), SimpleNamespace(masks=None)
    alignment = fake(monkeypatch, "rodin.captures.placing", Alignment=placed)
    alpha = fake(monkeypatch, "rodin.captures.alpha", Alpha=cut)
    made = {"subjects": 1, "views": 6, "shards": 1, "skipped": 0, "empty": 0, "notes": []}
    calls = fake(monkeypatch, "rodin.captures.importing", plan_import=[PERSON], write_views=made)
    more = ["--frame", "crop", "--skip-missing", "--follow-links", "--preset", "tiny", "--set", "data.shard_subjects=3"]
    assert status_of(["import", kind, "captures", "--run", "new", *arguments, *more]) == 0
    assert (alignment[0][1], alpha[0][1]) == (aligned, cut_out)
    (_, planned, _), (_, written, _) = calls
    config = preset("tiny", ["data.source=import", "data.shard_subjects=3"])
    assert planned == (kind, Path("captures"), config, placed, cut, "crop", True, True)
    assert written[:3] == ([PERSON], 3, RunFolder(Path("new")))
    assert RunFolder(Path("new")).config_file.is_file()


def test_a_check_draws_and_writes_no_views_even_with_a_run(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    calls = fake(monkeypatch, "rodin.captures.importing", plan_import=["person"], write_views={})
    drawn = {"title": "ann", "notes": ["a note"]}
    fake(monkeypatch, "rodin.captures.inspection", inspect=({"name": "ann"}, drawn))
    saved = fake(monkeypatch, "analysis.figures.capture_check", CaptureCheck="sheet", save=None)
    check = ["import", "colmap", "captures", "--preset", "tiny", "--run", "new", "--check", "look.png"]
    assert status_of(check) == 0
    assert capsys.readouterr().out == "look.png: ann; no views were written\na note\n"
    assert [name for name, _, _ in calls] == ["plan_import"]
    assert saved == [("CaptureCheck", (), drawn), ("save", ("sheet", Path("look.png")), {})]
    assert not Path("new").exists()
    assert status_of([*check, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "ann", "png": "look.png"}


def test_no_import_into_a_run_that_is_being_driven(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    calls = fake(monkeypatch, "rodin.captures.importing", plan_import=[PERSON], write_views={})
    with driving(RunFolder(Path("new"))):
        assert status_of(["import", "colmap", "captures", "--preset", "tiny", "--run", "new"]) == 2
    assert "is being run by process" in capsys.readouterr().err
    assert [name for name, _, _ in calls] == ["plan_import"]
