"""Which option of a command reaches which argument of the library; the library itself does not run here."""

import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from fixtures.obedient import ROOT
from PIL import Image

from jobs.cli.app import status_of
from jobs.run.lock import driving
from jobs.run.record import write_config
from rodin.generate.options import SamplingOptions
from rodin.presets import preset
from rodin.store.run_folder import RunFolder

Calls = list[tuple[str, tuple[Any, ...], dict[str, Any]]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_config(RunFolder(Path("run")), preset("tiny"))
    Image.new("RGB", (4, 4)).save("me.png")
    return Path("run")


def fake(monkeypatch: pytest.MonkeyPatch, module: str, **answers: Any) -> Calls:
    """Put functions that record their arguments in a module's place: name -> what it returns."""
    calls: Calls = []

    def recorder(name: str, answer: Any) -> Any:
        def record(*arguments: Any, **named: Any) -> Any:
            calls.append((name, arguments, named))
            return answer

        return record

    made = types.ModuleType(module)
    for name, answer in answers.items():
        setattr(made, name, recorder(name, answer))
    monkeypatch.setitem(sys.modules, module, made)
    return calls


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Calls:
    one = {"output": Path("out"), "views": [Path("a.png"), Path("b.png")], "mesh": None}
    many = [one | {"output": Path(f"out/{number}")} for number in range(2)]
    return fake(monkeypatch, "rodin.generate.requests", sample_avatar=one, sample_avatars=many, edit_avatar=one)


def test_one_avatar(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    options = ["--guidance-scale", "1.5", "--steps", "7", "--precision", "bfloat16"]
    assert status_of(["sample", "--run", "run", "--text", "a man", "--seed", "3", *options, "--json"]) == 0
    ((name, (folder,), named),) = requests
    del named["progress"], named["tell"]
    output = named.pop("output")
    assert (name, folder, output.parent) == ("sample_avatar", run, run / "made")
    assert named == {"text": "a man", "image": None, "seed": 3, "options": SamplingOptions(1.5, 7, "bfloat16")}
    assert json.loads(capsys.readouterr().out) == {"output": "out", "views": ["a.png", "b.png"], "mesh": None}


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        ([], "run/made/nothing-[0-9a-f]{8}-seed-0"),
        (["--image", "me.png", "--seed", "5"], "run/made/me-[0-9a-f]{8}-seed-5"),
        (["--count", "2"], "run/made/nothing-x2-[0-9a-f]{8}-seed-0"),
        (["--text", "A  Män, 'bald'", "--text", "b"], "run/made/a-man-bald-x1-[0-9a-f]{8}-seed-0"),
        (["--text", "红头发"], "run/made/text-[0-9a-f]{8}-seed-0"),
        (
            ["--text", "a man with a beard that is as long as a road"],
            "run/made/a-man-with-a-beard-that-is-as-long-as-a-[^-]*-seed-0",
        ),
        (["--image", "me.png", "--count", "3"], "run/made/me-x3-[0-9a-f]{8}-seed-0"),
        (["-o", "mine"], "mine"),
    ],
)
def test_results_have_a_folder_that_says_what_was_asked(arguments: list[str], output: str, run: Path, requests: Calls):
    assert status_of(["sample", "--run", "run", *arguments]) == 0
    assert re.fullmatch(output, str(requests[-1][2]["output"]))


