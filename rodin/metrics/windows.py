"""Structural similarity on a CPU: sums over all 7 × 7 windows by additions of long arrays."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch

SIDE = 7  # of a window, pixels: scikit-image's default
PIXELS = SIDE * SIDE
C1, C2 = 0.01**2, 0.03**2  # of Wang et al. 2004, for values in [0, 1]
LUMINANCE = 2 * PIXELS**2 * C1  # C1 and C2 in a formula of sums instead of means
CONTRAST = 2 * (PIXELS - 1) * C2  # the same for C2
ROUNDINGS = 4 * 2.0**-24  # largest relative error of a sum of squares in float32: a rounding at each of its levels
MOST_ERROR = 3e-7  # estimated error of a mean similarity from which on v is summed in float64; the promise is 1e-6
GAP = 16  # values between arrays: numpy treats adjacent arrays as overlapping ones, five times slower


class Windows:
    """Work space for the similarity of two planes of one size and precision, reused from plane to plane.

    Letters: u = x + y - 1 and v = x - y of the two planes, U and V their sums over a window of N pixels, D their sums
    of squares about the mean. The similarity of x and y there is

        ((U + N)² - V² + 2 N² C1) / ((U + N)² + V² + 2 N² C1) · (D_u - D_v + 2 (N - 1) C2) / (D_u + D_v + 2 (N - 1) C2),

    exactly 1 for equal planes. Rounding errors of D_u matter less the more alike the planes are, those of D_v where a
    window is flat in both planes but not alike. So a plane whose estimated error is too large has its D_v computed
    again in float64.

    Args:
        height: H. width: W, both at least 7. dtype: of u and v, float32 or float64.
    """

    def __init__(self, height: int, width: int, dtype: torch.dtype) -> None:
        self.u, self.v = (WindowSums(height, width, dtype) for _ in range(2))
        self.luminance = torch.tensor(LUMINANCE, dtype=dtype)
        half = (height + 1) // 2
        places = torch.zeros(2, (half - 3) * width, dtype=dtype)
        self.work = places[:, : self.u.sum.shape[1]]
        even, odd = places.as_strided((2, half - 3, width - SIDE + 1), (places.shape[1], width, 1))
        self.whole = even, odd[: (height - SIDE + 1) // 2]  # the places of `work` where a whole window starts

    @cached_property
    def precise(self) -> WindowSums:
        """Sums of v in float64."""
        return WindowSums(2 * len(self.v.rows[0]), self.v.rows[0].shape[1], torch.float64)

    def total(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Sum of the similarities of all whole windows of two planes [H, W] of values in [0, 1]."""
        for parity in (0, 1):
            one, other = x[parity::2], y[parity::2]
            torch.add(one, other, out=self.u.rows[parity]).sub_(1.0)
            torch.sub(one, other, out=self.v.rows[parity])
        self.u.add_up()
        square, spread = self.v.add_up(), self.v.spread
        lit, both = self.u.sum.add_(PIXELS), self.u.spread.add_(CONTRAST)
        if square.dtype == torch.float32 and self._error(square, spread, both) > MOST_ERROR:
            for rows, one, other in zip(self.precise.rows, (x[0::2], x[1::2]), (y[0::2], y[1::2]), strict=True):
                torch.sub(one, other, out=rows[: len(one)])
            square.copy_(self.precise.add_up())
            spread.copy_(self.precise.spread)
        torch.addcmul(self.luminance, lit, lit, out=lit)
        torch.sub(lit, square, out=self.work)
        lit.add_(square)
        torch.sub(both, spread, out=square)
        both.add_(spread)
        self.work.mul_(square).div_(lit.mul_(both))
        return self._sum()

    def _error(self, square: torch.Tensor, spread: torch.Tensor, both: torch.Tensor) -> float:
        """Estimated error of the mean similarity by D_v: its rounding error over the denominator, times two."""
        torch.add(both, spread, out=self.work)
        squares = spread.add(square, alpha=1 / PIXELS)
        torch.div(squares, self.work, out=self.work)
        return 2 * ROUNDINGS * self._sum() / sum(rows.numel() for rows in self.whole)

    def _sum(self) -> float:
        return sum(rows.sum(dim=1).sum(dtype=torch.float64).item() for rows in self.whole)


class WindowSums:
    """Sum of a quantity w over every window, and of its squares about the window's mean.

    Even and odd rows are stored separately. The sum of six rows from an even one on is shared by two windows: one
    starts a row earlier, one starts with them. So the sum of seven rows takes 2.5 additions instead of 6. The sum of
    seven columns takes four, by doubling. Each addition runs over a whole array; sums that cross the end of a row are
    not read.

    Attributes:
        rows: the even and the odd rows of w, to be written, two tensors [rows, W].
        sum, spread: [2, places], of windows that start in an even and in an odd row; place = row · W + column.
    """

    def __init__(self, height: int, width: int, dtype: torch.dtype) -> None:
        half = (height + 1) // 2
        length = half * width  # of one parity of one quantity
        self.values = torch.zeros(2, 2, length, dtype=dtype)  # w and w² of even and odd rows, then their sums
        self.w, self.squares = self.values.unbind(1)
        self.rows = [self.w[parity].view(half, width)[: (height + 1 - parity) // 2] for parity in (0, 1)]
        self.missing = self.w[1, -width:] if height % 2 else None  # the odd row after the last even one
        spare = torch.zeros(2, 2 * length + GAP, dtype=dtype)
        even, odd = self.values.view(2, -1).numpy()
        first, second = spare[:, :-GAP].numpy()
        self.additions = _additions(even, odd, first, second, width)
        skipped = 3 * width + SIDE - 1  # a sum replaces its window's last even row or first odd row
        places, between = length - skipped, 2 * length - 3 * width
        self.sum, self.spread = self.values.as_strided((2, 2, places), (between, length, 1), skipped).unbind(1)
        self.square = spare[0].as_strided((2, places), (length, 1))

    def add_up(self) -> torch.Tensor:
        """Compute `sum` and `spread` from the rows of w, which they replace; return the squares of `sum`."""
        if self.missing is not None:
            self.missing.zero_()
        torch.mul(self.w, self.w, out=self.squares)
        for one, other, out in self.additions:
            np.add(one, other, out=out)
        torch.mul(self.sum, self.sum, out=self.square)
        self.spread.sub_(self.square, alpha=1 / PIXELS)
        return self.square


def _additions(
    even: np.ndarray, odd: np.ndarray, first: np.ndarray, second: np.ndarray, width: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Additions (one, other, out) that compute window sums from rows, in place.

    Args:
        even, odd: all even rows and all odd rows, flat. first, second: spare arrays of the same size. width: of a row.
    """
    up, places = slice(None, -2 * width), len(even) - 3 * width
    sevens = even[3 * width :], odd[:places]
    steps = [
        (even, odd, first),
        (first[up], first[width:-width], second[up]),
        (second[up], first[2 * width :], second[up]),  # six rows from an even one on
        (sevens[0], second[:places], sevens[0]),
        (sevens[1], second[width:][:places], sevens[1]),
    ]
    twos, fours = first[: places - 1], second[: places - 3]
    sixes = second[: places - 6]
    for line in sevens:
        steps += [
            (line[:-1], line[1:], twos),
            (twos[:-2], twos[2:], fours),
            (sixes, twos[4:-1], sixes),
            (line[6:], sixes, line[6:]),
        ]
    return steps
