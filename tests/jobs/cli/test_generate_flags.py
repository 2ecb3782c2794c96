"""Which option of `rodin sample` and `edit` reaches which argument, and where results go; no model runs here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fixtures.obedient import ROOT
from fixtures.recorded_calls import Calls, fake
from PIL import Image

from jobs.cli.app import status_of
from rodin.generate.inversion import InversionSettings
from rodin.generate.look import Look
from rodin.generate.options import SamplingOptions


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> Calls:
    one = {"output": Path("out"), "views": [Path("a.png"), Path("b.png")], "mesh": None}
    many = [one | {"output": Path(f"out/{number}")} for number in range(2)]
    return fake(
        monkeypatch,
        "rodin.generate.requests",
        sample_avatar=one,
        sample_avatars=many,
        edit_avatar=one,
        invert_avatar=one,
    )


def test_one_avatar(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    options = ["--guidance-scale", "1.5", "--steps", "7", "--precision", "bfloat16"]
    assert status_of(["sample", "--run", "run", "--text", "a man", "--seed", "3", *options, "--json"]) == 0
    ((name, (folder,), named),) = requests
    del named["progress"], named["tell"]
    output = named.pop("output")
    assert (name, folder, output.parent) == ("sample_avatar", run, run / "made")
    wanted = {"text": "a man", "image": None, "background": None, "seed": 3, "look": Look()}
    assert named == wanted | {"options": SamplingOptions(1.5, 7, "bfloat16")}
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
    portrait = Image.open("me.png")
    portrait.paste((30, 200, 30), (8, 8, 24, 32))
    portrait.save("other/me.png")
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
        [*text, "--size", "32"],
        [*text, "--views", "3"],
        [*text, "--format", "png"],
        ["sample", "--image", "me.png"],
        ["sample", "--image", "other/me.png"],
        ["sample", "--image", "me.png", "--background", "none"],
        ["edit", "--to", "a man"],
        ["edit", "--to", "a man", "--from", "b"],
        ["edit", "--to", "a man", "--text", "b"],
        ["edit", "--to", "a man", "--image", "me.png"],
        ["edit", "--to", "a man", "--subject", "000001"],
        ["edit", "--to", "a man", "--avatar", "other"],
        ["edit", "--to", "a man", "--strength", "2"],
        ["invert", "--image", "me.png"],
        ["invert", "--image", "me.png", "--no-planes"],
        ["invert", "--image", "me.png", "--yaw", "3"],
    ]
    folders = [folder(*arguments) for arguments in asked]
    assert len(set(folders)) == len(asked)
    assert [folder(*arguments) for arguments in asked] == folders
    assert folder("sample", "--text", "  a   man ") == folders[1]
    assert folder("sample", "--image", "copied/me.png") == folder("sample", "--image", "me.png")


def test_a_folder_whose_name_is_not_utf_8_has_results_of_its_own(run: Path, requests: Calls):
    names = [os.fsdecode(name) for name in (b"M\xfcller", b"M\xf6ller", "Müller".encode())]
    for name in names:
        assert status_of(["edit", "--run", "run", "--to", "a man", "--avatar", name]) == 0
    assert len({named["output"] for _, _, named in requests}) == 3
    assert all(named["output"].name.isascii() for _, _, named in requests)


def test_several_avatars(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    assert status_of(["sample", "--run", "run", "--text", "a", "--text", "b", "--count", "4", "--seed", "2"]) == 0
    ((name, _, named),) = requests
    assert (name, named["options"]) == ("sample_avatars", SamplingOptions())
    assert (named["texts"], named["images"], named["count"], named["seed"]) == (["a", "b"], [], 4, 2)
    assert capsys.readouterr().out == "out/0\nout/1\n"
    assert status_of(["sample", "--run", "run", "--image", "me.png", "--image", "me.png"]) == 0
    assert (requests[-1][2]["texts"], requests[-1][2]["images"]) == ([], [Path("me.png")] * 2)
    assert requests[-1][2]["background"] is None
    assert capsys.readouterr().err.count("note: me.png: no frontal face found, so the avatar may not be like") == 2


def test_a_portrait_s_background_is_told(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    for command in (["sample"], ["sample", "--count", "2"], ["edit", "--to", "x"]):
        told = [*command, "--run", "run", "--background", "#ffffff"]
        assert status_of([*told, "--image", "me.png"]) == 0
        assert requests[-1][2]["background"] == "#ffffff"
        assert status_of(told) == 2
        assert "--background #ffffff is of a portrait; give one with --image" in capsys.readouterr().err


def test_edit(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    words = ["--image", "me.png", "--from", "a man", "--from", "b", "--to", "a man with a hat", "--seed", "4"]
    words += ["--steps", "9", "--strength", "0.5", "--size", "128", "--views", "3", "--format", "png"]
    assert status_of(["edit", "--run", "run", *words]) == 0
    ((name, _, named),) = requests
    assert (name, named["options"]) == ("edit_avatar", SamplingOptions(steps=9))
    assert (named["source"], named["target"], named["strength"]) == (["a man", "b"], "a man with a hat", 0.5)
    assert named["look"] == Look(128, 3, "png")
    assert (named["image"], named["text"], named["seed"]) == (Path("me.png"), None, 4)
    assert named["output"].name.startswith("edit-a-man-with-a-hat-")
    printed = "output: out\nviews: a.png\nviews: b.png\nmesh: none, the avatar has no surface\n"
    assert capsys.readouterr().out == printed


def test_invert(run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]):
    camera = {"frames": [{"transform_matrix": np.eye(4).tolist()}], "camera_angle_x": 0.5}
    camera["frames"][0]["transform_matrix"][2][3] = 4.0
    Path("cameras.json").write_text(json.dumps(camera))
    words = ["invert", "--run", "run", "--image", "me.png", "--seed", "2"]
    for more in (["--yaw", "20", "--latent-steps", "3"], ["--no-planes"], ["--camera", "cameras.json"]):
        assert status_of([*words, *more]) == 0
    angle, latent, file = (named["settings"] for _, _, named in requests)
    assert (angle, latent) == (InversionSettings(3, 60, 20.0), InversionSettings(15, 0))
    assert file.camera.poses[0, :3, 3].tolist() == [0, 0, 4]
    np.testing.assert_allclose(file.camera.lenses[0], [0.5 / np.tan(0.25)] * 2 + [0.5] * 2, rtol=1e-6)
    assert status_of([*words, "--camera", "cameras.json", "--pitch", "3"]) == 2
    assert "got both --camera and --yaw or --pitch" in capsys.readouterr().err.splitlines()[-1]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open("me.png").save("me.png", exif=exif)
    assert status_of([*words, "--camera", "cameras.json", "--background", "none"]) == 0
    turned = requests[-1][2]["settings"].camera.poses[0]
    assert turned[:3, 0].tolist() == (-file.camera.poses[0, :3, 1]).tolist()


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
        ["edit", "--to", "a", "--strength", "nan"],
        ["edit", "--to", "a", "--text", "b", "--subject", "000001"],
        ["sample", "--size", "15"],
        ["sample", "--size", "1025"],
        ["sample", "--views", "0"],
        ["sample", "--format", "avi"],
        ["invert", "--image", ""],
        ["invert", "--image", "me.png", "--yaw", "200"],
        ["invert", "--image", "me.png", "--planes-steps", "-1"],
        ["invert", "--image", "me.png", "--camera", "none.json"],
    ],
)
def test_what_no_avatar_can_be_made_of_is_refused_before_models_load(
    arguments: list[str], run: Path, requests: Calls, capsys: pytest.CaptureFixture[str]
):
    assert status_of([*arguments, "--run", "run"]) == 2
    assert requests == []
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("rodin: error: ")


def test_a_damaged_picture_is_refused_before_models_load(run: Path, requests: Calls):
    Image.new("RGB", (32, 32), "red").save("blank.png")
    assert status_of(["sample", "--run", "run", "--image", "me.png", "--image", "blank.png"]) == 2
    data = bytearray(Path("me.png").read_bytes())
    data[data.index(b"IDAT") + 6] ^= 1
    Path("me.png").write_bytes(data)
    assert status_of(["sample", "--run", "run", "--image", "me.png"]) == 2
    assert status_of(["edit", "--run", "run", "--image", "me.png", "--to", "x"]) == 2
    assert requests == []