def test_only_the_same_request_has_the_same_folder(run: Path, requests: Calls):
    Path("other").mkdir()
    Image.new("RGB", (4, 4), "red").save("other/me.png")
    Path("copied").mkdir()
    Path("copied/me.png").write_bytes(Path("me.png").read_bytes())

    def folder(*arguments: str) -> Path:
        assert status_of([*arguments, "--run", "run"]) == 0
        return requests[-1][2]["output"]

    text = ["sample", "--text", "a man"]
    asked = [
        ["sample"],
        text,
        ["sample", "--text", "a man!"],
        ["sample", "--text", "a man", "--text", "b"],
        ["sample", "--text", "a man", "--text", "c"],
        [*text, "--seed", "1"],
        [*text, "--count", "2"],
        [*text, "--steps", "2"],
        [*text, "--guidance-scale", "2"],
        [*text, "--precision", "bfloat16"],
        ["sample", "--image", "me.png"],
        ["sample", "--image", "other/me.png"],
        ["edit", "--to", "a man"],
        ["edit", "--to", "a man", "--from", "b"],
        ["edit", "--to", "a man", "--text", "b"],
        ["edit", "--to", "a man", "--image", "me.png"],
    ]
    folders = [folder(*arguments) for arguments in asked]
    assert len(set(folders)) == len(asked)
    assert [folder(*arguments) for arguments in asked] == folders
    assert folder("sample", "--text", "  a   man ") == folders[1]
    assert folder("sample", "--image", "copied/me.png") == folder("sample", "--image", "me.png")


