"""What the tests of taking over share."""

import os
import shutil
from pathlib import Path

import pytest

from rodin.store.run_folder import RunFolder


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests that are not about power cuts and would sync hundreds of files."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr("jobs.run.record.code_version", lambda: {"version": "0", "commit": "abc"})


@pytest.fixture
def source(finished_tiny: Path, tmp_path: Path) -> RunFolder:
    """A finished run of the test's own."""
    return RunFolder(shutil.copytree(finished_tiny, tmp_path / "source"))
