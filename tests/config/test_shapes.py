"""The one shape check."""

import numpy as np
import pytest

from rodin.shapes import check_shape


def test_letters_bind_and_agree():
    assert check_shape("planes", np.zeros((2, 3, 8, 64, 64)), "N 3 C R R") == {"N": 2, "C": 8, "R": 64}
    assert check_shape("points", np.zeros((4, 5, 3)), "... 3") == {}
    assert check_shape("points", np.zeros((4, 5)), "N M", N=4) == {"N": 4, "M": 5}


@pytest.mark.parametrize(
    ("shape", "expected", "sizes"),
    [
        ((2, 3, 8, 64, 32), "N 3 C R R", {}),
        ((2, 2), "N 3", {}),
        ((2, 3), "N 3 C", {}),
        ((2,), "... 3", {}),
        ((2, 3), "N 3", {"N": 5}),
    ],
)
def test_a_wrong_shape_says_got_and_wanted(shape, expected, sizes):
    with pytest.raises(ValueError, match="thing: got shape .*, wanted") as caught:
        check_shape("thing", np.zeros(shape), expected, **sizes)
    assert str(list(shape)) in str(caught.value)
