"""Durations and byte counts as text for readers."""

from __future__ import annotations

MINUTE, HOUR, DAY = 60, 3600, 86400  # seconds
WITH_TENTHS = 10  # seconds; shorter durations are shown with a tenth
BYTE_UNITS = (("TB", 1e12), ("GB", 1e9), ("MB", 1e6))  # decimal, as disks are sold


def duration(seconds: float) -> str:
    """Seconds as text: `4.2 s`, `42 s`, `3 min 05 s`, `2 h 10 min`, `5 d 3 h`."""
    if seconds < WITH_TENTHS:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02d} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02d} min"
    return f"{whole // DAY:,} d {whole % DAY // HOUR} h"


def byte_size(count: float) -> str:
    """Bytes as text: `12 kB`, `3.40 MB`, `1.26 TB`."""
    for unit, scale in BYTE_UNITS:
        if count >= scale:
            return f"{count / scale:.2f} {unit}"
    return f"{count / 1e3:.0f} kB"
