"""Memory of this process, as Linux reports it."""

from pathlib import Path
from typing import Literal

# files of Linux's proc file system: reset of the peak, and sizes
CLEAR_PEAK, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def forget_peak() -> bool:
    """Reset the peak of resident memory to its present value; False if the system does not allow it."""
    try:
        CLEAR_PEAK.write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not allowed
        return False
    return True


def resident_bytes(field: Literal["VmRSS", "VmHWM"]) -> int:
    """Resident memory in bytes: VmRSS now, VmHWM the peak since `forget_peak`; 0 if the system does not report it."""
    try:
        lines = dict(line.split(":", 1) for line in STATUS.read_text(encoding="ascii").splitlines())
        return int(lines[field].split()[0]) * 1024
    except (OSError, KeyError):
        return 0


def peak_rss_mb() -> float:
    """Peak of resident memory since `forget_peak`, MiB; 0 if the system does not report it."""
    return resident_bytes("VmHWM") / (1 << 20)
