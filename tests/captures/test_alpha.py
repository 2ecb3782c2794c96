"""Where the person is in a photograph: measured against composites whose alpha is known; and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from rodin.captures.alpha import Alpha
from rodin.captures.importing import ImportSettings, check_captures
from rodin.captures.inspection import cut_off
from rodin.captures.placing import Alignment
from rodin.captures.transforms import captures

SIDE = 128


def person(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A bust's colours [S, S, 3] and mask [S, S]: skin with noise, dark hair, eyes, a shirt with white stripes."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    x = x - 0.5 - 0.03 * np.sin(number)
    head, hair = (x / 0.17) ** 2 + ((y - 0.45) / 0.22) ** 2 < 1, (x / 0.2) ** 2 + ((y - 0.36) / 0.2) ** 2 < 1
    body = ((x / 0.36) ** 2 + ((y - 1.0) / 0.36) ** 2 < 1) & (y > 0.6)
    noise = np.random.default_rng(number).normal(0, 6, (SIDE, SIDE, 3))
    colours = np.zeros((SIDE, SIDE, 3))
    colours[hair] = (60, 38, 25)
    colours[body] = (40, 90, 170)
    colours[body & (np.floor(y * 24) % 3 == 0)] = (235, 235, 235)
    colours[head & ~(hair & (y < 0.36))] = (205, 150, 120)
    colours[(abs(abs(x) - 0.07) < 0.02) & (abs(y - 0.44) < 0.012)] = (250, 250, 250)
    return colours + noise, head | hair | body


def room(number: int) -> np.ndarray:
    """A background: grey-green, brighter to one side, with a dark picture frame and noise, moved from view to view."""
    y, x = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    colours = np.stack([120 + 70 * x, 135 + 60 * x, 110 + 60 * y], axis=-1)
    shift = int(40 * np.sin(number))
    colours[8:40, 90 + shift // 4 : 118 + shift // 4] = (150, 150, 60)
    return colours + np.random.default_rng(100 + number).normal(0, 5, colours.shape)


def photographs(folder: Path, ground, views: int = 6, **settings) -> list[np.ndarray]:
    """Write one person's photographs with soft edges; returns the true masks."""
    folder.mkdir()
    frames, masks = [], []
    for number in range(views):
        colours, mask = person(number)
        soft = ndimage.gaussian_filter(mask.astype(float), 0.7)[..., None]
        rgb = (colours * soft + ground(number) * (1 - soft)).clip(0, 255).astype(np.uint8)
        Image.fromarray(rgb).save(folder / f"{number}.png")
        angle = 2 * np.pi * number / views
        pose = np.eye(4)
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        pose[:3, 3] = 4 * pose[:3, 2]
        frames.append({"file_path": f"{number}.png", "transform_matrix": pose.tolist()})
        masks.append(mask)
    (folder / "transforms.json").write_text(json.dumps({"fl_x": 240.0, "frames": frames} | settings))
    return masks


def overlap(folder: Path, masks: list[np.ndarray], alpha: Alpha) -> float:
    """The least intersection over union of any picture, at half opacity."""
    (one,) = check_captures(captures(folder), ImportSettings(SIDE, alpha=alpha))
    found = [one.image(index)[..., 3] > 127 for index in range(len(masks))]
    truth = [masks[view.frame] for view in one.views]
    return min(float((a & b).sum() / (a | b).sum()) for a, b in zip(found, truth, strict=True))


