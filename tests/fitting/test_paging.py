"""What is paged is what is kept in memory: the same bits, the same Adam, and no more pictures than allowed."""

from pathlib import Path

import pytest
import torch

from rodin.fitting.paging import BETAS, EPS, SceneCache, adam_, vectors
from rodin.fitting.pyramid import LEVELS, level_shapes, levels_of, total, zero_levels
from rodin.fitting.scene import FitScene


def test_a_file_serves_as_memory_does_and_leaves_nothing(tmp_path: Path):
    inside, paged = vectors(3, 50, 1e9), vectors(3, 50, 10.0, tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(inside, paged)
    for room in (inside, paged):
        generator = torch.Generator().manual_seed(0)
        for step in range(1, 5):
            adam_(room[1], torch.randn(50, generator=generator), step, 0.1)
    assert torch.equal(inside, paged)
    assert paged[1].abs().min() > 0
    assert not paged[[0, 2]].any()


def test_values_are_on_the_device_only_where_they_are_within_the_limit(tmp_path: Path):
    assert vectors(3, 50, 1e9, tmp_path, torch.device("meta")).device.type == "meta"
    assert vectors(3, 50, 10.0, tmp_path, torch.device("meta")).device.type == "cpu"


def test_too_small_a_disk_is_an_error(tmp_path: Path):
    with pytest.raises(ValueError, match=r"subjects take 12000000.0 GB .*raise decoder.memory_gb"):
        vectors(1_000_000, 1_000_000_000, 1.0, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_adam_is_torchs():
    torch.manual_seed(0)
    wanted = torch.zeros(40, requires_grad=True)
    adam, state = torch.optim.Adam([wanted], lr=0.05, betas=BETAS, eps=EPS), torch.zeros(3, 40)
    for step in range(1, 20):
        wanted.grad = torch.randn(40)
        adam_(state, wanted.grad, step, 0.05)
        adam.step()
    torch.testing.assert_close(state[0], wanted.detach(), rtol=1e-5, atol=1e-7)


def test_levels_are_views_of_one_vector():
    shape = (3, 2, 64, 64)
    vectors = torch.arange(2 * 3 * 2 * (64**2 + 32**2 + 16**2 + 8**2 + 4**2)).float().view(2, -1).requires_grad_()
    levels = levels_of(vectors, shape)
    assert [tuple(level.shape) for level in levels] == [(2, *one) for one in level_shapes(shape)]
    assert len(levels) == LEVELS == len(zero_levels(shape))
    total(levels).sum().backward()
    assert vectors.grad is not None
    assert (vectors.grad[:, : 3 * 2 * 64**2] == 1).all()
    torch.testing.assert_close(vectors.grad[:, -3 * 2 * 4**2 :].sum(1), torch.tensor([6.0 * 64**2] * 2))
    assert [side for _, _, side, _ in level_shapes((3, 2, 16, 16))] == [16, 8, 4]


def test_pictures_are_read_again_only_where_not_all_fit():
    reads: list[tuple[str, bool]] = []

    def read(subject: str, hull: torch.Tensor | None) -> FitScene:
        reads.append((subject, hull is not None))
        return FitScene(*(torch.zeros(100, dtype=torch.uint8) for _ in range(6)))

    scenes = SceneCache(read, 1300.0)
    for subject in ("a", "b", "a", "b", "c", "b", "a"):
        assert len(scenes[subject]) == 6
    assert reads == [("a", False), ("b", False), ("c", False), ("a", True)]
    tight = SceneCache(read, 1.0)
    assert tight["a"] is tight["a"]
