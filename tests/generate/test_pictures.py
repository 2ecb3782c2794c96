"""Pictures as users bring them: of any kind, size and mode, or none at all."""

import numpy as np
import pytest
import torch
from PIL import Image

from rodin.data.pictures import images_over_white, read_picture, refined, to_bytes


def test_over_white_lays_straight_alpha_images_over_white():
    rgba = np.array([[[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]]], np.uint8)
    seen = images_over_white(rgba)
    assert seen.shape == (1, 3, 1, 3)
    assert torch.allclose(seen[0, :, 0].T, torch.tensor([[1.0, 0, 0], [1, 1, 1], [0.8, 0.8, 0.8]]))
    assert to_bytes(torch.tensor([-1.0, 0.5, 2.0])).tolist() == [0, 128, 255]


@pytest.mark.parametrize(("mode", "size"), [("RGB", (40, 40)), ("RGBA", (33, 80)), ("L", (90, 31)), ("P", (50, 50))])
def test_a_picture_of_any_mode_and_size_becomes_an_opaque_square(tmp_path, mode, size):
    path = tmp_path / "me.png"
    Image.new(mode, size, 0).save(path)
    picture = read_picture(path, 24)
    assert picture.shape == (24, 24, 4)
    assert (picture[..., 3] == 255).all()
    assert np.ptp(picture[..., :3]) == 0


def test_the_middle_is_kept_and_what_is_transparent_turns_white(tmp_path):
    wide = np.zeros((20, 60, 4), np.uint8)
    wide[:, 20:40] = (10, 20, 30, 255)
    wide[:5, 20:40, 3] = 0
    wide[:, :20] = (200, 0, 0, 255)
    Image.fromarray(wide, "RGBA").save(tmp_path / "me.png")
    picture = read_picture(tmp_path / "me.png", 20)
    assert (picture[10, 10] == (10, 20, 30, 255)).all()
    assert (picture[1, 10] == 255).all()
    assert picture[10, :, 0].max() == 10


def test_a_turned_photograph_is_set_upright(tmp_path):
    photo = Image.new("RGB", (40, 40), "black")
    photo.paste((255, 255, 255), (0, 0, 20, 40))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "me.jpg", exif=exif)
    picture = read_picture(tmp_path / "me.jpg", 40)
    assert picture[5, 20, 0] > 200
    assert picture[35, 20, 0] < 50


def test_what_is_no_picture_is_one_clear_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; wanted a PNG"):
        read_picture(tmp_path / "none.png", 24)
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(ValueError, match=r"text.png: not a picture that can be read .* wanted a PNG"):
        read_picture(tmp_path / "text.png", 24)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    whole = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut.png: not a picture that can be read .*truncated"):
        read_picture(tmp_path / "cut.png", 24)


def test_refined_pictures_keep_their_opacity():
    rgba = torch.rand(2, 8, 8, 4)
    rgba[:, :4, :, 3] = 0
    same = refined(lambda image: image, rgba)
    assert torch.allclose(same[..., 3], rgba[..., 3])
    assert torch.allclose(same[:, 4:], rgba[:, 4:], atol=1e-3)
    darker = refined(lambda image: image * 0.5, rgba)
    assert (darker[:, 4:, :, :3] <= rgba[:, 4:, :, :3] + 1e-6).all()
