"""Separating a person from the background by colour: two Gaussian mixtures, one learned along the images' edges.

Letters: K components of weight w_k, mean m_k [3] and covariance S_k [3, 3] over CIE L*a*b* colours;
p(colour) = sum_k w_k N(colour; m_k, S_k). A pixel belongs to the person where log p_person > log p_background, averaged
over its neighbours; then gaps are closed and small islands removed.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy import ndimage
from scipy.cluster.vq import kmeans2
from skimage import measure
from skimage.color import rgb2lab

BACKGROUNDS = "border, white, #rrggbb or none"
LONGEST = 384
"""longest side at which images are segmented, pixels: enough to see a person, and fast"""
EDGE = 0.04
"""width of the band along the edges that is taken for background, as a share of the longest side"""
PIXELS = 20_000
"""pixels that a mixture is fitted to, or up to twice as many, chosen by lot"""
COMPONENTS = 6
"""Gaussians of a mixture"""
ROUNDS = 12
"""steps of expectation-maximisation; the mixtures have settled by then"""
LEAST_VARIANCE = 4.0
"""added to every covariance, squared L*a*b* units: about the noise of a camera"""
RARE, FAR = 0.02, 8.0
"""a colour is unlike the background where its log density is FAR under the background's quantile RARE"""
SURE = 6.0
"""largest evidence of one pixel, in nats, so that single pixels do not overrule their neighbours"""
SMOOTH = 1.5
"""standard deviation of the average over neighbours, pixels of the reduced image"""
GAP = 3
"""gaps up to twice this are closed, pixels of the reduced image"""
ISLAND = 0.1
"""islands under this share of the largest region are removed"""
NEAR_COLOUR, OTHER_COLOUR = 0.04, 0.12
"""distances from a single background colour at which alpha begins and is full, as a share of 255"""
FLAT = 0.95
"""share of the edges that a single background colour fills at least: hair or a shoulder may touch them"""


class Mixture(NamedTuple):
    """Gaussians over colours: log weights [K], means [K, 3], inverse covariances [K, 3, 3], their log determinants."""

    log_weights: np.ndarray
    means: np.ndarray
    precisions: np.ndarray
    log_dets: np.ndarray


class Sample:
    """Rows of any number of arrays, each with the same chance, in memory that does not grow with them; deterministic.

    Each row draws a lot in [0, 1) and stays while that is under the share that is kept; the share is halved whenever
    twice as many are held as wanted. Steps of equal width would fall on the same few columns of every image.

    Args:
        count: rows that are wanted: all where fewer than twice as many come, else between one and two times as many.
    """

    def __init__(self, count: int) -> None:
        self._count, self._share, self._generator = count, 1.0, np.random.default_rng(0)
        self._lots = np.empty(0)
        self.rows: np.ndarray | None = None
        """[M, C], in the order in which they came; None before the first"""

    def add(self, rows: np.ndarray) -> None:
        """Take in more rows [M, C]."""
        lots = self._generator.random(len(rows))
        kept = lots < self._share
        self.rows = rows[kept] if self.rows is None else np.concatenate([self.rows, rows[kept]])
        self._lots = np.concatenate([self._lots, lots[kept]])
        while len(self.rows) >= 2 * self._count:
            self._share /= 2
            kept = self._lots < self._share
            self.rows, self._lots = self.rows[kept], self._lots[kept]


def colour_of(background: str) -> np.ndarray:
    """The colour [3] uint8 of a background that is "white" or "#rrggbb"."""
    text = {"white": "#ffffff"}.get(background, background)
    try:
        if len(text) == 7 and text[0] == "#":
            return np.frombuffer(bytes.fromhex(text[1:]), np.uint8)
    except ValueError:
        pass
    raise ValueError(f"background '{background}', wanted {BACKGROUNDS}")


def border_colour(picture: np.ndarray) -> np.ndarray | None:
    """The one colour [3] uint8 along the edges of an image [H, W, 3] uint8; None where there are several."""
    edge = picture[_edge(*picture.shape[:2])].astype(np.float32)
    colour = np.median(edge, axis=0)
    flat = np.abs(edge - colour).max(axis=-1) <= NEAR_COLOUR * 255
    return colour.astype(np.uint8) if flat.mean() >= FLAT else None


def learn(pictures: Iterable[np.ndarray]) -> tuple[Mixture, Mixture]:
    """The colour mixtures of the background and of the person over all images of a capture.

    The background is learned along the upper edge and the sides without their lowest quarter, which a bust may reach;
    the person is learned from the colours unlike it.

    Args:
        pictures: rgb uint8 [H, W, 3] each, at least one; none is kept.

    Raises:
        ValueError: nothing in the images differs from their edges.
    """
    along, all_over = Sample(PIXELS), Sample(4 * PIXELS)
    for picture in pictures:
        small = reduced(picture)
        along.add(small[_edge(*small.shape[:2])])
        all_over.add(small.reshape(-1, 3))
    edges, everything = lab(np.asarray(along.rows)), lab(np.asarray(all_over.rows))
    background = fit_mixture(edges)
    likely = np.quantile(log_density(background, edges), RARE) - FAR
    unlike = everything[log_density(background, everything) < likely]
    if len(unlike) < 10 * COMPONENTS:
        raise ValueError("--background border: nothing in the pictures differs from their edges in colour; give masks")
    return background, fit_mixture(unlike)


