"""Checkpoints written in a thread: training waits only while its state is copied into the host's memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch

CopyTensors = Callable[[str, Sequence[torch.Tensor]], list[torch.Tensor]]


class Saver:
    """Writes one checkpoint at a time, in its own thread.

    The copies are in buffers that are allocated once, page-locked where a GPU fills them. The next checkpoint waits
    until the last one is written, so that there are never two copies.

    Args:
        write: (step, content); called in the thread.

    Example:
        >>> with Saver(lambda step, content: checkpoint.save(folder, step, content)) as saver:
        ...     saver.save(step, lambda copy: {"model": copy("model", tensors)})
        ...     saver.wait()
    """

    def __init__(self, write: Callable[[int, dict[str, Any]], Any]) -> None:
        self._write = write
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future[None] | None = None
        self._buffers: dict[str, list[torch.Tensor]] = {}

    def save(self, step: int, content: Callable[[CopyTensors], dict[str, Any]]) -> None:
        """Copy now, write later. Does nothing if the last checkpoint could not be written: see `failed`.

        Args:
            step: optimiser steps done.
            content: (copy) -> content of the checkpoint, with `copy(name, tensors)` in place of tensors.
        """
        if self._writing is not None and self._writing.exception() is not None:
            return
        copies = content(self._copy)
        copied = torch.cuda.Event() if any(buffer.is_pinned() for buffer in self._first_buffers()) else None
        if copied is not None:
            copied.record()

        def write() -> None:
            if copied is not None:
                copied.synchronize()
            self._write(step, copies)

        self._writing = self._thread.submit(write)

    def failed(self) -> bool:
        """Whether the last checkpoint could not be written; false while it is being written."""
        return self._writing is not None and self._writing.done() and self._writing.exception() is not None

    def wait(self) -> None:
        """Wait until the last checkpoint is written.

        Raises:
            ValueError: it could not be written.
        """
        if self._writing is not None:
            self._writing.result()

    def __enter__(self) -> Saver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def _copy(self, name: str, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        if name not in self._buffers:
            self._buffers[name] = [
                torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda) for tensor in tensors
            ]
        for buffer, tensor in zip(self._buffers[name], tensors, strict=True):
            buffer.copy_(tensor, non_blocking=True)
        return self._buffers[name]

    def _first_buffers(self) -> list[torch.Tensor]:
        return [buffers[0] for buffers in self._buffers.values() if buffers]
