"""Where a capture lies in our world, guessed from cameras and points, whatever turn, place and scale it came with."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from rodin.captures.capture import Capture, Frame
from rodin.captures.lens import Lens
from rodin.captures.placing import Alignment, placing_of

LENS = Lens(120, 160, 220.0, 220.0, 60.0, 80.0)
AUTO = Alignment(centre=None, scale=None, up=None)


def stands(azimuths: np.ndarray, elevations: np.ndarray, rolls: np.ndarray) -> np.ndarray:
    """Cameras 4 from the origin, upright but for their roll: camera_to_world [V, 4, 4], OpenCV axes."""
    poses = np.tile(np.eye(4), (len(azimuths), 1, 1))
    for pose, azimuth, elevation, roll in zip(poses, azimuths, elevations, rolls, strict=True):
        turn = Rotation.from_euler("YX", [azimuth, -elevation]).as_matrix() @ np.diag([1.0, -1.0, -1.0])
        pose[:3, :3] = turn @ Rotation.from_euler("z", roll).as_matrix()
        pose[:3, 3] = -4.0 * turn[:, 2]
    return poses


def capture(poses: np.ndarray, seed: int, points: np.ndarray | None = None) -> tuple[Capture, Rotation]:
    """The same cameras in a world turned, moved and scaled at random; the third picture's azimuth is what it is."""
    generator = np.random.default_rng(seed)
    turn, move, scale = Rotation.random(rng=generator), generator.normal(0, 5, 3), generator.uniform(0.2, 5)
    frames = []
    for number, pose in enumerate(poses):
        other = np.eye(4)
        other[:3, :3], other[:3, 3] = turn.as_matrix() @ pose[:3, :3], scale * turn.apply(pose[:3, 3]) + move
        frames.append(Frame(Path(f"{number}.png"), other, LENS))
    if points is not None:
        points = scale * turn.apply(points) + move
    return Capture(Path(), Path("a.json"), frames, points=points), turn


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_of_cameras_is_set_upright(seed: int) -> None:
    generator = np.random.default_rng(seed)
    azimuths = np.linspace(0, 2 * np.pi, 24, endpoint=False) + 0.4
    poses = stands(azimuths, generator.uniform(-0.2, 0.6, 24), generator.normal(0, 0.02, 24))
    one, _ = capture(poses, seed)
    placing = placing_of(Alignment(centre=None, scale=None, up=None, front="3"), one)
    placed = np.stack([placing.pose(frame.camera_to_world) for frame in one.frames])
    back = Rotation.from_euler("y", -azimuths[3]).as_matrix() @ poses[:, :3, 3, None]
    apart = placed[:, :3, 3] / np.linalg.norm(placed[:, :3, 3], axis=1, keepdims=True) - back[..., 0] / 4
    assert np.abs(apart).max() < 0.03
    radius = np.linalg.norm(placed[:, :3, 3], axis=1)
    np.testing.assert_allclose(radius, 1 / np.tan(np.arctan(60 / 220)), rtol=0.03)  # the picture's width is the box's


def test_an_arc_of_cameras_faces_us() -> None:
    """Cameras before one side of a person only: the one in their middle is frontal."""
    azimuths = np.linspace(-1.0, 1.0, 11) + 2.0
    poses = stands(azimuths, 0.3 * np.sin(3 * azimuths), np.zeros(11))
    one, _ = capture(poses, 7)
    placed = placing_of(AUTO, one).pose(one.frames[5].camera_to_world)
    assert abs(placed[0, 3]) < 1e-6
    assert placed[2, 3] > 2
    assert placed[1, 1] < -0.9  # its y axis points down in our world


LYING = "its cameras do not tell which way is up: their x axes all lie along one line, as where pictures lie on their"


