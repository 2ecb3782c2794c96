"""Networks: 3D-aware convolution, base U-Net, upsampler, latent MLP, text prior, refiner; and access to CLIP.

They take plain keyword arguments, not a config. Tri-planes enter and leave as [N, 3, C, R, R].
"""
