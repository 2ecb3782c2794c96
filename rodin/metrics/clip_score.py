"""CLIP score: how well a picture fits a text, by the cosine of their CLIP embeddings."""

import numpy as np

from rodin.metrics.neighbours import features, unit

SCALE = 100.0  # of a cosine of 1, as is usual


def clip_scores(pictures: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """100 · max(cosine, 0) of every picture with every text.

    Args:
        pictures: [N, D] embeddings, of any length but zero.
        texts: [M, D] embeddings, likewise.

    Returns:
        [N, M] float64 in [0, 100].

    Source: Hessel et al. 2021, with the weight 100 that is usual now, in place of 2.5.
    """
    pictures, texts = features(pictures, "pictures"), features(texts, "texts")
    if pictures.shape[1] != texts.shape[1]:
        raise ValueError(
            f"CLIP score: got pictures {list(pictures.shape)} and texts {list(texts.shape)}, wanted one width"
        )
    return SCALE * np.clip(unit(pictures, "pictures") @ unit(texts, "texts").T, 0.0, 1.0)
