"""Structural similarity on a CPU: sums over all 7 × 7 windows by few additions of long arrays."""

import numpy as np
import torch

SIDE = 7  # of a window, pixels: scikit-image's default
PIXELS = SIDE * SIDE
C1, C2 = 0.01**2, 0.03**2  # of Wang et al. 2004, for values in [0, 1]
LUMINANCE = 2 * PIXELS**2 * C1  # what C1 and C2 become where sums stand for means
CONTRAST = 2 * (PIXELS - 1) * C2
GAP = 16  # values between arrays: numpy takes arrays that touch for arrays that overlap, and is five times slower


class Windows:
    """Arrays for the similarity of planes of one size and precision; reused from plane to plane.

    Letters: u = x + y - 1 and v = x - y of the two pictures, U and V their sums over a window of N pixels, D their sums
    of squares about the mean. The similarity of x and y there is

        ((U + N)² - V² + 2 N² C1) / ((U + N)² + V² + 2 N² C1) · (D_u - D_v + 2 (N - 1) C2) / (D_u + D_v + 2 (N - 1) C2),

    exactly 1 for equal pictures. An error of D_u counts less the more alike they are, so u keeps the precision of the
    pictures; v is always float64.

    Args:
        height: H. width: W, both at least 7. dtype: of u, float32 or float64.
    """

    def __init__(self, height: int, width: int, dtype: torch.dtype) -> None:
        self.u, self.v = WindowSums(height, width, dtype), WindowSums(height, width, torch.float64)
        self.luminance = torch.tensor(LUMINANCE, dtype=dtype)
        half = (height + 1) // 2
        places = torch.zeros(2, 3, (half - 3) * width, dtype=dtype)
        self.terms = [one[:, : self.u.sum.shape[1]] for one in places.unbind(1)]
        shape = (half - 3, width - SIDE + 1)
        even, odd = places[:, 0].as_strided((2, *shape), (3 * places.shape[2], width, 1))
        self.found = even, odd[: (height - SIDE + 1) // 2]

    def total(self, x: torch.Tensor, y: torch.Tensor) -> float:
        """Sum of the similarities of all whole windows of two planes [H, W] of values in [0, 1]."""
        for parity in (0, 1):
            one, other = x[parity::2], y[parity::2]
            torch.add(one, other, out=self.u.rows[parity]).sub_(1.0)
            torch.sub(one, other, out=self.v.rows[parity])
        top, square, spread = self.terms
        square.copy_(self.v.add_up())
        spread.copy_(self.v.spread)
        self.u.add_up()
        lit, both = self.u.sum.add_(PIXELS), self.u.spread.add_(CONTRAST)
        torch.addcmul(self.luminance, lit, lit, out=lit)
        torch.sub(lit, square, out=top)
        lit.add_(square)
        torch.sub(both, spread, out=square)
        both.add_(spread)
        top.mul_(square)
        top.div_(lit.mul_(both))
        return sum(rows.sum(dtype=torch.float64).item() for rows in self.found)


class WindowSums:
    """Sum of a quantity w over every window, and of its squares about the window's mean.

    Even and odd rows lie apart. Six rows that start with an even one serve two windows, the one that starts a row
    before and the one that starts with them, so a column of seven takes 2.5 additions instead of 6. Along a row it
    takes four, by doubling. All arrays are walked from end to end; what is summed over the end of a row is not read.

    Attributes:
        rows: where the even and the odd rows of w go, two tensors [rows, W].
        sum, spread: [2, places], windows that start in an even and in an odd row; a place is row · W + column.
    """

    def __init__(self, height: int, width: int, dtype: torch.dtype) -> None:
        half = (height + 1) // 2
        length = half * width  # of one parity of one quantity
        self.values = torch.zeros(2, 2, length, dtype=dtype)  # w and w² of even and of odd rows; then their sums
        self.w, self.squares = self.values.unbind(1)
        self.rows = [self.w[parity].view(half, width)[: (height + 1 - parity) // 2] for parity in (0, 1)]
        self.missing = self.w[1, -width:] if height % 2 else None  # an odd row that completes a last even one
        spare = torch.zeros(2, 2 * length + GAP, dtype=dtype)
        even, odd = self.values.view(2, -1).numpy()
        self.additions = _additions(even, odd, *spare[:, :-GAP].numpy(), width)
        skipped = 3 * width + SIDE - 1  # sums lie where the last even row of a window was, and its first odd one
        places, between = length - skipped, 2 * length - 3 * width
        self.sum, self.spread = self.values.as_strided((2, 2, places), (between, length, 1), skipped).unbind(1)
        self.square = spare[0].as_strided((2, places), (length, 1))

    def add_up(self) -> torch.Tensor:
        """Turn rows of w into `sum` and `spread`; the squares of `sum`."""
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
    """The additions (one, other, out) that turn rows into sums over windows, in place.

    Args:
        even, odd: even and odd rows, one after another. first, second: room for as many values. width: of a row.
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
