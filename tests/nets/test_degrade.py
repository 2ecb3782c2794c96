import torch

from rodin.field.planes import resize
from rodin.nets.degrade import degrade, gaussian_blur

RANGES = {"downscale": (1.5, 2.0), "blur": (0.5, 1.0), "noise": (0.05, 0.1)}


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_one_in_eight_is_intact_and_the_rest_are_not():
    planes = torch.randn(200, 3, 1, 8, 8, generator=generator())
    low = degrade(planes, 4, **RANGES, generator=generator(1))
    assert low.shape == (200, 3, 1, 4, 4)
    intact = (low - resize(planes, 4)).abs().flatten(1).amax(1) < 1e-6
    assert 10 <= intact.sum() <= 45


def test_it_is_a_function_of_the_generator():
    planes = torch.randn(4, 3, 2, 8, 8, generator=generator())
    assert torch.equal(
        degrade(planes, 4, **RANGES, generator=generator(1)), degrade(planes, 4, **RANGES, generator=generator(1))
    )
    assert not torch.equal(
        degrade(planes, 4, **RANGES, generator=generator(1)), degrade(planes, 4, **RANGES, generator=generator(2))
    )


def test_planes_keep_their_digits_in_a_training_in_half_precision():
    planes = torch.randn(8, 3, 2, 8, 8, generator=generator())
    wanted = degrade(planes, 4, **RANGES, generator=generator(1))
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(degrade(planes, 4, **RANGES, generator=generator(1)), wanted)


def test_noise_has_the_size_asked_for():
    ranges = {"downscale": (1.0, 1.0), "blur": (0.0, 0.0), "noise": (0.2, 0.2)}
    low = degrade(torch.zeros(100, 3, 2, 16, 16), 16, **ranges, generator=generator(3))
    sizes = low.flatten(1).std(1)
    assert ((sizes == 0) | ((sizes - 0.2).abs() < 0.02)).all()
    assert 30 < (sizes > 0).sum() < 70


def test_blur_is_a_gaussian_and_keeps_the_sum_inside():
    spike = torch.zeros(1, 3, 1, 15, 15, dtype=torch.float64)
    spike[0, 1, 0, 7, 7] = 1
    blurred = gaussian_blur(spike, 1.3)
    assert blurred[0, 0].abs().sum() == 0
    torch.testing.assert_close(blurred[0, 1, 0].sum(), torch.tensor(1.0).double())
    offsets = torch.arange(15).double() - 7
    variance = (blurred[0, 1, 0].sum(0) * offsets**2).sum().item()
    assert abs(variance - 1.3**2) < 0.05
    torch.testing.assert_close(blurred[0, 1, 0], blurred[0, 1, 0].T)


def test_blur_leaves_a_constant_alone():
    flat = torch.full((1, 3, 2, 6, 6), 0.7)
    torch.testing.assert_close(gaussian_blur(flat, 2.0), flat)
    assert gaussian_blur(flat, 0.0) is flat