def apart_from_border(picture: np.ndarray, background: Mixture, person: Mixture) -> np.ndarray:
    """Alpha [H, W] uint8 of an image [H, W, 3] uint8 by the mixtures of `learn`."""
    colours = lab(reduced(picture))
    evidence = log_density(person, colours) - log_density(background, colours)
    mask = ndimage.gaussian_filter(evidence.clip(-SURE, SURE), SMOOTH) > 0
    height, width = picture.shape[:2]
    return enlarged(whole(mask), height, width)


def apart_from_colour(picture: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Alpha [H, W] uint8 of an image [H, W, 3] uint8 in front of one colour [3]; holes inside the person are filled."""
    distance = np.abs(picture.astype(np.float32) - colour.astype(np.float32)).max(axis=-1) / 255
    soft = ((distance - NEAR_COLOUR) / (OTHER_COLOUR - NEAR_COLOUR)).clip(0, 1)
    inner = ndimage.binary_erosion(ndimage.binary_fill_holes(distance > NEAR_COLOUR), iterations=2)
    return np.rint(255 * np.maximum(soft, inner)).astype(np.uint8)


def whole(mask: np.ndarray) -> np.ndarray:
    """A mask with gaps and holes closed and small islands removed, [H, W] bool."""
    ball = ndimage.iterate_structure(ndimage.generate_binary_structure(2, 1), GAP)
    mask = ndimage.binary_closing(ndimage.binary_opening(np.pad(mask, 2 * GAP)), ball)
    mask = np.asarray(ndimage.binary_fill_holes(mask))[2 * GAP : -2 * GAP, 2 * GAP : -2 * GAP]
    labels = np.asarray(measure.label(mask), np.int64)
    sizes = np.bincount(labels.ravel())[1:]
    return np.isin(labels, 1 + np.flatnonzero(sizes >= ISLAND * sizes.max(initial=0)))


def fit_mixture(colours: np.ndarray, components: int = COMPONENTS) -> Mixture:
    """Expectation-maximisation started by k-means; deterministic.

    Args:
        colours: [M, 3], L*a*b*.
        components: K, fewer where the colours are fewer.
    """
    components = min(components, len(np.unique(colours, axis=0)))  # a drawing may have fewer
    _, nearest = kmeans2(colours, components, minit="++", rng=np.random.default_rng(0))
    shares = np.eye(components)[nearest]
    for _ in range(ROUNDS):
        mixture = _maximise(colours, shares)
        logs = _log_each(mixture, colours)
        shares = np.exp(logs - np.logaddexp.reduce(logs, axis=-1, keepdims=True))
    return _maximise(colours, shares)


def log_density(mixture: Mixture, colours: np.ndarray) -> np.ndarray:
    """log p of colours [..., 3]; [...] float64."""
    return np.logaddexp.reduce(_log_each(mixture, colours), axis=-1)


def lab(picture: np.ndarray) -> np.ndarray:
    """L*a*b* colours of colours [..., 3] uint8."""
    return rgb2lab(picture)


def reduced(picture: np.ndarray) -> np.ndarray:
    """An image shrunk to at most LONGEST pixels a side."""
    height, width = picture.shape[:2]
    factor = LONGEST / max(height, width)
    if factor >= 1:
        return picture
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def enlarged(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask [h, w] bool enlarged to alpha uint8 [height, width]; bilinear, so its edge is soft."""
    picture = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _edge(height: int, width: int) -> np.ndarray:
    band = max(1, round(EDGE * max(height, width)))
    edge = np.zeros((height, width), bool)
    edge[:band] = True
    edge[: 3 * height // 4, :band] = edge[: 3 * height // 4, -band:] = True
    return edge


def _maximise(colours: np.ndarray, shares: np.ndarray) -> Mixture:
    counts = shares.sum(axis=0) + 1e-6
    means = shares.T @ colours / counts[:, None]
    apart = colours[:, None] - means
    covariances = np.einsum("mk,mki,mkj->kij", shares, apart, apart) / counts[:, None, None]
    covariances += LEAST_VARIANCE * np.eye(3)
    log_dets = np.linalg.slogdet(covariances)[1]
    return Mixture(np.log(counts / counts.sum()), means, np.linalg.inv(covariances), log_dets)


def _log_each(mixture: Mixture, colours: np.ndarray) -> np.ndarray:
    apart = colours[..., None, :] - mixture.means
    squares = np.einsum("...ki,kij,...kj->...k", apart, mixture.precisions, apart)
    return mixture.log_weights - 0.5 * (squares + mixture.log_dets + 3 * np.log(2 * np.pi))
