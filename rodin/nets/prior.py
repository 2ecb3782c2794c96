"""Text prior: from a text to the image embedding that conditions the base model."""

import torch
import torch.nn.functional as F
from torch import nn

from rodin.nets.blocks import time_embedding, zeroed
from rodin.shapes import check_shape

INITIAL_STD = 0.02  # of learned tokens and positions, as in GPT-2


class Prior(nn.Module):
    """Predicts the clean image embedding from a noised one and a text.

    Input sequence of a causal transformer: the tokens of the text, the text embedding, the timestep, the noised image
    embedding, and a learned query. The prediction is the output at the query.

    Args:
        latent_width: D. token_width: E. token_count: L. width, layers, heads: of the transformer.

    Source: paper B.5 (R40-R42), DALL·E 2. Ours: padding and dropped text are replaced by learned null tokens, so
    attention needs only the causal mask; the text embedding, a unit vector, is scaled to entries of order one.
    """

    def __init__(
        self, *, latent_width: int, token_width: int, token_count: int, width: int, layers: int, heads: int
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width: got {width}, wanted a multiple of heads {heads}")
        self.latent_width, self.token_width, self.token_count, self.width = (
            latent_width,
            token_width,
            token_count,
            width,
        )
        self.token = nn.Linear(token_width, width)
        self.text = nn.Linear(latent_width, width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.image = nn.Linear(latent_width, width)
        self.query = nn.Parameter(torch.randn(width) * INITIAL_STD)
        self.null_tokens = nn.Parameter(torch.randn(token_count, width) * INITIAL_STD)
        self.null_text = nn.Parameter(torch.randn(width) * INITIAL_STD)
        self.positions = nn.Parameter(torch.randn(token_count + 4, width) * INITIAL_STD)
        self.blocks = nn.ModuleList([CausalBlock(width, heads) for _ in range(layers)])
        self.last_norm = nn.LayerNorm(width)
        self.last = zeroed(nn.Linear(width, latent_width))

    def forward(
        self,
        z_t: torch.Tensor,
        timestep: torch.Tensor,
        text: torch.Tensor,
        tokens: torch.Tensor,
        token_mask: torch.Tensor,
        drop: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Predict z0, the clean embedding.

        Args:
            z_t: [N, D] noised image embedding, of order one. timestep: [N] int64.
            text: [N, D] unit text embedding. tokens: [N, L, E] its tokens. token_mask: [N, L] bool, false at padding.
            drop: [N] bool, rows without text, for classifier-free guidance.

        Returns:
            z0 [N, D].
        """
        sizes = check_shape("z_t", z_t, "N D", D=self.latent_width)
        check_shape("text", text, "N D", **sizes)
        check_shape("tokens", tokens, "N L E", N=sizes["N"], L=self.token_count, E=self.token_width)
        check_shape("token_mask", token_mask, "N L", N=sizes["N"], L=self.token_count)
        text_vector = self.text(text * self.latent_width**0.5)
        if drop is not None:
            token_mask = token_mask & ~drop[:, None]
            text_vector = torch.where(drop[:, None], self.null_text.to(text_vector.dtype), text_vector)
        token_vectors = self.token(tokens)
        token_vectors = torch.where(token_mask[..., None], token_vectors, self.null_tokens.to(token_vectors.dtype))
        time = self.time(time_embedding(timestep, self.width))
        rest = torch.stack([text_vector, time, self.image(z_t), self.query.expand_as(time).to(time.dtype)], dim=1)
        h = torch.cat([token_vectors, rest], dim=1) + self.positions
        for block in self.blocks:
            h = block(h)
        return self.last(self.last_norm(h[:, -1]))


class CausalBlock(nn.Module):
    """Pre-norm transformer block with causal attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = zeroed(nn.Linear(width, width))
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), zeroed(nn.Linear(4 * width, width)))

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm1(h)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return h + self.mlp(self.norm2(h))
