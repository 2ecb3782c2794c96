"""Portraits as users bring them: the person alone over white whatever lies behind; and pictures that show nobody."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from rodin.data.portraits import FACE_PIXELS, picture_of, read_portrait, shows_face

SIDE = 96
GROUNDS = {"white": (255, 255, 255), "blue": (30, 60, 200), "green": (40, 180, 70), "grey": (128, 128, 128)}
NEAR = 12
"""mean error in steps of 255 along the outline: 6 to 10 is measured, a hard cut makes it 34 to 56"""


def bust() -> tuple[np.ndarray, np.ndarray]:
    """A person's colours [S, S, 3] and soft mask [S, S, 1] in [0, 1]: head with eyes, red shirt with white stripes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    head = ((x - 0.5) / 0.17) ** 2 + ((y - 0.4) / 0.22) ** 2 < 1
    body = (((x - 0.5) / 0.36) ** 2 + ((y - 1.0) / 0.36) ** 2 < 1) & (y > 0.6)
    colours = np.full((SIDE, SIDE, 3), (205.0, 150.0, 120.0))
    colours[y > 0.62] = (200, 20, 30)
    colours[(y > 0.62) & (np.floor(y * 24) % 3 == 0)] = (250, 250, 250)
    colours[(abs(abs(x - 0.5) - 0.07) < 0.025) & (abs(y - 0.38) < 0.02)] = (20, 20, 60)
    return colours, ndimage.gaussian_filter((head | body).astype(float), 0.7)[..., None]


