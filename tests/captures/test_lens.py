"""Pictures made straight: patterns lie where the pinhole says, nothing is made up, numbers that fold are told."""

import numpy as np
import pytest
from oracles.bending import bent, straight
from scipy import ndimage

from rodin.captures.lens import Lens, distort, lens_of, pinhole_of, undistort

SIZE = (200, 150)
LENSES = {
    "barrel": Lens(*SIZE, 180.0, 176.0, 103.0, 71.5, radial=(-0.28, 0.09, 0.0, 0.0), tangential=(0.004, -0.006)),
    "pincushion": Lens(*SIZE, 240.0, 236.0, 97.0, 77.5, radial=(0.3, 0.2, 0.0, 0.0)),
    "fisheye": Lens(*SIZE, 95.0, 95.0, 101.0, 74.0, radial=(0.03, -0.01, 0.004, -0.001), fisheye=True),
    "rational": Lens(
        *SIZE, 190.0, 186.0, 99.0, 76.5, radial=(0.4, -0.5, 0.3, 0.7, -0.4, 0.2), tangential=(0.01, 0.008)
    ),
    "thin prism": Lens(*SIZE, 190.0, 186.0, 99.0, 76.5, radial=(-0.1, 0.02), prism=(0.05, -0.02, -0.04, 0.03)),
    "wide fisheye": Lens(*SIZE, 64.0, 64.0, 100.0, 75.0, fisheye=True),
}


def told(lens: Lens) -> dict[str, float]:
    groups = (("k", lens.radial), ("p", lens.tangential), ("s", lens.prism))
    return {f"{letter}{at}": value for letter, values in groups for at, value in enumerate(values, 1)}


def pixel(lens: Lens, x: float, y: float) -> np.ndarray:
    u, v = bent(x, y, told(lens), lens.fisheye)
    return np.array([lens.fx * u + lens.cx, lens.fy * v + lens.cy])


@pytest.mark.parametrize("name", LENSES)
def test_points_bend_as_the_formula_says(name: str) -> None:
    lens = LENSES[name]
    points = np.random.default_rng(0).uniform(-0.6, 0.6, (50, 2))
    ours = distort(lens, points) * [lens.fx, lens.fy] + [lens.cx, lens.cy]
    np.testing.assert_allclose(ours, [pixel(lens, *point) for point in points], atol=1e-9)
    assert (distort(lens, np.zeros((1, 2))) == 0).all()


@pytest.mark.parametrize("name", [name for name in LENSES if name != "wide fisheye"])  # it sees beyond 90 degrees
def test_every_pixel_is_fetched_from_where_the_lens_shows_it(name: str) -> None:
    """A ramp of columns and rows, bent by the formula and made straight, is the ramp again."""
    lens = LENSES[name]
    pinhole = pinhole_of(lens, "a")
    columns, rows = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    x, y = straight((columns - lens.cx) / lens.fx, (rows - lens.cy) / lens.fy, told(lens), lens.fisheye)
    ramps = np.stack([pinhole.fx * x + pinhole.cx, pinhole.fy * y + pinhole.cy, 0 * x, 255 + 0 * x], axis=-1)
    made = undistort(np.rint(ramps).clip(0, 255).astype(np.uint8), lens, pinhole)
    inner = np.s_[20:-20, 20:-20]
    assert np.abs(made[inner][..., 0] - columns[inner]).max() < 1.6
    assert np.abs(made[inner][..., 1] - rows[inner]).max() < 1.6


@pytest.mark.parametrize("name", LENSES)
def test_discs_lie_where_the_pinhole_says(name: str) -> None:
    """Discs over a grid, drawn where the lens sees their middles, are found where the pinhole sees them."""
    lens = LENSES[name]
    pinhole = pinhole_of(lens, "a")
    radius = 2 if "wide" in name else 4  # a large disc stretched outwards has its middle of light further out
    columns, rows = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    rgba = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    rgba[..., 3] = 255
    wanted = []
    for x in np.linspace(20, SIZE[0] - 20, 5):
        for y in np.linspace(20, SIZE[1] - 20, 4):
            wanted.append((x, y))
            at = pixel(lens, (x - pinhole.cx) / pinhole.fx, (y - pinhole.cy) / pinhole.fy)
            disc = 255 * np.clip(radius - np.hypot(columns - at[0], rows - at[1]), 0, 1)
            rgba[..., :3] = np.maximum(rgba[..., :3], disc[..., None].astype(np.uint8))
    made = undistort(rgba, lens, pinhole)
    assert (made[..., 3] == 255).all()  # every pixel was seen: nothing at the edges is made transparent
    labels, count = ndimage.label(made[..., 0] > 40)
    assert count == len(wanted)
    light = np.where(labels > 0, made[..., 0], 0).astype(float)
    centres = np.array(ndimage.center_of_mass(light, labels, range(1, count + 1)))[:, ::-1] + 0.5
    apart = np.linalg.norm(centres[:, None] - np.array(wanted), axis=-1).min(axis=1)
    assert apart.max() < 0.35
    before = np.linalg.norm(np.array([pixel(lens, (x - lens.cx) / lens.fx, (y - lens.cy) / lens.fy) for x, y in wanted])
                            - wanted, axis=-1)  # fmt: skip
    assert before.max() > 2


