"""Callbacks, memory and timing: defaults, units, and which rounds count."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rodin import memory
from rodin.hooks import Hooks


def test_a_stage_without_callbacks_runs_to_its_end() -> None:
    hooks = Hooks()
    hooks.progress(1, 2, "step")
    assert not hooks.should_stop()


def test_resident_memory_is_in_bytes() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    assert memory.resident_bytes("VmRSS") == pytest.approx(pages, rel=0.01)
    assert memory.peak_rss_mb() == pytest.approx(memory.resident_bytes("VmHWM") / 2**20, rel=0.01)


def test_the_peak_can_be_reset() -> None:
    """In a process of its own: here other tests leave memory that the system takes back when it likes."""
    code = (
        "from rodin.memory import forget_peak, peak_rss_mb\n"
        "block = bytearray(b'x') * (64 << 20)\n"
        "peak = peak_rss_mb()\n"
        "del block\n"
        "assert not forget_peak() or peak_rss_mb() < peak - 50, (peak, peak_rss_mb())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_the_system_does_not_report_is_zero(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "CLEAR_PEAK", tmp_path / "none" / "clear_refs")
    assert memory.resident_bytes("VmRSS") == 0
    assert memory.peak_rss_mb() == 0
    assert not memory.forget_peak()


def test_the_median_counts_without_the_first_round(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from rodin import timing

    clock, lengths = [0.0], iter([100.0, 1.0, 2.0, 9.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += next(lengths)

    assert timing.medians({"a": run}, 3, torch.device("cpu")) == {"a": 2.0}


def test_the_gpu_is_used_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from rodin.device import default_device

    for found, name in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda found=found: found)
        assert default_device().type == name
