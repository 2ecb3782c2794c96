"""Agreement between raters. No package: those on the index are under the GPL or need the same number of raters each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def alike(units: Sequence[Sequence[str]]) -> float | None:
    """How often two raters of the same unit gave the same answer; None where no unit has two.

    Args:
        units: the raters' answers to each unit.
    """
    same = sum(count * (count - 1) for unit in units for count in Counter(unit).values())
    pairs = sum(len(unit) * (len(unit) - 1) for unit in units)
    return same / pairs if pairs else None


def krippendorff(units: Sequence[Sequence[str]]) -> float | None:
    """Krippendorff's alpha of nominal answers, 1 − observed / expected disagreement; missing answers are allowed.

    Args:
        units: the raters' answers to each unit; units with fewer than two count for nothing.

    Returns:
        1 for agreement, 0 for chance; None where all answers are the same, or no unit has two.

    Source: Krippendorff, Content Analysis, chapter 11: alpha from coincidences.
    """
    paired = [unit for unit in units if len(unit) > 1]
    totals = Counter(answer for unit in paired for answer in unit)
    count = totals.total()
    expected = count * count - sum(number * number for number in totals.values())
    if not expected:
        return None
    observed = sum(
        (len(unit) ** 2 - sum(number**2 for number in Counter(unit).values())) / (len(unit) - 1) for unit in paired
    )
    return 1 - (count - 1) * observed / expected
