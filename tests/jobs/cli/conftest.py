"""The command line alone: a run folder with a config and nothing else."""

from pathlib import Path

import pytest
from PIL import Image

from jobs.run.record import write_config
from rodin.presets import preset
from rodin.store.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_config(RunFolder(Path("run")), preset("tiny"))
    portrait = Image.new("RGB", (32, 32), "white")
    portrait.paste((200, 30, 30), (8, 8, 24, 32))
    portrait.save("me.png")
    return Path("run")
