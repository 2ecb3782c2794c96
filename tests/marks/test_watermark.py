"""The watermark: found after what pictures go through, invisible, and never seen in pictures without it."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
from fixtures.finished_stores import Face
from PIL import Image

from jobs.cli.app import status_of
from rodin.bench.watermark import CHANGES
from rodin.compositing import bytes_over_white
from rodin.marks import watermark
from rodin.marks.pictures import detect_in
from rodin.marks.watermark import CERTAIN, PUBLIC_KEY, TRIES, detect, mark

KEY = b"of our own"


def portrait(side: int, number: int = 0) -> np.ndarray:
    """A drawn head with some texture, [side, side, 4] uint8, transparent around it."""
    colours = ("#b03a2e", "#6e4a2f", "#d9b36c", "#222222")
    rgba = Face(colours[number % 4], "#2c5aa0", number / 3).picture(side)
    noise = np.random.default_rng(number).normal(0, 3, (side, side, 1))
    rgba[..., :3] = np.clip(rgba[..., :3] + noise, 0, 255)
    return rgba


@pytest.fixture(scope="module")
def marked() -> np.ndarray:
    return mark(portrait(256), KEY)


@pytest.mark.parametrize("change", list(CHANGES))
def test_the_mark_is_found_after_what_pictures_go_through(marked: np.ndarray, change: str) -> None:
    found = detect(CHANGES[change](bytes_over_white(marked)), KEY)
    assert found.marked
    assert found.false_alarm < CERTAIN


def test_another_key_finds_nothing_and_neither_does_an_unmarked_picture(marked: np.ndarray) -> None:
    for picture, key in ((bytes_over_white(marked), PUBLIC_KEY), (bytes_over_white(portrait(256)), KEY)):
        found = detect(picture, key)
        assert not found.marked
        assert found.false_alarm > 0.01


def test_the_mark_is_hardly_seen_and_only_where_the_person_is(marked: np.ndarray) -> None:
    plain = portrait(256)
    noise = np.square(bytes_over_white(marked).astype(float) - bytes_over_white(plain)).mean()
    assert 10 * math.log10(255**2 / noise) > 40
    assert np.array_equal(marked[..., 3], plain[..., 3])
    clear = plain[..., 3] == 0
    assert np.array_equal(marked[clear], plain[clear])
    assert np.abs(marked.astype(int) - plain).max() <= 20
    assert np.array_equal(mark(plain, KEY), marked)


@pytest.mark.parametrize("side", [64, 512])
def test_small_and_large_pictures_keep_it_as_they_are(side: int) -> None:
    plain = portrait(side, 1)
    picture = mark(plain, KEY)
    noise = np.square(bytes_over_white(picture).astype(float) - bytes_over_white(plain)).mean()
    assert 10 * math.log10(255**2 / noise) > 40
    assert detect(picture, KEY).marked
    assert detect(bytes_over_white(picture)[:, :, ::-1], KEY).marked  # blue for red: little is lost


def test_a_picture_of_any_size_is_found_again_from_a_square_one(marked: np.ndarray) -> None:
    image = Image.fromarray(bytes_over_white(marked)).resize((200, 200), Image.Resampling.LANCZOS)
    found = detect(np.asarray(image), KEY)
    assert found.marked
    assert found.scale == pytest.approx(256 / 200)


def test_the_bound_of_false_alarms_holds_over_keys() -> None:
    """Over keys drawn at random the score of one shift passes z at most as often as exp(-z²/2) says."""
    grey = watermark._grey(portrait(64, 2))
    found = watermark._folded(grey)[0]
    phases = found / np.maximum(np.abs(found), 1e-9)
    scores = []
    for number in range(2000):
        waves, count = watermark._phases(str(number).encode(), watermark.COARSE)
        fit = np.real(phases * np.conj(waves))
        once = fit[:, 1:].sum() + fit[1 : watermark.TILE // 2, 0].sum()
        scores.append(once / math.sqrt(count / 2))
    for z in (1.0, 2.0, 3.0):
        assert np.mean(np.array(scores) > z) <= math.exp(-z * z / 2)
    assert np.std(scores) == pytest.approx(1.0, abs=0.05)


def test_unmarked_pictures_are_below_the_bound() -> None:
    """Of 40 unmarked pictures none has a score that only one in a thousand may have."""
    pictures = [bytes_over_white(portrait(64, number)) for number in range(40)]
    assert min(detect(picture, KEY).false_alarm for picture in pictures) > 1e-3


def test_the_pattern_is_a_real_picture_of_its_waves() -> None:
    waves, count = watermark._phases(KEY, watermark.COARSE)
    back = np.fft.rfft2(watermark._tiled(waves, 64, 64))
    kept = waves != 0
    np.testing.assert_allclose(back[kept] / np.abs(back[kept]), waves[kept], atol=1e-9)
    assert np.abs(back[~kept]).max() < 1e-6 * np.abs(back).max()
    assert count == (np.abs(np.fft.fft2(watermark._tiled(waves, 64, 64))) > 1e-6).sum() // 2
    assert TRIES == 2 * 64 * 64


def test_nothing_opaque_and_odd_shapes_do_not_fail() -> None:
    for shape in ((40, 30, 4), (64, 64, 4)):  # the latter is a whole tile, whose waves are exactly 0
        clear = np.random.default_rng(0).integers(0, 256, shape, np.uint8) * np.uint8([1, 1, 1, 0])
        assert np.array_equal(mark(clear), clear)
        assert not detect(clear).marked
    assert not detect(np.full((50, 17, 3), 128, np.uint8)).marked
    with pytest.raises(ValueError, match="8 x 20 pixels, wanted 16"):
        detect(np.zeros((20, 8, 3), np.uint8))


def test_greys_of_16_bits_and_floats_are_read_as_they_look(tmp_path: Path, marked: np.ndarray) -> None:
    grey = np.asarray(Image.fromarray(bytes_over_white(marked)).convert("L"))
    kinds = {"deep.png": grey.astype(np.uint16) * 257, "deep.tif": grey.astype(np.uint16) * 257}
    for name, values in (kinds | {"float.tif": grey.astype(np.float32) / 255}).items():
        assert detect_in(Path(saved(tmp_path / name, values)), KEY) == detect(np.dstack([grey] * 3), KEY)
    assert detect(np.dstack([grey] * 3), KEY).marked
    with pytest.raises(ValueError, match=r"whole.tif: a picture that cannot be read \(integers of 32 bits"):
        detect_in(Path(saved(tmp_path / "whole.tif", grey.astype(np.int32))), KEY)


def test_a_grey_that_is_transparent_is_white(tmp_path: Path, marked: np.ndarray) -> None:
    values = np.asarray(Image.fromarray(bytes_over_white(marked)).convert("L")).astype(np.uint16) * 257
    values[values == 65535] = 3
    path = saved(tmp_path / "key.png", values, transparency=3)
    seen = np.rint(np.where(values == 3, 255, values / 257)).astype(np.uint8)
    assert detect_in(Path(path), KEY) == detect(np.dstack([seen] * 3), KEY)


def saved(path: Path, picture: np.ndarray, **how) -> str:
    Image.fromarray(picture).save(path, **how)
    return str(path)


def test_the_command_answers_and_refuses(tmp_path: Path, marked: np.ndarray, capsys) -> None:
    key = tmp_path / "key"
    key.write_bytes(KEY)
    yes = saved(tmp_path / "yes.jpg", bytes_over_white(marked), quality=80)
    no = saved(tmp_path / "no.png", portrait(64))
    assert status_of(["watermark", "check", yes, no, "--key", str(key)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{yes}: yes  (false alarms: at most ")
    assert second.startswith(f"{no}: no ")
    assert status_of(["watermark", "check", yes, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["file"], row["watermark"]) == (yes, False)
    text, empty, short = tmp_path / "a.txt", tmp_path / "empty", tmp_path / "short.png"
    text.write_text("no picture")
    empty.touch()
    data = io.BytesIO()
    Image.fromarray(marked).save(data, "PNG")
    short.write_bytes(data.getvalue()[:2000])
    for arguments, words in (
        ([str(tmp_path / "absent.png")], "no such picture"),
        ([str(text)], "not a picture"),
        ([str(short)], "cannot be read"),
        ([saved(tmp_path / "tiny.png", np.zeros((4, 4, 3), np.uint8))], "4 x 4 pixels"),
        ([yes, "--key", str(empty)], "an empty file"),
        ([yes, "--key", str(tmp_path / "nokey")], "no such file"),
    ):
        assert status_of(["watermark", "check", *arguments]) == 2
        line = capsys.readouterr().err
        assert words in line
        assert line.count("\n") == 1
