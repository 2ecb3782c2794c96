"""The loss curve during a training: JSON lines for scripts, and tensorboard's files where it is installed."""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

from rodin.store.atomic import make_folder
from rodin.train.state.training_state import CurveRow


class Journal:
    """Writes `log.jsonl` and `tensorboard/` into a folder; a resumed training replaces the rows after its checkpoint.

    Args:
        folder: the folder; None: write nothing, as on all ranks but 0.
        tensorboard: write for tensorboard too; if it is not installed, warn once.
    """

    def __init__(self, folder: Path | None, tensorboard: bool = False) -> None:
        self.folder, self._written = folder, -1
        self._board = _writer_class(folder / "tensorboard") if folder is not None and tensorboard else None
        self._writer: Any = None

    def __call__(self, curve: list[CurveRow]) -> None:
        """Write the new rows.

        Args:
            curve: all rows so far; in the first call, those of the checkpoint.
        """
        if self.folder is None:
            return
        make_folder(self.folder)
        first = self._written < 0
        new = curve[max(self._written, 0) :]
        with (self.folder / "log.jsonl").open("w" if first else "a", encoding="utf-8") as log:
            log.writelines(json.dumps(row) + "\n" for row in new)
        if self._board is not None:
            if first:
                done = int(curve[-1]["step"] or 0) if curve else 0
                self._writer = self._board(str(self.folder / "tensorboard"), purge_step=done + 1)
            for row in [] if first else new:
                for name, value in row.items():
                    if name != "step" and value is not None:
                        self._writer.add_scalar(name, value, row["step"])
            self._writer.flush()
        self._written = len(curve)

    def picture(self, step: int, rgb: Any) -> None:
        """Show a picture [H, W, 3] uint8 in tensorboard."""
        if self._writer is not None:
            self._writer.add_image("samples", rgb, step, dataformats="HWC")
            self._writer.flush()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()


def _writer_class(folder: Path) -> Any:
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter
    except ImportError:
        warnings.warn(
            f"{folder}: not written, tensorboard is not installed (pip install -e '.[tensorboard]'); the loss curve is "
            "in log.jsonl beside it",
            stacklevel=3,
        )
        return None
