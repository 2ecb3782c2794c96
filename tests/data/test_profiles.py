"""Pictures with a colour profile show the colours that it means, however they come; masks keep their numbers."""

from pathlib import Path

import numpy as np
import pytest
from fixtures.icc_profiles import ADOBE, P3, SRGB, as_srgb, profile
from PIL import Image, ImageCms

from rodin.captures.alpha import Alpha, cutter
from rodin.captures.capture import Capture, Frame
from rodin.captures.lens import Lens
from rodin.data.decoding import decoded, opened
from rodin.data.portraits import picture_of

COLOURS = np.array([[[200, 100, 50], [30, 160, 90], [120, 110, 200]], [[128, 128, 128], [255, 255, 255], [70, 40, 90]]])
"""inside sRGB whichever profile they have"""
PROFILES = {"Display P3": P3, "Adobe RGB": ADOBE}
STEP = 1.5
"""of 255: rounding of the numbers, and of the profile's own to 16 bits"""


def write(path: Path, rgb: np.ndarray, icc: bytes | None, mode: str = "RGB", **how) -> Path:
    Image.fromarray(rgb.astype(np.uint8)).convert(mode).save(path, icc_profile=icc, **how)
    return path


def near(picture: Image.Image, wanted: np.ndarray) -> None:
    found = np.asarray(picture)[..., :3].astype(float)
    assert np.abs(found - wanted).max() <= STEP
    assert "icc_profile" not in picture.info


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("file", ["a.png", "a.webp", "a.tif"])
def test_colours_are_those_of_the_profile(tmp_path: Path, name: str, file: str) -> None:
    icc, wanted = profile("RGB ", PROFILES[name]), as_srgb(COLOURS, PROFILES[name])
    assert np.abs(wanted - COLOURS).max() > 8
    how = {"lossless": True} if file == "a.webp" else {}
    path = write(tmp_path / file, COLOURS, icc, **how)
    near(opened(path), wanted)
    near(picture_of(path)[0], wanted)
    with Image.open(path) as picture:
        near(picture_of(picture)[0], wanted)
        assert picture.info["icc_profile"] == icc  # the user's own is left alone
    assert np.array_equal(np.asarray(decoded(path).convert("RGB")), COLOURS)


def test_alpha_and_a_transparent_colour_stay(tmp_path: Path) -> None:
    icc, wanted = profile("RGB ", P3), as_srgb(COLOURS, P3)
    alpha = np.array([[0, 40, 80], [128, 200, 255]])
    picture = opened(write(tmp_path / "a.png", np.dstack([COLOURS, alpha]), icc, "RGBA"))
    near(picture, wanted)
    assert np.array_equal(np.asarray(picture.getchannel("A")), alpha)
    picture = opened(write(tmp_path / "b.png", COLOURS, icc, transparency=(30, 160, 90)))
    near(picture, wanted)
    assert np.asarray(picture.getchannel("A")).tolist() == [[255, 0, 255], [255, 255, 255]]
    Image.fromarray(COLOURS.astype(np.uint8)).quantize(6).save(tmp_path / "c.png", icc_profile=icc)
    near(opened(tmp_path / "c.png"), as_srgb(np.asarray(decoded(tmp_path / "c.png").convert("RGB")), P3))


def test_greys_of_8_and_16_bits_and_inks(tmp_path: Path) -> None:
    grey = np.array([[0, 40, 80], [128, 200, 255]])
    wanted = as_srgb(np.repeat(grey[..., None], 3, axis=2), SRGB, 1.8)
    icc = profile("GRAY", gamma=1.8)
    near(opened(write(tmp_path / "a.png", grey, icc, "L")), wanted)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "b.png", icc_profile=icc)
    near(opened(tmp_path / "b.png"), wanted)
    inks = Image.fromarray(COLOURS.astype(np.uint8)).convert("CMYK")
    inks.save(tmp_path / "c.tif", icc_profile=profile("RGB ", P3))  # of other numbers than the file has
    near(opened(tmp_path / "c.tif"), COLOURS)


def test_srgb_none_and_damaged_profiles_keep_every_bit(tmp_path: Path) -> None:
    own, whole = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), profile("RGB ", P3)
    cut = [whole[:size] for size in (3, 100, 128, 200, len(whole) - 40)]
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    maker = profile("RGB ", np.round(SRGB * 2500) / 2500, gamma=None)  # as makers round it
    many = np.random.default_rng(0).integers(0, 256, (40, 40, 3))
    for number, icc in enumerate([None, own, maker, *cut, b"none", lab, profile("GRAY", gamma=1.8)]):
        picture = opened(write(tmp_path / f"{number}.png", many, icc))
        assert np.array_equal(np.asarray(picture), many)
        assert "icc_profile" not in picture.info


def test_a_capture_s_photographs_are_converted_and_its_masks_are_not(tmp_path: Path) -> None:
    icc, values = profile("RGB ", P3), np.array([[0, 60, 255], [0, 130, 255]])
    write(tmp_path / "0.png", COLOURS, icc)
    (tmp_path / "masks").mkdir()
    write(tmp_path / "masks" / "0.png", np.repeat(values[..., None], 3, axis=2), profile("RGB ", P3, 1.8))
    frame = Frame(tmp_path / "0.png", np.eye(4), Lens(3, 2, 9.0, 9.0, 1.5, 1.0))
    one = Capture(tmp_path, tmp_path / "transforms.json", [frame], name="ann")
    rgba = cutter(one, Alpha(masks=tmp_path / "masks"))(frame)
    assert np.abs(rgba[..., :3] - as_srgb(COLOURS, P3)).max() <= STEP
    assert np.array_equal(rgba[..., 3], values)