def test_a_pinhole_is_left_alone() -> None:
    lens = lens_of("PINHOLE", [50, 51, 32, 24], 64, 48, "a")
    rgba = np.random.default_rng(0).integers(0, 256, (48, 64, 4), dtype=np.uint8)
    assert pinhole_of(lens, "a") == lens
    assert undistort(rgba, lens, lens) is rgba
    assert not lens.distorts
    assert not Lens(64, 48, 50.0, 51.0, 32.0, 24.0).coefficients.any()


def test_transparent_pixels_lend_no_colour() -> None:
    lens = LENSES["barrel"]
    rgba = np.zeros((SIZE[1], SIZE[0], 4), np.uint8)
    rgba[..., 1] = 255  # transparent green around opaque red
    rgba[50:100, 60:140] = (255, 0, 0, 255)
    made = undistort(rgba, lens, pinhole_of(lens, "a"))
    seen = made[..., 3] > 8
    assert seen.sum() > 3000
    assert made[seen][:, 1].max() == 0


@pytest.mark.parametrize(
    "lens",
    [
        Lens(*SIZE, 100.0, 100.0, 100.0, 75.0, radial=(-2.0, 0.0, 0.0, 0.0)),
        Lens(*SIZE, 100.0, 100.0, 100.0, 75.0, radial=(50.0, 0.0, 0.0, 0.0)),
        Lens(*SIZE, 30.0, 30.0, 100.0, 75.0, radial=(-0.5, 0.0, 0.0, 0.0), fisheye=True),
        Lens(*SIZE, 100.0, 100.0, 100.0, 75.0, radial=(0.0, 0.0, 0.0, 0.0, 9.0, 5.0)),
        Lens(*SIZE, 100.0, 100.0, 30.0, 75.0, tangential=(0.0, -0.25)),  # only its right side folds
    ],
)
def test_numbers_that_fold_are_told(lens: Lens) -> None:
    with pytest.raises(
        ValueError, match=r"^b.json: its distortion \([kp][125] .*\) folds the image over itself; check"
    ):
        pinhole_of(lens, "b.json")


@pytest.mark.parametrize(
    ("model", "numbers", "words"),
    [
        ("ORTHO", [1.0] * 12, "camera model ORTHO, wanted one of SIMPLE_PINHOLE, .*; undistort"),
        ("FOV", [5.0, 5.0, 4.0, 4.0, 0.3], "FOV with omega = 0.3, wanted 0; undistort the images first"),
        ("DIVISION", [5.0, 5.0, 4.0, 4.0, 0.3], "DIVISION with k = 0.3, wanted 0"),
        ("THIN_PRISM_FISHEYE", [5.0, 5.0, 4.0, 4.0, 0, 0, 0.1, 0, 0, 0, 0, 0], "FISHEYE with p1 = 0.1, wanted 0"),
        ("THIN_PRISM_FISHEYE", [5.0, 5.0, 4.0, 4.0, 0, 0, 0, 0, 0, 0, 0, 0.2], "FISHEYE with sy1 = 0.2, wanted 0"),
        ("RAD_TAN_THIN_PRISM_FISHEYE", [5.0] * 4 + [0.0] * 4 + [0.3] + [0.0] * 7, "with k5 = 0.3, wanted 0"),
        ("EQUIRECTANGULAR", [8.0, 8.0], "wanted finite numbers and focal lengths over 0"),
        ("PINHOLE", [1.0, 2.0, 3.0], r"PINHOLE has 3 numbers, wanted 4 \(fx, fy, cx, cy\)"),
        ("SIMPLE_PINHOLE", [-5.0, 2.0, 3.0], "wanted finite numbers and focal lengths over 0"),
        ("RADIAL", [5.0, 2.0, 3.0, float("nan"), 0.0], "wanted finite numbers"),
    ],
)
def test_wrong_lenses_are_told(model: str, numbers: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=f"^cameras: .*{words}"):
        lens_of(model, numbers, 8, 8, "cameras")


def test_fisheyes_of_colmap_are_those_of_opencv() -> None:
    """COLMAP's other fisheyes with no prism and no decentring bend as OPENCV_FISHEYE with the same k."""
    full = lens_of("OPENCV_FISHEYE", [9.0, 9.0, 4.0, 5.0, 0.1, 0.2, 0.3, 0.4], 8, 8, "a")
    prism = [9.0, 9.0, 4.0, 5.0, 0.1, 0.2, 0.0, 0.0, 0.3, 0.4, 0.0, 0.0]
    assert np.array_equal(lens_of("THIN_PRISM_FISHEYE", prism, 8, 8, "a").coefficients, full.coefficients)
    rad_tan = [9.0, 9.0, 4.0, 5.0, 0.1, 0.2, 0.3, 0.4] + [0.0] * 8
    assert np.array_equal(lens_of("RAD_TAN_THIN_PRISM_FISHEYE", rad_tan, 8, 8, "a").coefficients, full.coefficients)
    plain = lens_of("SIMPLE_FISHEYE", [9.0, 4.0, 5.0], 8, 8, "a")
    assert plain == lens_of("FISHEYE", [9.0, 9.0, 4.0, 5.0], 8, 8, "a")
    assert plain.fisheye
    assert not plain.coefficients.any()
