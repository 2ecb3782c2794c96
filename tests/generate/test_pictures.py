"""Pictures of stores on their way to networks."""

import numpy as np
import torch

from rodin.compositing import bytes_over_white, over_white
from rodin.data.pictures import images_over_white, refined, to_bytes


def test_over_white_lays_straight_alpha_images_over_white():
    rgba = np.array([[[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]]], np.uint8)
    seen = images_over_white(rgba)
    assert seen.shape == (1, 3, 1, 3)
    assert torch.allclose(seen[0, :, 0].T, torch.tensor([[1.0, 0, 0], [1, 1, 1], [0.8, 0.8, 0.8]]))
    assert to_bytes(torch.tensor([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]


def test_bytes_over_white_are_the_nearest_of_every_colour_and_opacity():
    assert bytes_over_white(np.array([[100, 0, 255, 51]], np.uint8)).tolist() == [[224, 204, 255]]
    rgba = np.stack(np.meshgrid(*[np.arange(256)] * 2), axis=-1).astype(np.uint8)[..., [0, 0, 0, 1]]
    exact = 255 * over_white(rgba.astype(np.float64) / 255)
    np.testing.assert_array_equal(bytes_over_white(rgba), np.round(exact).astype(np.uint8))


def test_refined_pictures_keep_their_opacity():
    rgba = torch.rand(2, 8, 8, 4)
    rgba[:, :4, :, 3] = 0
    same = refined(lambda image: image, rgba)
    assert torch.allclose(same[..., 3], rgba[..., 3])
    assert torch.allclose(same[:, 4:], rgba[:, 4:], atol=1e-3)
    darker = refined(lambda image: image * 0.5, rgba)
    assert (darker[:, 4:, :, :3] <= rgba[:, 4:, :, :3] + 1e-6).all()
