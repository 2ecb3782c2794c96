"""Noising, denoising and sampling with any callable `(x_t, timestep, latent) -> prediction`; no networks here.

Letters: x0 the clean sample, x_t the noised one, eps the noise, T the number of timesteps, timestep 0..T-1 (0 = least
noise). **The paper's α_t is already the product of the (1 − β_s)**: here it is `alpha_bar`, and alpha is 1 − β.
"""
