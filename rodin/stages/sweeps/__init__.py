"""The sweep stages: guidance scale, tri-plane resolution, number of views, and the convolution ablation."""
