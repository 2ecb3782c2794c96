"""The networks: 3D-aware convolution, base U-Net, upsampler, latent MLP, text prior, refiner, and the door to CLIP.

They take plain keyword arguments, never a config, and see tri-planes [N, 3, C, R, R] at their doors.
"""