def test_several_avatars(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    assert status_of(["sample", "--run", "run", "--text", "a", "--text", "b", "--count", "4", "--seed", "2"]) == 0
    ((name, _, named),) = requests
    assert (name, named["options"]) == ("sample_avatars", SamplingOptions())
    assert (named["texts"], named["images"], named["count"], named["seed"]) == (["a", "b"], [], 4, 2)
    assert capsys.readouterr().out == "out/0\nout/1\n"
    assert status_of(["sample", "--run", "run", "--image", "me.png", "--image", "me.png"]) == 0
    assert (requests[-1][2]["texts"], requests[-1][2]["images"]) == ([], [Path("me.png")] * 2)


def test_edit(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    words = ["--image", "me.png", "--from", "a man", "--to", "a man with a hat", "--seed", "4", "--steps", "9"]
    assert status_of(["edit", "--run", "run", *words]) == 0
    ((name, _, named),) = requests
    assert (name, named["options"]) == ("edit_avatar", SamplingOptions(steps=9))
    assert (named["source"], named["target"]) == ("a man", "a man with a hat")
    assert (named["image"], named["text"], named["seed"]) == (Path("me.png"), None, 4)
    assert named["output"].name.startswith("edit-a-man-with-a-hat-")
    printed = "output: out\nviews: a.png\nviews: b.png\nmesh: none, the avatar has no surface\n"
    assert capsys.readouterr().out == printed


def test_notes_go_to_stderr_and_paths_need_not_be_utf_8(run: Path):
    script = """
import os, sys, types
from pathlib import Path
from jobs.cli.app import main
def made(*_, tell, **__):
    tell("look")
    return {"output": Path(os.fsdecode(b"out\\xff"))}
module = types.ModuleType("rodin.generate.requests")
module.sample_avatar = module.sample_avatars = made
sys.modules["rodin.generate.requests"] = module
main(["sample", "--run", "run"])
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"output: out\xff\n", b"rodin: note: look\n", 0)


@pytest.mark.parametrize("scale", ["0", "nan", "inf", "-1", "1e30"])
def test_a_guidance_scale_is_a_positive_number(scale: str, run: Path, requests: Calls):
    assert status_of(["sample", "--run", "run", "--guidance-scale", scale]) == 2
    assert status_of(["edit", "--run", "run", "--to", "x", "--guidance-scale", scale]) == 2
    assert requests == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["sample", "--seed", str(2**63)],
        ["sample", "--count", "10001"],
        ["sample", "--steps", "1001"],
        ["sample", "--precision", "float8"],
        ["sample", "--image", ""],
        ["sample", "--output", ""],
        ["sample", "--text", ""],
        ["sample", "--text", "a\udcffb"],
        ["edit", "--to", "a", "--from", "\0"],
        ["edit", "--to", "a", "--text", "x" * 2001],
        ["edit", "--to", "a", "--image", ""],
    ],
)
def test_what_no_avatar_can_be_made_of_is_refused_before_models_load(
    arguments: list[str], run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]
):
    assert status_of([*arguments, "--run", "run"]) == 2
    assert requests == []
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rodin: error: ")


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
        ("sample", True, "cascade", "bench_run"),
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


def test_tables_figures_and_the_report(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def printed(*arguments: str) -> str:
        assert status_of([*arguments, "--run", "run"]) == 0
        return capsys.readouterr().out

    tables = fake(monkeypatch, "analysis.tables.tables", table=[{"psnr": 1}], render_table="| psnr |")
    figures = fake(monkeypatch, "analysis.figures.figures", figure=Path("f.png"))
    fake(monkeypatch, "analysis.report.report", write_report=Path("r.html"))
    assert printed("table", "1") == "| psnr |\n"
    assert json.loads(printed("table", "1", "--json")) == [{"psnr": 1}]
    assert tables[0][1] == (run, "1")
    assert printed("figure", "9") == "f.png\n"
    assert json.loads(printed("figure", "9", "--json")) == {"figure": "9", "path": "f.png"}
    assert figures[0][1] == (run, "9")
    assert printed("report") == "r.html\n"
    assert json.loads(printed("report", "--json")) == {"report": "r.html"}


@pytest.mark.parametrize(
    ("kind", "arguments", "aligned", "cut_out"),
    [
        ("colmap", [], (1.0, None, None, None, None), (None, None)),
        ("transforms", [], (1.0, (0.0, 0.0, 0.0), 1.0, "y", None), (None, None)),
        (
            "eg3d",
            ["--scale", "0.5", "--centre=1,-2,3.5", "--up", "z", "--front", "a.png"],
            (1.0, (1.0, -2.0, 3.5), 0.5, "z", "a.png"),
            (None, None),
        ),
        (
            "transforms",
            ["--scale", "auto", "--centre", "auto", "--up", "auto", "--masks", "m", "--background", "border"],
            (1.0, None, None, None, None),
            (Path("m"), "border"),
        ),
    ],
)
def test_import(
    kind: str, arguments: list[str], aligned: tuple, cut_out: tuple, run: Path, monkeypatch: pytest.MonkeyPatch
):
    alignment = fake(monkeypatch, "rodin.captures.placing", Alignment="alignment")
    alpha = fake(monkeypatch, "rodin.captures.alpha", Alpha="alpha")
    made = {"subjects": 1, "views": 6, "shards": 1, "skipped": 0}
    calls = fake(monkeypatch, "rodin.captures.importing", plan_import=["person"], write_views=made)
    more = ["--frame", "crop", "--skip-missing", "--preset", "tiny", "--set", "data.shard_subjects=3"]
    assert status_of(["import", kind, "captures", "--run", "new", *arguments, *more]) == 0
    assert (alignment[0][1], alpha[0][1]) == (aligned, cut_out)
    (_, planned, _), (_, written, _) = calls
    config = preset("tiny", ["data.source=import", "data.shard_subjects=3"])
    assert planned == (kind, Path("captures"), config, "alignment", "alpha", "crop", True)
    assert written[:3] == (["person"], 3, RunFolder(Path("new")))
    assert RunFolder(Path("new")).config_file.is_file()


def test_a_damaged_picture_is_refused_before_models_load(run: Path, requests: Calls):
    data = bytearray(Path("me.png").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1
    Path("me.png").write_bytes(data)
    assert status_of(["sample", "--run", "run", "--image", "me.png"]) == 2
    assert status_of(["edit", "--run", "run", "--image", "me.png", "--to", "x"]) == 2
    assert requests == []


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
    calls = fake(monkeypatch, "rodin.captures.importing", plan_import=["person"], write_views={})
    with driving(RunFolder(Path("new"))):
        assert status_of(["import", "colmap", "captures", "--preset", "tiny", "--run", "new"]) == 2
    assert "is being run by process" in capsys.readouterr().err
    assert [name for name, _, _ in calls] == ["plan_import"]
