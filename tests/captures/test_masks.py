"""Masks in every way that tools save them give the same alpha; those that show nobody, or only persons, are refused."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rodin.captures.alpha import Alpha, cutter
from rodin.captures.capture import Capture, Frame
from rodin.captures.lens import Lens

WIDTH, HEIGHT, VIEWS = 12, 10, 3
PERSON = np.zeros((VIEWS, HEIGHT, WIDTH), bool)
PERSON[0, 3:, 4:8] = PERSON[2, 2:, 3:9] = True
"""where the person is: not at all in view 1"""
PART = PERSON & (np.arange(HEIGHT)[:, None] > 6)
"""another part of the person: the body"""


def capture(folder: Path, masks: list[Image.Image], name: str = "{}.png", photo: Image.Image | None = None, **how):
    """A capture of opaque photographs, and the folder of its masks."""
    (folder / "masks").mkdir()
    frames = []
    for number, mask in enumerate(masks):
        path = folder / f"{number}.png"
        (photo or Image.new("RGB", (WIDTH, HEIGHT), (9, 80, 200))).save(path)
        mask.save(folder / "masks" / name.format(number), **how)
        frames.append(Frame(path, np.eye(4), Lens(WIDTH, HEIGHT, 9.0, 9.0, 6.0, 5.0)))
    return Capture(folder, folder / "transforms.json", frames, name="ann"), folder / "masks"


def alphas(one: Capture, masks: Path, invert: bool = False) -> np.ndarray:
    cut = cutter(one, Alpha(masks=masks, invert=invert))
    cut_out = np.stack([cut(frame) for frame in one.frames])
    assert (cut_out[..., :3] == (9, 80, 200)).all()
    return cut_out[..., 3]


def palette(values: np.ndarray, colours: list[tuple[int, int, int]]) -> Image.Image:
    picture = Image.fromarray(values.astype(np.uint8))
    picture.putpalette([number for colour in colours for number in colour])
    return picture


def rgba(colours: tuple[int, int, int], alpha: np.ndarray) -> Image.Image:
    return Image.fromarray(np.dstack([np.broadcast_to(np.uint8(colours), (*alpha.shape, 3)), alpha.astype(np.uint8)]))


BLACK, RED, GREEN = (0, 0, 0), (128, 0, 0), (0, 128, 0)
WAYS = {
    "0 and 255": (lambda mask, part: Image.fromarray(255 * mask.astype(np.uint8)), "{}.png"),
    "0 and 1": (lambda mask, part: Image.fromarray(mask.astype(np.uint8)), "{}.png"),
    "one bit": (lambda mask, part: Image.fromarray(mask), "{}.png"),
    "16 bits": (lambda mask, part: Image.fromarray(65535 * mask.astype(np.uint16)), "{}.png"),
    "16 bits, 0 and 1": (lambda mask, part: Image.fromarray(mask.astype(np.uint16)), "{}.png"),
    "16 bits, 0 and 255": (lambda mask, part: Image.fromarray(255 * mask.astype(np.uint16)), "{}.png"),
    "floats": (lambda mask, part: Image.fromarray(mask.astype(np.float32)), "{}.tif"),
    "floats to 255": (lambda mask, part: Image.fromarray(255 * mask.astype(np.float32)), "{}.tif"),
    "floats as labels": (lambda mask, part: Image.fromarray((mask + part).astype(np.float32)), "{}.tif"),
    "32 bits, 0 and 1": (lambda mask, part: Image.fromarray(mask.astype(np.int32)), "{}.tif"),
    "labels": (lambda mask, part: Image.fromarray((15 * mask + 4 * part).astype(np.uint8)), "{}.png"),
    "labels as colours of a palette": (lambda mask, part: palette(mask + part, [BLACK, RED, GREEN]), "{}.png"),
    "palette of greys": (lambda mask, part: palette(~mask, [(255, 255, 255), BLACK]), "{}.png"),
    "palette of two greys, 0 and 1": (lambda mask, part: palette(mask, [BLACK, (1, 1, 1)]), "{}.png"),
    "white on black": (lambda mask, part: Image.fromarray(255 * mask.astype(np.uint8)).convert("RGB"), "{}.png"),
    "white on black, alpha opaque": (
        lambda mask, part: Image.fromarray(255 * mask.astype(np.uint8)).convert("RGBA"),
        "{}.png",
    ),
    "alpha": (lambda mask, part: rgba((255, 255, 255), 255 * mask), "{}.png"),
    "alpha over black": (lambda mask, part: rgba(BLACK, 255 * mask), "{}.png"),
    "alpha of a cut-out": (lambda mask, part: rgba((200, 90, 10), 255 * mask), "{}.png"),
    "grey and alpha": (lambda mask, part: rgba(BLACK, 255 * mask).convert("LA"), "{}.png"),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_alpha(tmp_path: Path, way: str) -> None:
    draw, name = WAYS[way]
    masks = [draw(mask, part) for mask, part in zip(PERSON, PART, strict=True)]
    one, folder = capture(tmp_path, masks, name)
    assert (alphas(one, folder) == 255 * PERSON).all()
    (tmp_path / "turned").mkdir()
    one, folder = capture(tmp_path / "turned", [draw(~mask, mask & False) for mask in PERSON], name)
    assert (alphas(one, folder, invert=True) == 255 * PERSON).all()


def test_jpeg_masks_and_soft_masks_are_opacities(tmp_path: Path) -> None:
    soft = (PERSON * np.linspace(100, 255, WIDTH)).astype(np.uint8)
    one, folder = capture(tmp_path, [Image.fromarray(mask) for mask in soft])
    assert (alphas(one, folder) == soft).all()
    (tmp_path / "bits").mkdir()
    one, folder = capture(tmp_path / "bits", [Image.fromarray(mask.astype(np.uint16) * 257) for mask in soft])
    assert (alphas(one, folder) == soft).all()
    (tmp_path / "floats").mkdir()
    one, folder = capture(
        tmp_path / "floats", [Image.fromarray((mask / 255).astype(np.float32)) for mask in soft], "{}.tif"
    )
    assert (alphas(one, folder) == soft).all()
    (tmp_path / "jpeg").mkdir()
    drawn = [Image.fromarray(255 * mask.astype(np.uint8)).convert("RGB") for mask in PERSON]
    one, folder = capture(tmp_path / "jpeg", drawn, "{}.jpg", quality=60)
    found = alphas(one, folder)
    assert ((found > 127) == PERSON).all()
    assert len(np.unique(found)) > 2


def test_labels_are_told_and_outlines_left_out(tmp_path: Path) -> None:
    outlined = [(2 * mask + 3 * part).astype(np.uint8) for mask, part in zip(PERSON, PART, strict=True)]
    for values, mask in zip(outlined, PERSON, strict=True):
        values[2, mask[3]] = 255
    one, folder = capture(tmp_path, [Image.fromarray(values) for values in outlined])
    expected = np.isin(outlined, (2, 5))
    assert (alphas(one, folder) == 255 * expected).all()
    (note,) = cutter(one, Alpha(masks=folder)).notes
    assert note == "masks hold the labels 2, 5: all of them were taken for the person, and 0 for the background"
    (tmp_path / "plain").mkdir()
    one, folder = capture(tmp_path / "plain", [Image.fromarray(mask.astype(np.uint8)) for mask in PERSON])
    assert cutter(one, Alpha(masks=folder)).notes == []


def test_a_palette_s_white_is_a_label_where_another_view_shows_colours(tmp_path: Path) -> None:
    both = [mask.astype(np.uint8) for mask in PERSON]
    both[0] = both[0] + PART[0]
    one, folder = capture(tmp_path, [palette(values, [BLACK, (255, 255, 255), RED]) for values in both])
    assert (alphas(one, folder) == 255 * PERSON).all()


def test_a_mask_of_stray_ones_is_no_label(tmp_path: Path) -> None:
    drawn = [255 * mask.astype(np.uint8) for mask in PERSON]
    drawn[1][0, :5] = 1
    one, folder = capture(tmp_path, [Image.fromarray(values) for values in drawn])
    assert (alphas(one, folder) == drawn).all()
    (tmp_path / "bits").mkdir()
    wide = [65535 * mask.astype(np.uint16) for mask in PERSON]
    wide[1][:9] = 1
    one, folder = capture(tmp_path / "bits", [Image.fromarray(values) for values in wide])
    assert (alphas(one, folder) == 255 * PERSON).all()


def refused(one: Capture, alpha: Alpha) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as problem:
        cutter(one, alpha)
    return str(problem.value)


def test_masks_of_nobody_of_all_or_of_the_background_are_refused(tmp_path: Path) -> None:
    cases = {
        "nobody": np.zeros_like(PERSON),
        "nothing but the person": np.ones_like(PERSON),
        "the person all around but not in the middle": ~PERSON[[0, 2, 0]],
        "nobody or nothing but the person": np.stack([np.zeros((HEIGHT, WIDTH)), np.ones((HEIGHT, WIDTH))] * 2),
    }
    for number, (fault, shown) in enumerate(cases.items()):
        (tmp_path / str(number)).mkdir()
        one, folder = capture(tmp_path / str(number), [Image.fromarray(255 * np.uint8(mask)) for mask in shown])
        line = refused(one, Alpha(masks=folder))
        assert line.startswith(
            f"{folder}, masks of 'ann': {fault} in all {len(shown)} pictures; wanted white where the"
        )
        assert line.endswith("import with --invert-masks")


def test_alpha_and_backgrounds_of_nobody_are_refused(tmp_path: Path) -> None:
    drawn = [Image.fromarray(255 * mask.astype(np.uint8)) for mask in PERSON]
    one, _ = capture(tmp_path, drawn)
    assert refused(one, Alpha(background="#0950c8")).endswith(
        "transforms.json, --background #0950c8: nobody in all 3 pictures; give another background, or masks"
    )
    assert "--background white: nothing but the person in all 3 pictures" in refused(one, Alpha(background="white"))
    assert cutter(one, Alpha(background="none"))(one.frames[0])[..., 3].min() == 255
    assert "masks are to be inverted, but there are none" in refused(one, Alpha(background="white", invert=True))
    (tmp_path / "clear").mkdir()
    clear, _ = capture(tmp_path / "clear", drawn, photo=Image.new("RGBA", (WIDTH, HEIGHT), (9, 80, 200, 0)))
    assert "transforms.json, alpha of the pictures: nobody in all 3 pictures; give masks (--masks DIR)" in refused(
        clear, Alpha()
    )


def test_masks_of_unknown_values_and_of_another_size_are_refused(tmp_path: Path) -> None:
    wrong = {
        "red.png": Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0)),
        "low.tif": Image.fromarray(np.full((HEIGHT, WIDTH), -3, np.int32)),
        "high.tif": Image.fromarray(np.full((HEIGHT, WIDTH), 70000.0, np.float32)),
        "nan.tif": Image.fromarray(np.full((HEIGHT, WIDTH), np.nan, np.float32)),
        "wide.png": Image.new("L", (WIDTH + 1, HEIGHT)),
        "turned.png": Image.new("L", (HEIGHT, WIDTH)),
    }
    told = {
        "red.png": "a coloured mask, wanted a grey one, labels, or one with alpha",
        "low.tif": "a mask of values from -3 to -3",
        "high.tif": "a mask of values from 70000 to 70000",
        "nan.tif": "a mask of values from nan to nan",
        "wide.png": "a mask of 13 x 10 pixels, wanted 12 x 10, as 0.png",
        "turned.png": "a mask of 10 x 12 pixels, wanted 12 x 10, as 0.png, turned by EXIF orientation",
    }
    for name, mask in wrong.items():
        (tmp_path / name).mkdir()
        one, folder = capture(tmp_path / name, [mask], "0" + Path(name).suffix)
        line = refused(one, Alpha(masks=folder))
        assert line.startswith(str(folder / "0"))
        assert told[name] in line


def test_masks_turn_with_their_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = [Image.fromarray(np.rot90(255 * mask.astype(np.uint8))) for mask in PERSON]
    one, folder = capture(tmp_path, stored, exif=exif)
    assert (alphas(one, folder) == 255 * PERSON).all()
    frames = [Frame(each.path, np.eye(4), each.lens, upright=False) for each in one.frames]
    as_stored = Capture(one.folder, one.source, frames, name="ann")
    assert "a mask of 10 x 12 pixels, wanted 12 x 10, as 0.png" in refused(as_stored, Alpha(masks=folder))
