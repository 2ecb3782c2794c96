"""A frame's own numbers win over shared ones in every form; those that do not go together are told, naming both."""

import math

import pytest

from rodin.captures.transforms_lens import read_lens

SIZE = (64, 48)
SHARED = {"fl_x": 100.0, "fl_y": 100.0, "cx": 30.0, "cy": 25.0, "w": 64, "h": 48}


def angle(pixels: float, focal: float) -> float:
    return 2 * math.atan(pixels / 2 / focal)


X, Y = angle(64, 80.0), angle(48, 80.0)


@pytest.mark.parametrize(
    ("shared", "own", "wanted"),
    [
        (SHARED, {}, (100, 100)),
        (SHARED, {"camera_angle_x": X, "camera_angle_y": Y}, (80, 80)),
        (SHARED, {"camera_angle_x": X}, (80, 80)),
        (SHARED, {"camera_angle_y": Y}, (80, 80)),
        (SHARED, {"fl_x": 80}, (80, 80)),
        (SHARED, {"fl_y": 80}, (80, 80)),
        (SHARED, {"fl_x": "80.0", "fl_y": "84"}, (80, 84)),
        (SHARED, {"x_fov": math.degrees(X)}, (80, 80)),
        ({"camera_angle_x": X}, {"fl_x": 90, "fl_y": 95}, (90, 95)),
        ({"camera_angle_x": X, "camera_angle_y": Y}, {"fl_x": 90}, (90, 90)),
        ({"camera_angle_y": Y}, {"fl_x": 90}, (90, 90)),
        ({"fl_y": 120}, {"fl_x": 90}, (90, 90)),
        ({"fl_x": 100, "fl_y": 104}, {"fl_x": 90}, (90, 90)),
        ({"camera_angle_x": X, "fl_x": 81.0}, {}, (81, 81)),
        ({"fl_y": 77}, {}, (77, 77)),
        ({"fl_x": 77, "camera_angle_y": Y}, {}, (77, 80)),
    ],
)
def test_focal_lengths(shared: dict, own: dict, wanted: tuple[float, float]) -> None:
    lens = read_lens(shared, own, SIZE, "a")
    assert (lens.fx, lens.fy) == pytest.approx(wanted)


def test_points_sizes_and_distortion() -> None:
    lens = read_lens(SHARED | {"k1": 0.1, "p2": 0.01}, {"cx": 33, "k1": 0.2}, SIZE, "a")
    assert (lens.cx, lens.cy, lens.radial, lens.tangential) == (33, 25, (0.2, 0, 0, 0, 0, 0), (0, 0.01))
    own = {"w": 64, "h": 48, "fl_x": 80, "cx": 31, "cy": 22}
    lens = read_lens(SHARED | {"w": 128, "h": 96}, own, SIZE, "a")
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (80, 80, 31, 22)
    assert read_lens({"w": 128, "h": 96, "camera_angle_x": X}, {"w": 64, "h": 48}, SIZE, "a").cx == 32


def test_distortion_as_a_list() -> None:
    listed = [0.1, 0.02, 0.003, 0.0, 0.01, 0.02]
    lens = read_lens(SHARED | {"distortion_params": listed}, {}, SIZE, "a")
    assert (lens.radial[:3], lens.tangential) == ((0.1, 0.02, 0.003), (0.01, 0.02))
    lens = read_lens(SHARED | {"distortion_params": listed}, {"k1": 0.3}, SIZE, "a")
    assert lens.radial[:2] == (0.3, 0.02)
    lens = read_lens(SHARED | {"k1": 0.3, "k2": 0.3}, {"distortion_params": listed}, SIZE, "a")
    assert lens.radial[:3] == (0.1, 0.02, 0.003)


