"""Slow readable twins of rodin.diffusion: one sample, one number at a time, in plain Python floats."""

import math


def linear_alpha_bar(T):
    """Equation 1's α_t, one factor at a time."""
    scale = 1000 / T
    first, last = scale * 1e-4, scale * 0.02
    product, table = 1.0, []
    for t in range(T):
        beta = min(first + (last - first) * t / max(T - 1, 1), 0.999)
        product *= 1 - beta
        table.append(product)
    return table


def ancestral_step(x_t, eps, alpha_bar, alpha_bar_prev, z):
    """Equation 3, as printed, with sigma_t the posterior's standard deviation."""
    beta = 1 - alpha_bar / alpha_bar_prev
    mean = (x_t - beta / math.sqrt(1 - alpha_bar) * eps) / math.sqrt(1 - beta)
    return mean + math.sqrt(beta * (1 - alpha_bar_prev) / (1 - alpha_bar)) * z


class GaussianData:
    """Data N(mean, covariance): E[eps | x_t] is known in closed form, so sampling has no network error.

    x_t ~ N(√a mean, a covariance + (1 − a) I), hence E[x0 | x_t] = mean + √a covariance S⁻¹ (x_t − √a mean).
    """

    def __init__(self, mean, covariance):
        self.mean, self.covariance = mean, covariance

    def x0(self, x_t, alpha_bar):
        import torch

        size = len(self.mean)
        root = math.sqrt(alpha_bar)
        spread = alpha_bar * self.covariance + (1 - alpha_bar) * torch.eye(size, dtype=x_t.dtype)
        gain = root * self.covariance @ torch.linalg.inv(spread)
        return self.mean + (x_t - root * self.mean) @ gain.T

    def eps(self, x_t, alpha_bar):
        return (x_t - math.sqrt(alpha_bar) * self.x0(x_t, alpha_bar)) / math.sqrt(1 - alpha_bar)
