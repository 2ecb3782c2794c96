"""Fréchet distance between two sets of features, each modelled as one Gaussian; moments of parts add up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np


@dataclass(frozen=True)
class Moments:
    """Moments of a set of N features; those of two sets added are those of both together.

    Args:
        count: N.
        mean: [D] float64.
        comoments: [D, D] float64, the sum over features of (x − mean)(x − mean)ᵀ.

    Source: the sums of two sets are joined as in Chan, Golub and LeVeque 1983: no difference of two large sums.
    """

    count: int
    mean: np.ndarray
    comoments: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Moments of features [N, D], N may be 0.

        Raises:
            ValueError: another shape, or NaN or infinity.
        """
        features = np.asarray(features, np.float64)
        if features.ndim != 2:
            raise ValueError(f"features: got {list(features.shape)}, wanted [N, D]")
        if not np.isfinite(features).all():
            raise ValueError("features: hold NaN or infinity")
        width = features.shape[1]
        if not len(features):
            return cls(0, np.zeros(width), np.zeros((width, width)))
        mean = features.mean(axis=0)
        away = features - mean
        return cls(len(features), mean, away.T @ away)

    def __add__(self, other: Moments) -> Moments:
        if len(self.mean) != len(other.mean):
            raise ValueError(f"features: got widths {len(self.mean)} and {len(other.mean)}, wanted one width")
        count = self.count + other.count
        if not self.count or not other.count:
            return other if other.count else self
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.comoments + other.comoments + between)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance [D, D], of N − 1 degrees of freedom."""
        return self.comoments / (self.count - 1)


def joined(parts: Iterable[Moments]) -> Moments:
    """Moments of all parts together, added in order; at least one."""
    return reduce(Moments.__add__, parts)


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of two sets of features, see `frechet_of`.

    Args:
        a: features [N, D], N at least 2.
        b: features [M, D], M at least 2.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"features: got {list(a.shape)} and {list(b.shape)}, wanted [N, D] and [M, D], 2 rows or more")
    return frechet_of(Moments.of(a), Moments.of(b))


def frechet_of(a: Moments, b: Moments) -> float:
    """Fréchet distance |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), A and B the covariances.

    The trace of the root is the sum of the singular values of A^(1/2) B^(1/2). Both roots come from eigenvalues of
    symmetric matrices, so singular covariances (of sets with fewer rows than columns) are allowed.

    Args:
        a, b: moments of two sets of one width, of two features or more each.

    Returns:
        distance, at least 0; computed in float64.

    Source: Dowson and Landau 1982; Heusel et al. 2017 for images, with Inception features. Ours: CLIP features.
    """
    if len(a.mean) != len(b.mean) or min(a.count, b.count) < 2:
        raise ValueError(
            f"features: got {[a.count, len(a.mean)]} and {[b.count, len(b.mean)]}, wanted [N, D] and [M, D], "
            "2 rows or more"
        )
    roots = symmetric_root(a.covariance) @ symmetric_root(b.covariance)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * np.linalg.svd(roots, compute_uv=False).sum()
    return max(0.0, float(np.square(a.mean - b.mean).sum() + trace))


def symmetric_root(matrix: np.ndarray) -> np.ndarray:
    """Positive square root of a symmetric positive semidefinite matrix [D, D]."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
