"""Slow readable twins of rodin.diffusion, one number at a time in plain Python floats, and denoisers for its tests."""

import math

from rodin.diffusion.process import x0_from_eps


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


def ddim_step(x_t, x0, alpha_bar, alpha_bar_prev, eta, z):
    """DDIM's equation 12 with its sigma of equation 16, from (x_t, x0_hat) of one number."""
    sigma = eta * math.sqrt((1 - alpha_bar_prev) / (1 - alpha_bar)) * math.sqrt(1 - alpha_bar / alpha_bar_prev)
    eps = (x_t - math.sqrt(alpha_bar) * x0) / math.sqrt(1 - alpha_bar)
    direction = math.sqrt(max(1 - alpha_bar_prev - sigma**2, 0.0)) * eps
    return math.sqrt(alpha_bar_prev) * x0 + direction + sigma * z


def clean(denoise, schedule, predicts, clip=None):
    """x0_hat of a denoiser that predicts "eps" or "x0", clipped to [-clip, clip] as ADM does."""

    def x0_hat(x_t, timestep, latent):
        prediction = denoise(x_t, timestep, latent)
        x0 = prediction if predicts == "x0" else x0_from_eps(schedule, x_t, timestep, prediction)
        return x0 if clip is None else x0.clamp(-clip, clip)

    return x0_hat


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