def test_every_coefficient_is_used() -> None:
    names = ["k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "s1", "s2", "s3", "s4"]
    given = {name: 0.001 * (number + 1) for number, name in enumerate(names)}
    lens = read_lens(SHARED | given, {}, SIZE, "a")
    order = ["k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6", "s1", "s2", "s3", "s4"]
    assert lens.coefficients.tolist() == [given[name] for name in order]
    fisheye = {"camera_model": "OPENCV_FISHEYE", "k1": 0.1, "k2": 0.2, "k3": 0.3, "k4": 0.4}
    assert read_lens(SHARED | fisheye, {}, SIZE, "a").coefficients.tolist() == [0.1, 0.2, 0.3, 0.4]
    assert read_lens(SHARED | {"camera_model": "FULL_OPENCV", "k4": 0.2}, {}, SIZE, "a").coefficients[5] == 0.2


@pytest.mark.parametrize(
    ("shared", "own", "fisheye"),
    [
        ({}, {}, False),
        ({"camera_model": "OPENCV_FISHEYE"}, {}, True),
        ({"camera_model": "OPENCV_FISHEYE"}, {"camera_model": "OPENCV"}, False),
        ({"camera_model": "OPENCV"}, {"camera_model": "fisheye"}, True),
        ({"is_fisheye": True}, {"camera_model": "PINHOLE"}, False),
        ({"is_fisheye": True}, {"is_fisheye": False}, False),
        ({"camera_model": "OPENCV_FISHEYE"}, {"is_fisheye": False}, False),
        ({"is_fisheye": 1}, {}, True),
        ({"is_fisheye": "true"}, {}, True),
        ({"is_fisheye": "False"}, {}, False),
        ({"equirectangular": False, "orthographic": 0}, {}, False),
    ],
)
def test_models(shared: dict, own: dict, fisheye: bool) -> None:
    assert read_lens(SHARED | shared, own, SIZE, "a").fisheye is fisheye


@pytest.mark.parametrize(
    ("shared", "own", "words"),
    [
        ({"fl_y": 130.0}, {"fl_x": 80}, "its own 'fl_x', but the shared 'fl_x' 100 and 'fl_y' 130 .* 'fl_y' too"),
        ({"fl_y": 130.0}, {"camera_angle_y": Y}, "its own 'camera_angle_y', but .* give the frame 'fl_x' too"),
        ({"w": 128, "h": 96}, {"w": 64, "h": 48}, "its own 'w' is 64, and 'fl_x' is the shared one for 128; give"),
        ({"w": 128}, {"w": 64, "fl_x": 80}, "its own 'w' is 64, and 'cx' is the shared one for 128; give the frame"),
        ({}, {"fl_x": 80, "camera_angle_x": angle(64, 100.0)}, "'fl_x' means 80 and 'camera_angle_x' means 100 for 64"),
        (
            {"camera_angle_x": angle(128, 100)},
            {},
            "'fl_x' means 100 and 'camera_angle_x' means 50 .*another resolution",
        ),
        ({"x_fov": 190}, {}, "'x_fov' is 190.0, wanted degrees between 0 and 180"),
        ({"k4": 0.2}, {}, "a perspective lens with k4 = 0.2, wanted 0; undistort the pictures, or name k5 and k6 too"),
        ({"distortion_params": [0, 0, 0, 0.1, 0, 0]}, {}, "a perspective lens with k4 = 0.1"),
        ({"is_fisheye": True}, {"k5": 0.2}, "a fisheye lens with k5 = 0.2, wanted 0; undistort"),
        ({"is_fisheye": True}, {"s3": 0.2}, "a fisheye lens with s3 = 0.2, wanted 0; undistort"),
        ({"k7": 0.2}, {}, "'k7' is 0.2, wanted k1, k2, .*; undistort"),
        ({}, {"b1": "0.5"}, "'b1' is 0.5, wanted k1"),
        ({"skew": -1}, {}, "'skew' is -1, wanted k1"),
        ({"distortion_coefficients": [0, 0.1]}, {}, r"'distortion_coefficients' is \[0, 0.1\], wanted k1"),
        ({"distortion_params": [0.1] * 12}, {}, "'distortion_params' is .*, or the six numbers k1, k2, k3, k4, p1, p2"),
        ({"k1": 0.2, "distortion_params": [0.1, 0, 0, 0, 0, 0]}, {}, "'k1' is 0.2, and 0.1 in 'distortion_params'"),
        ({"distortion_params": [0.1, 0, 0, 0, 0, "x"]}, {}, "'p2' is 'x', wanted a number"),
        ({"is_fisheye": "maybe"}, {}, "'is_fisheye' is 'maybe', wanted true or false"),
        ({"equirectangular": True}, {}, "camera_model 'equirectangular', wanted one of OPENCV"),
        ({"fl_x": "1e3px"}, {}, "'fl_x' is '1e3px', wanted a number"),
        ({"cx": True}, {}, "'cx' is True, wanted a number"),
        ({"cx": "inf"}, {}, "'cx' is 'inf', wanted a number"),
        ({"cx": 64, "cy": 48}, {}, "the principal point .* 2 times as large"),
    ],
)
def test_numbers_that_do_not_go_together_are_told(shared: dict, own: dict, words: str) -> None:
    with pytest.raises(ValueError, match=f"^a.*: .*{words}"):
        read_lens(SHARED | shared, own, SIZE, "a")


def test_without_a_size_half_the_numbers_are_told() -> None:
    with pytest.raises(ValueError, match="2 times smaller"):
        read_lens({"fl_x": 50, "cx": 16, "cy": 12}, {}, SIZE, "a")


def test_nothing_is_no_distortion() -> None:
    given = {
        "k7": 0,
        "skew": 0.0,
        "distortion_params": [0.0] * 4,
        "distortion_model": "brown",
        "distance": 4.0,
        "b2": None,
    }
    assert not read_lens(SHARED | given, {}, SIZE, "a").distorts
