"""The most memory that this process has held."""

from pathlib import Path


def forget_peak() -> None:
    """Let the peak begin anew at what is held now."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:  # not Linux, or not allowed: the peak is then that of the whole process
        return


def peak_rss_mb() -> float:
    """Largest resident size since then, megabytes; 0 where the system does not tell."""
    for entry in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if entry.startswith("VmHWM"):
            return int(entry.split()[1]) / 1024
    return 0.0