def room() -> np.ndarray:
    """A background of several colours with noise."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    colours = np.stack([90 + 20 * x, 135 + 30 * x, 150 + 30 * y], axis=-1)
    colours[:30, 70:90] = (60, 160, 60)
    return colours + np.random.default_rng(3).normal(0, 4, colours.shape)


def over(ground: object) -> np.ndarray:
    colours, mask = bust()
    return np.rint(colours * mask + np.asarray(ground) * (1 - mask)).clip(0, 255).astype(np.uint8)


def read(path: Path, picture: np.ndarray | Image.Image, size: int = SIDE, background: str | None = None, **how):
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(path, **how)
    found = read_portrait(path, size, background)
    assert found.shape == (size, size, 4)
    assert (found[..., 3] == 255).all()
    return found[..., :3].astype(int)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("name", ["me.png", "me.jpg"])
def test_the_background_does_not_show(tmp_path: Path, ground: str, name: str) -> None:
    true = over(GROUNDS["white"]).astype(int)
    how = {"quality": 90, "subsampling": 0} if name == "me.jpg" else {}
    error = np.abs(read(tmp_path / name, over(GROUNDS[ground]), **how) - true).mean(axis=-1)
    outline = np.abs(bust()[1][..., 0] - 0.5) < 0.49
    assert error[outline].mean() < NEAR
    assert error[~outline].mean() < 1
    kept = np.abs(read(tmp_path / name, over(GROUNDS[ground]), background="none", **how) - true)
    assert (kept.mean() > 60) == (ground != "white")


def test_a_background_of_many_colours_is_told_by_the_edges(tmp_path: Path) -> None:
    found = read(tmp_path / "me.png", over(room()))
    mask = bust()[1][..., 0]
    assert (found[mask < 0.01] > 250).mean() > 0.97
    person = mask > 0.99
    assert np.abs(found - over(GROUNDS["white"]))[person].mean() < 3


def test_a_drawing_of_few_colours_that_touches_the_edge(tmp_path: Path) -> None:
    drawing = Image.new("RGB", (64, 64), (255, 255, 0))
    drawing.paste((200, 30, 30), (24, 0, 40, 40))
    drawing.paste((20, 30, 120), (16, 40, 48, 64))
    found = read(tmp_path / "me.png", drawing, 64)
    assert (found[5:30, :10] == 255).all()
    assert np.abs(found[48:60, 22:42] - (20, 30, 120)).max() < 5


def test_a_colour_that_is_told(tmp_path: Path) -> None:
    picture = over(GROUNDS["blue"])
    picture[:, :3], picture[:, -3:] = (90, 90, 90), (10, 240, 10)  # a frame, so that the edges tell wrongly
    found = read(tmp_path / "me.png", picture, background="#1e3cc8")
    assert (found[5, 10:40] == 255).all()
    assert (found[5, 0] == (90, 90, 90)).all()
    with pytest.raises(ValueError, match="background 'blue', wanted border, white, #rrggbb or none"):
        read_portrait(tmp_path / "me.png", SIDE, "blue")


@pytest.mark.parametrize("shape", [(33, 80), (90, 31), (50, 50)])
def test_a_picture_of_any_size_becomes_a_square(tmp_path: Path, shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    assert np.ptp(read(tmp_path / "me.png", picture, 24, "none")) > 50


def test_the_middle_is_kept_and_what_is_transparent_turns_white(tmp_path: Path) -> None:
    wide = np.zeros((20, 60, 4), np.uint8)
    wide[:, 20:40] = (10, 20, 30, 255)
    wide[:5, 20:40, 3] = 0
    wide[:, :20] = (200, 0, 0, 255)
    picture = read(tmp_path / "me.png", wide, 20)
    assert (picture[10, 10] == (10, 20, 30)).all()
    assert (picture[1, 10] == 255).all()
    assert picture[10, :, 0].max() == 10


def test_a_turned_photograph_is_set_upright(tmp_path: Path) -> None:
    photo = Image.new("RGB", (40, 40), "black")
    photo.paste((255, 255, 255), (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read(tmp_path / "me.jpg", photo, 40, "none", exif=exif)
    with Image.open(tmp_path / "me.jpg") as opened:
        given = read_portrait(opened, 40, "none")
    for seen in (picture, given):
        assert seen[5, 20, 0] > 200
        assert seen[35, 20, 0] < 50


def test_pictures_of_nobody_are_refused(tmp_path: Path) -> None:
    person, mask = bust()
    drawn = np.dstack([person, 255 * mask]).astype(np.uint8)
    cases = {
        "a picture of 1 x 1 pixels, wanted 16 or more a side": Image.new("RGB", (1, 1), "red"),
        "a picture of 40 x 15 pixels, wanted 16 or more": Image.new("RGB", (40, 15)),
        "transparent all over, so nobody is to be seen": Image.fromarray(drawn * np.uint8([1, 1, 1, 0])),
        "of one colour all over, so nobody is to be seen": Image.new("RGB", (40, 40), (90, 30, 30)),
        "all of it is taken for background; say what is": Image.fromarray(
            np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        ),
    }
    for line, picture in cases.items():
        with pytest.raises(ValueError, match=f"me.png: {line}"):
            read(tmp_path / "me.png", picture)
    with pytest.raises(FileNotFoundError, match="none.png: no such file; wanted a PNG"):
        read_portrait(tmp_path / "none.png", 24)


def test_a_large_picture_is_read_alike(tmp_path: Path) -> None:
    small = read(tmp_path / "me.png", over(GROUNDS["green"]))
    large = Image.fromarray(over(GROUNDS["green"])).resize((900, 900), Image.Resampling.BICUBIC)
    assert np.abs(read(tmp_path / "large.png", large) - small).mean() < 3


def test_a_face_is_found_and_in_a_disc_none() -> None:
    photo = Image.fromarray(data.astronaut()[:360, 60:420]).resize((FACE_PIXELS, FACE_PIXELS))
    assert shows_face(np.asarray(photo.convert("RGBA")))
    y, x = np.mgrid[0:FACE_PIXELS, 0:FACE_PIXELS] / FACE_PIXELS
    disc = np.where(((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.1)[..., None], (200, 30, 30), 255).astype(np.uint8)
    assert not shows_face(disc)


def test_the_smallest_and_the_dullest_pictures_that_are_read(tmp_path: Path) -> None:
    values = np.full((16, 16, 3), 100, np.uint8)
    values[4:12, 4:12, 1] = 116
    assert read(tmp_path / "me.png", values, 16, "none").tolist() == values.tolist()
    with pytest.raises(ValueError, match="of one colour all over"):
        read(tmp_path / "me.png", values.clip(0, 115), 16, "none")
    with pytest.raises(ValueError, match="of 16 x 15 pixels, wanted 16 or more a side"):
        read(tmp_path / "me.png", values[1:], 16, "none")


def test_an_image_of_16_bits_is_read_as_its_file_is_and_a_damaged_one_is_told(tmp_path: Path) -> None:
    deep = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (32, 1))
    Image.fromarray(deep).save(tmp_path / "deep.png")
    picture, _ = picture_of(Image.fromarray(deep))
    assert np.array_equal(np.asarray(picture), np.asarray(picture_of(tmp_path / "deep.png")[0]))
    whole = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with (
        Image.open(tmp_path / "cut.png") as cut,
        pytest.raises(ValueError, match="image: not a picture that can be read"),
    ):
        picture_of(cut)
    with pytest.raises(ValueError, match="image: not a picture that can be read"):
        picture_of(cut)
