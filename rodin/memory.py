"""The memory this process holds, as Linux tells it."""

from pathlib import Path
from typing import Literal

CLEAR_PEAK, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak() -> bool:
    """Let the peak begin anew at what is held now; false where the system does not let us."""
    try:
        CLEAR_PEAK.write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not allowed
        return False
    return True


def resident_bytes(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Resident size now, or the largest since the peak was forgotten; 0 where the system does not tell."""
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
        return int(lines[field].split()[0]) * 1024
    except (OSError, KeyError):
        return 0


def peak_rss_mb() -> float:
    """Largest resident size since the peak was forgotten, MiB; 0 where the system does not tell."""
    return resident_bytes("VmHWM") / (1 << 20)
