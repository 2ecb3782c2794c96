"""PSNR, SSIM and LPIPS against scikit-image and the package's own way of loading."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rodin.metrics import lpips as perceptual
from rodin.metrics import ssim as structural
from rodin.metrics.psnr import psnr
from rodin.metrics.ssim import on_any_device, on_cpu, ssim


def pictures(count: int, height: int, width: int, noise: float = 0.1) -> tuple[torch.Tensor, torch.Tensor]:
    chance = torch.Generator().manual_seed(count * 1000 + height)
    truth = torch.rand(count, 3, height, width, generator=chance, dtype=torch.float64)
    images = truth + noise * torch.randn(truth.shape, generator=chance, dtype=torch.float64)
    return images.clamp(0, 1), truth


def of_scikit_image(images: torch.Tensor, truth: torch.Tensor) -> list[float]:
    pairs = zip(images.double().numpy(), truth.double().numpy(), strict=True)
    return [structural_similarity(a, b, data_range=1.0, channel_axis=0) for a, b in pairs]


@pytest.mark.parametrize("path", [on_cpu, on_any_device])
@pytest.mark.parametrize(("height", "width"), [(7, 7), (8, 7), (9, 13), (8, 31), (64, 48)])
def test_ssim_is_scikit_images(height: int, width: int, path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, truth = pictures(4, height, width)
    truth[2] = images[2] * 0.2 + 0.7
    np.testing.assert_allclose(path(images, truth), of_scikit_image(images, truth), rtol=0, atol=1e-10)
    monkeypatch.setattr(structural, "STRIP", 10 * width)  # rows left over: an odd number of them, or fewer than seven
    np.testing.assert_allclose(path(images, truth), of_scikit_image(images, truth), rtol=0, atol=1e-10)


@pytest.mark.parametrize("kind", ["noise", "blocks", "noisy blocks", "negative blocks", "almost flat"])
def test_ssim_of_float32_is_scikit_images_in_float64(kind: str) -> None:
    """Flat areas of different colours are hardest: their variance is a difference of squares that cancel."""
    images, truth = pictures(2, 120, 121)
    blocks, others = (F.interpolate(some[..., :8, :8], size=(120, 121)) for some in (images, truth))
    noise = images - truth
    images, truth = {
        "noise": (images, truth),
        "blocks": (blocks, others),
        "noisy blocks": ((blocks + 0.3 * noise).clamp(0, 1), blocks),
        "negative blocks": (1 - blocks, blocks),
        "almost flat": (0.9 + 1e-3 * noise, torch.full_like(truth, 0.9)),
    }[kind]
    found = ssim(images.float(), truth.float())
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found, of_scikit_image(images, truth), rtol=0, atol=1e-6)


def test_many_pictures_of_odd_height_leave_nothing_behind() -> None:
    """The arrays are used again for each picture; what one leaves in a row that is not read must not grow."""
    images, truth = (some.float() for some in pictures(20, 9, 13))
    alone = [ssim(a[None], b[None]).item() for a, b in zip(images, truth, strict=True)]
    assert ssim(images, truth).tolist() == alone


def test_psnr_is_scikit_images() -> None:
    images, truth = pictures(4, 30, 20)
    wanted = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1.0) for a, b in zip(images, truth, strict=True)]
    np.testing.assert_allclose(psnr(images, truth), wanted, rtol=1e-12)
    assert psnr(images.float(), truth.float()).dtype == torch.float64
    np.testing.assert_allclose(psnr(images.float(), truth.float()), wanted, rtol=1e-6)


def test_flat_pictures_keep_their_digits() -> None:
    truth = torch.full((1, 3, 64, 64), 0.9, dtype=torch.float64)
    images = truth + 1e-4 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for path in (on_cpu, on_any_device):
        assert path(images, truth).item() == pytest.approx(of_scikit_image(images, truth)[0], abs=1e-9)


def test_equal_pictures() -> None:
    images, _ = pictures(2, 16, 16)
    assert psnr(images, images).tolist() == [float("inf")] * 2
    for size in ((2, 3, 16, 16), (2, 3, 9, 11)):
        for dtype in (torch.float32, torch.float64):
            same = torch.rand(size, dtype=dtype, generator=torch.Generator().manual_seed(0))
            assert ssim(same, same).tolist() == [1.0, 1.0]


def test_a_picture_measures_the_same_in_any_company() -> None:
    images, truth = pictures(3, 20, 24)
    for metric in (psnr, ssim):
        assert torch.equal(metric(images, truth)[1:2], metric(images[1:2], truth[1:2]))
        assert torch.equal(metric(images.numpy(), truth.numpy()), metric(images, truth))


@pytest.mark.gpu
def test_the_same_on_the_gpu() -> None:
    images, truth = pictures(5, 64, 64)
    for metric in (psnr, ssim):
        torch.testing.assert_close(metric(images.cuda(), truth.cuda()).cpu(), metric(images, truth))


@pytest.mark.parametrize("metric", [psnr, ssim])
def test_other_than_pictures_is_refused(metric) -> None:
    with pytest.raises(ValueError, match=r"got \[2, 3, 8, 8\] and \[1, 3, 8, 8\], wanted both \[N, 3, H, W\]"):
        metric(torch.zeros(2, 3, 8, 8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match="divide by 255"):
        metric(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), torch.zeros(1, 3, 8, 8))
    with pytest.raises(ValueError, match=r"wanted both \[N, 3, H, W\]"):
        metric(np.zeros((1, 8, 8, 3)), np.zeros((1, 8, 8, 3)))


def test_too_small_for_a_window() -> None:
    with pytest.raises(ValueError, match="6 x 9 pixels, wanted at least 7 x 7"):
        ssim(torch.zeros(1, 3, 6, 9), torch.zeros(1, 3, 6, 9))


def alexnet_file(folder: Path) -> Path:
    """A trunk with AlexNet's names and shapes and random values, where torch's hub would look for the real one."""
    from rodin.nets.torchvision_shim import prepare

    prepare()
    import torchvision

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in torchvision.models.alexnet(weights=None).state_dict().items()}
    chance = torch.Generator().manual_seed(0)
    trunk = {
        name: torch.randn(shape, generator=chance) * shape[1:].numel() ** -0.5
        if name.startswith("features")
        else torch.zeros(1).expand(shape)
        for name, shape in shapes.items()
    }
    path = folder / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth"
    path.parent.mkdir(parents=True)
    torch.save(trunk, path)
    return path


def test_lpips_equals_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = alexnet_file(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setitem(perceptual.SHA256, ".pth", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    metric, reason = perceptual.load(path)
    assert metric is not None
    assert reason == ""
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        package = lpips.LPIPS(net="alex", verbose=False)
    images, truth = pictures(3, 64, 64)
    with torch.no_grad():
        wanted = package(images.float(), truth.float(), normalize=True).flatten().double()
    found = metric(images, truth)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    assert (found > 1e-4).all()
    pulled = images.float().requires_grad_()
    with_gradients = metric.distance(pulled, truth.float())
    torch.testing.assert_close(with_gradients.double(), wanted, rtol=1e-5, atol=1e-7)
    assert torch.autograd.grad(with_gradients.sum(), pulled)[0].abs().sum() > 0
    assert metric(images, images).tolist() == [0.0] * 3
    with pytest.raises(ValueError, match="16 x 16 pixels, wanted at least 32"):
        metric(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16))


def test_without_weights_lpips_says_why(tmp_path: Path) -> None:
    assert perceptual.load(None)[0] is None
    metric, reason = perceptual.load(tmp_path / "alexnet-owt-7be5be79.pth")
    assert metric is None
    assert "alexnet-owt-7be5be79.pth is missing; `rodin weights fetch lpips`" in reason
    (tmp_path / "alexnet-owt-7be5be79.pth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha256 starts .*, wanted 7be5be79"):
        perceptual.load(tmp_path / "alexnet-owt-7be5be79.pth")
