"""Fréchet distance between two sets of features, each modelled as one Gaussian."""

import numpy as np


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), A and B the covariances.

    The trace of the root is the sum of the singular values of A^(1/2) B^(1/2). Both roots come from eigenvalues of
    symmetric matrices, so singular covariances (of sets with fewer rows than columns) are allowed.

    Args:
        a: features [N, D], N at least 2.
        b: features [M, D], M at least 2.

    Returns:
        distance, at least 0; computed in float64.

    Source: Dowson and Landau 1982; Heusel et al. 2017 for images, with Inception features. Ours: CLIP features.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features: got {list(a.shape)} and {list(b.shape)}, wanted [N, D] and [M, D], 2 rows or more")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features: hold NaN or infinity")
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    root = np.linalg.svd(symmetric_root(cov_a) @ symmetric_root(cov_b), compute_uv=False)
    between_means = np.square(a.mean(0) - b.mean(0)).sum()
    return max(0.0, float(between_means + np.trace(cov_a) + np.trace(cov_b) - 2.0 * root.sum()))


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """Positive square root of a symmetric positive semidefinite matrix [D, D]."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