@pytest.mark.parametrize(
    ("arc", "rise"), [(3, 3), (5, 10), (12, 5), (30, 20), (60, 20), (120, 10), (180, 0), (180, 30)]
)
def test_up_is_told_by_cameras_held_by_hand_or_not_at_all(arc: float, rise: float) -> None:
    generator = np.random.default_rng(round(arc))
    azimuths = np.radians(np.linspace(-arc, arc, 24))
    rises, rolls = np.radians(generator.uniform(-rise, rise, 24)), np.radians(generator.normal(0, 2, 24))
    for seed in range(6):
        one, turn = capture(stands(azimuths, rises, rolls), seed)
        found = placing_of(Alignment(up=None), one).turn @ turn.as_matrix()
        assert found[1, 1] > np.cos(np.radians(5))
        if arc >= 60:
            lying, _ = capture(stands(azimuths, rises, rolls + np.pi / 2 * (-1) ** seed), seed)
            with pytest.raises(ValueError, match=f"^a.json: {LYING} sides; bring .* give --up y or --up z$"):
                placing_of(Alignment(up=None), lying)


def test_cameras_held_both_ways_or_above_each_other_do_not_tell_up() -> None:
    azimuths = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    both, _ = capture(stands(azimuths, np.zeros(24), np.pi * (np.arange(24) % 2)), 1)
    with pytest.raises(ValueError, match="a.json: its cameras do not tell .*: as many are held upside down as upright"):
        placing_of(Alignment(up=None), both)
    over, _ = capture(stands(np.zeros(12), np.linspace(-1, 1, 12), np.zeros(12)), 2)
    with pytest.raises(ValueError, match=f"a.json: {LYING} sides"):
        placing_of(Alignment(up=None), over)
    alike, turn = capture(stands(np.zeros(3), np.zeros(3), np.zeros(3)), 3)
    found = placing_of(Alignment(up=None), alike).turn @ turn.as_matrix()
    assert found[1, 1] == pytest.approx(1)


def test_points_tell_middle_and_size_in_spite_of_far_ones() -> None:
    generator = np.random.default_rng(0)
    head = generator.normal(0, 1, (800, 3))
    head *= 0.5 * generator.uniform(0.8, 1, (800, 1)) / np.linalg.norm(head, axis=1, keepdims=True)
    room = np.array([0.0, 0.0, -12.0]) + generator.uniform(-9, 9, (3000, 3))
    poses = stands(np.linspace(0, 6, 16), np.full(16, 0.1), np.zeros(16))
    one, _ = capture(poses, 3, np.concatenate([np.array([0.1, 0.2, 0.0]) + head, room]))
    placing = placing_of(AUTO, one)
    placed = placing.scale * (one.points - placing.centre) @ placing.turn.T
    assert np.abs(np.median(placed[:800], axis=0)).max() < 0.05
    assert 0.78 < np.quantile(np.abs(placed[:800]).max(axis=1), 0.95) < 0.92


def test_no_camera_ends_in_the_box() -> None:
    poses = stands(np.linspace(0, 6, 12), np.zeros(12), np.zeros(12))
    poses[4, :3, 3] *= 0.2
    one, _ = capture(poses, 1)
    placed = np.stack([placing_of(AUTO, one).pose(frame.camera_to_world) for frame in one.frames])
    assert np.abs(placed[:, :3, 3]).max(axis=1).min() > 1.0


def test_what_cannot_be_guessed_is_told() -> None:
    poses = stands(np.zeros(5), np.zeros(5), np.zeros(5))
    poses[:, 0, 3] = np.arange(5)
    one, _ = capture(poses, 2)
    with pytest.raises(
        ValueError, match=r"a.json: its cameras look all one way, so nowhere do they meet; give --centre"
    ):
        placing_of(AUTO, one)
    with pytest.raises(
        ValueError, match=r"a.json: no picture 'me' to be frontal; there are 0.png, 1.png, 2.png, \.\.\."
    ):
        placing_of(Alignment(front="me"), one)
    for wrong in ({"up": "x"}, {"scale": 0.0}, {"centre": (0.0, float("nan"), 0.0)}):
        with pytest.raises(ValueError, match="wanted"):
            Alignment(**wrong)
