"""Speed of the metrics on one CPU thread, each against the usual library call."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rodin.metrics import lpips
from rodin.metrics.frechet import frechet
from rodin.metrics.neighbours import neighbours
from rodin.metrics.psnr import psnr
from rodin.metrics.ssim import ssim
from rodin.store.weights import lpips_file
from rodin.timing import medians

NEIGHBOURS = 4  # of each query, as the evaluation reports
QUERIES = 64  # rows, as many as avatars in an evaluation
MANY, MORE = 1_000, 5  # queries, and subjects in multiples, against faiss: 1,000 among 100,000 by default
LPIPS_PICTURES = 8  # pairs: AlexNet is much slower than the other metrics
Case = tuple[str, Callable[[], Any], str, Callable[[], Any]]


def bench_metrics(
    pictures: int = 64, size: int = 256, subjects: int = 20_000, width: int = 512, repeats: int = 5
) -> list[dict[str, Any]]:
    """Time each metric in turn with its baseline, both on one thread of the CPU.

    Args:
        pictures: pairs of float32 RGB pictures. size: their side, pixels.
        subjects: rows among which neighbours are found, and of each set of the Fréchet distance. width: of a row.
        repeats: rounds that count; medians are compared.

    Returns:
        rows {name, value, unit, baseline, baseline_value, ratio}; ratio over 1 means ours is faster. LPIPS only where
        its weights are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        cases = [*_of_pictures(pictures, size), *_of_features(subjects, width)]
        return [_row(*case, repeats) for case in cases]
    finally:
        torch.set_num_threads(threads)


def _of_pictures(count: int, size: int) -> list[Case]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(count, 3, size, size, generator=generator)
    images = (truth + 0.1 * torch.randn(truth.shape, generator=generator)).clamp(0, 1)
    pairs = list(zip(truth.numpy(), images.numpy(), strict=True))
    title = f"{count} pairs of {size}²"
    cases: list[Case] = [
        (
            f"PSNR, {title}",
            lambda: psnr(images, truth),
            "scikit-image",
            lambda: [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in pairs],
        ),
        (
            f"SSIM, {title}",
            lambda: ssim(images, truth),
            "scikit-image",
            lambda: [structural_similarity(a, b, data_range=1.0, channel_axis=0) for a, b in pairs],
        ),
    ]
    metric, _ = lpips.load(lpips_file())
    if metric is not None and size >= lpips.SMALLEST:
        few, same = images[:LPIPS_PICTURES], truth[:LPIPS_PICTURES]
        each = list(zip(few.split(1), same.split(1), strict=True))
        title = f"LPIPS, {len(few)} pairs of {size}²"
        cases.append((title, lambda: metric(few, same), "one by one", lambda: [metric(*one) for one in each]))
    return cases


def _of_features(count: int, width: int) -> list[Case]:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((count, width)).astype(np.float32)
    other = vectors[::-1] + np.float32(0.1)
    queries = generator.standard_normal((QUERIES, width)).astype(np.float32)
    cases: list[Case] = [
        (
            f"neighbours, {QUERIES} queries, {count} subjects",
            lambda: neighbours(queries, vectors, NEIGHBOURS),
            "one product in float64, sorted",
            lambda: sorted_product(queries, vectors, NEIGHBOURS),
        ),
        (
            f"Fréchet distance, 2 sets of {count}, width {width}",
            lambda: frechet(vectors, other),
            "scipy.linalg.sqrtm",
            lambda: by_matrix_root(vectors, other),
        ),
    ]
    return cases + _against_faiss(count, width)


def _against_faiss(count: int, width: int) -> list[Case]:
    """Neighbours of an evaluation at the paper's size against faiss's flat index, where faiss is installed."""
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        return []
    faiss.omp_set_num_threads(1)
    generator = np.random.default_rng(1)
    queries, vectors = (generator.standard_normal((n, width)).astype(np.float32) for n in (MANY, count * MORE))
    return [
        (
            f"neighbours, {len(queries)} queries, {len(vectors)} subjects",
            lambda: neighbours(queries, vectors, NEIGHBOURS),
            "faiss IndexFlatIP",
            lambda: flat_index(faiss, queries, vectors, NEIGHBOURS),
        )
    ]


def flat_index(faiss: Any, queries: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Neighbours by faiss's exact index of scalar products, of rows scaled to length 1: [N, K]."""
    queries, vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, vectors))
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index.search(queries, count)[1]


def sorted_product(queries: np.ndarray, vectors: np.ndarray, count: int) -> np.ndarray:
    """Neighbours in the plainest way: all cosine similarities at once, each row sorted: [N, K]."""
    a, b = (rows.astype(np.float64) for rows in (queries, vectors))
    a, b = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (a, b))
    return np.argsort(-(a @ b.T), axis=1, kind="stable")[:, :count]


def by_matrix_root(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance by its formula, with the root of the product of both covariances."""
    cov_a, cov_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = np.asarray(scipy.linalg.sqrtm(cov_a @ cov_b)).real
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a + cov_b - 2 * root))


def _row(name: str, ours: Callable[[], Any], other: str, baseline: Callable[[], Any], repeats: int) -> dict[str, Any]:
    seconds = medians({"ours": ours, "baseline": baseline}, repeats, torch.device("cpu"))
    value, against = seconds["ours"], seconds["baseline"]
    row = {"name": name, "value": value, "unit": "s", "baseline": other, "baseline_value": against}
    return row | {"ratio": against / value}
