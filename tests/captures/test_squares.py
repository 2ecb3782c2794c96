"""Squares cut of pictures: averaged by area, padded or cropped, intrinsics to match, and which pixels see the box."""

import numpy as np

from rodin.captures.lens import Lens
from rodin.captures.squares import Window, meets_box, square, square_intrinsics, window


def test_pictures_shrink_by_area() -> None:
    chance = np.random.default_rng(0)
    rgba = chance.integers(0, 256, (30, 42, 4), dtype=np.uint8)
    padded = np.zeros((42, 42, 4))
    padded[6:36] = rgba
    padded[..., :3] *= padded[..., 3:] / 255.0
    blocks = padded.reshape(14, 3, 14, 3, 4).mean(axis=(1, 3))
    wanted = np.concatenate([blocks[..., :3] * 255 / np.maximum(blocks[..., 3:], 1e-6), blocks[..., 3:]], axis=-1)
    whole = window(Lens(42, 30, 70.0, 66.0, 21.0, 15.0), "pad", (0.0, 0.0))
    np.testing.assert_allclose(square(rgba, whole, 14), wanted, atol=0.51)
    np.testing.assert_allclose(square_intrinsics(np.array([70.0, 66, 21, 15]), whole, 14), [70 / 3, 22, 7, 7])


def test_every_pixel_counts_by_the_area_it_covers() -> None:
    """Sides that do not divide: against shares of areas, computed pixel by pixel."""
    for side, resolution in ((42, 20), (100, 33), (9, 8)):
        grey = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
        rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
        edges = np.arange(resolution + 1) * (side / resolution)
        low, high = np.maximum(edges[:-1, None], np.arange(side)), np.minimum(edges[1:, None], np.arange(side) + 1)
        shares = np.clip(high - low, 0, None) * resolution / side
        made = square(rgba, Window(0, 0, side), resolution)
        np.testing.assert_allclose(made[..., 0], shares @ grey @ shares.T, atol=0.52)


def test_pictures_are_cropped_around_the_middle() -> None:
    rgba = np.arange(30 * 42 * 4, dtype=np.uint8).reshape(30, 42, 4)
    lens = Lens(42, 30, 70.0, 66.0, 21.0, 15.0)
    for x, left in ((21.0, 6), (18.0, 3), (-50.0, 0), (99.0, 12)):
        cut = window(lens, "crop", (x, 3.0))
        assert cut == Window(0, left, 30)
        assert (square(rgba, cut, 30) == rgba[:, left : left + 30]).all()
        assert square_intrinsics(lens.intrinsics, cut, 30).tolist() == [70, 66, 21 - left, 15]


def test_pixels_that_look_past_the_box() -> None:
    pose = np.diag([1.0, -1.0, -1.0, 1.0])
    pose[2, 3] = 3.0
    near = 0.5 * 64 + 50.0 * 1.0 / 2.0  # the near face, at distance 2, ends here
    seen = meets_box(pose, np.array([50.0, 50.0, 32.0, 32.0]), 64, 1.0)
    assert np.flatnonzero(seen[32]).tolist() == list(range(64 - int(near), int(near)))
    assert not seen[0].any()