def test_border_colours_tell_the_person(tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", room)
    assert overlap(tmp_path / "a", masks, Alpha(background="border")) > 0.97


@pytest.mark.parametrize(("told", "colour"), [("white", (255, 255, 255)), ("#20c040", (32, 192, 64))])
def test_one_colour(told: str, colour: tuple[int, int, int], tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", lambda number: np.broadcast_to(np.array(colour, float), (SIDE, SIDE, 3)))
    assert overlap(tmp_path / "a", masks, Alpha(background=told)) > 0.93


def test_a_plain_background_fits_no_other_colour(tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", lambda number: np.full((SIDE, SIDE, 3), 255.0))
    with pytest.raises(
        ValueError, match=r"--background #20c040: nothing but the person in all 6 pictures; give another"
    ):
        overlap(tmp_path / "a", masks, Alpha(background="#20c040"))


def test_given_masks_beside_and_in_the_file(tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", room)
    (tmp_path / "masks" / "a").mkdir(parents=True)
    for number, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "masks" / "a" / f"{number}.png")
    assert overlap(tmp_path / "a", masks, Alpha(masks=tmp_path / "masks")) == 1.0
    content = json.loads((tmp_path / "a" / "transforms.json").read_text())
    for number, mask in enumerate(masks):
        Image.fromarray(mask.astype(np.uint8) * 255).save(tmp_path / "a" / f"m{number}.png")
        content["frames"][number]["mask_path"] = f"m{number}.png"
    (tmp_path / "a" / "transforms.json").write_text(json.dumps(content))
    assert overlap(tmp_path / "a", masks, Alpha()) == 1.0
    Image.new("L", (30, 30)).save(tmp_path / "a" / "m0.png")
    with pytest.raises(ValueError, match=f"m0.png: a mask of 30 x 30 pixels, wanted {SIDE} x {SIDE}, as 0.png"):
        overlap(tmp_path / "a", masks, Alpha())
    (tmp_path / "masks" / "a" / "3.png").unlink()
    with pytest.raises(FileNotFoundError, match="masks: no mask for '3.png', wanted 3.png"):
        overlap(tmp_path / "a", masks, Alpha(masks=tmp_path / "masks"))


def test_whole_pictures_fill_the_box(tmp_path: Path) -> None:
    photographs(tmp_path / "a", room)
    whole = Alpha(background="none")
    (one,) = check_captures(captures(tmp_path / "a"), ImportSettings(64, Alignment(box=0.5), whole))
    alpha = one.image(0)[..., 3]  # focal length 120: the box's near face, at distance 3.5, reaches 17.1 pixels out
    assert set(np.unique(alpha)) == {0, 255}
    assert np.flatnonzero(alpha[32]).tolist() == list(range(15, 49))
    (one,) = check_captures(captures(tmp_path / "a"), ImportSettings(64, Alignment(box=1.0), whole))
    assert (one.image(0)[..., 3] == 255).all()


def test_a_person_cut_by_a_padded_side_is_told(tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", room)
    (tmp_path / "masks").mkdir()
    for number, mask in enumerate(masks):
        narrow = Image.open(tmp_path / "a" / f"{number}.png").crop((20, 0, 108, SIDE))
        narrow.save(tmp_path / "a" / f"{number}.png")
        Image.fromarray(mask[:, 20:108].astype(np.uint8) * 255).save(tmp_path / "masks" / f"{number}.png")
    given = Alpha(masks=tmp_path / "masks")
    lines = {
        framing: cut_off(one, np.stack([one.image(index) for index in range(6)]))
        for framing in ("pad", "crop")
        for one in check_captures(captures(tmp_path / "a"), ImportSettings(64, alpha=given, framing=framing))
    }
    assert lines["crop"] == []
    assert lines["pad"][0].startswith("In 6 pictures (")


def test_what_is_refused(tmp_path: Path) -> None:
    masks = photographs(tmp_path / "a", room)
    with pytest.raises(ValueError, match=r"0.png: no transparency.*--masks DIR.*--background border, white, #rrggbb"):
        overlap(tmp_path / "a", masks, Alpha())
    for number in range(6):
        Image.open(tmp_path / "a" / f"{number}.png").convert("RGBA").save(tmp_path / "a" / f"{number}.png")
    with pytest.raises(ValueError, match=r"transforms.json: pictures all opaque, so nothing tells the person"):
        overlap(tmp_path / "a", masks, Alpha())
    photographs(tmp_path / "b", lambda number: person(number)[0], views=4)
    with pytest.raises(ValueError, match="masks and a background were given"):
        Alpha(masks=tmp_path, background="white")
    with pytest.raises(FileNotFoundError, match="none: no such folder of masks"):
        Alpha(masks=tmp_path / "none")
    for wrong in ("blue", "#12", "#gggggg"):
        with pytest.raises(ValueError, match="wanted border, white, #rrggbb or none"):
            Alpha(background=wrong)
