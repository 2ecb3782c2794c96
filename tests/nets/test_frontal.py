"""The auxiliary task of the small CLIP: an embedding tells the frontal picture."""

import torch
import torch.nn.functional as F

from rodin.nets.frontal import SIDE, Frontal, reduced


def pictures(count: int) -> torch.Tensor:
    return torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_a_picture_is_averaged_over_areas():
    whole = pictures(2)
    assert torch.allclose(reduced(whole)[1, 2, 3, 5], whole[1, 2, 6:8, 10:12].mean(), atol=1e-6)
    assert reduced(whole).shape == (2, 3, SIDE, SIDE)


def test_at_first_every_embedding_tells_the_mean_picture():
    people = pictures(5)
    task = Frontal(8, people)
    embedding = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    losses = task.loss(embedding, people)
    assert losses.shape == (5,)
    assert abs(losses.mean().item() - 1) < 0.01  # in standard deviations
    mean = reduced(people).mean(dim=0)
    assert task.loss(embedding[:1], F.interpolate(mean[None], 64)).item() < 1e-9


def test_it_learns_which_embedding_shows_which_picture():
    people, task = pictures(4), Frontal(8, pictures(4))
    embedding = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    optimiser = torch.optim.Adam(task.parameters(), 0.05)
    for _ in range(100):
        optimiser.zero_grad()
        task.loss(embedding, people).sum().backward()
        optimiser.step()
    assert task.loss(embedding, people).max() < 0.01
    assert task.loss(embedding.roll(1, 0), people).min() > 0.5


def test_equal_pictures_have_a_finite_loss():
    task = Frontal(8, pictures(1).expand(3, -1, -1, -1))
    assert task.loss(torch.zeros(1, 8), pictures(1)).isfinite().all()
