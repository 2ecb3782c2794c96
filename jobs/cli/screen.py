"""What a person watching a command sees: one line an event, and one that is written over and over on a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from jobs.graph.work import Run
from jobs.run.progress import duration, line, read_progress

TERMINAL_SECONDS = 0.5
FILE_SECONDS = 10.0


class Screen:
    """Progress on stderr; stdout stays for results.

    Args:
        quiet: tell nothing (scripts read --json).
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.start = self.shown = time.monotonic()

    def tell(self, text: str) -> None:
        """One line that stays."""
        if self.quiet:
            return
        clear = "\r\033[K" if self.terminal else ""
        print(f"{clear}{duration(time.monotonic() - self.start):>12}  {text}", file=sys.stderr, flush=True)

    def watcher(self, run: Run) -> Callable[[], None]:
        """A function that shows how far the shards at work are, as often as is good to look at."""
        period = TERMINAL_SECONDS if self.terminal else FILE_SECONDS

        def watch() -> None:
            now = time.monotonic()
            if self.quiet or now - self.shown < period:
                return
            self.shown = now
            states = [state for state in read_progress(run.folder) if state["total"]]
            text = " | ".join(f"{name(run, state)} {line(state)}" for state in states[:3])
            if len(states) > 3:
                text += f" | and {len(states) - 3} more"
            if text and self.terminal:
                print(f"\r\033[K{text[:150]}", end="", file=sys.stderr, flush=True)
            elif text:
                self.tell(text)

        return watch

    def meter(self, title: str) -> Callable[[int, int, str], None]:
        """A `progress` function for work in this very process."""
        first: list[tuple[float, int]] = []

        def progress(done: int, total: int, note: str = "") -> None:
            now = time.monotonic()
            if not first:
                first.append((now, done))
            period = TERMINAL_SECONDS if self.terminal else FILE_SECONDS
            if self.quiet or now - self.shown < period or now - first[0][0] < 3:
                return
            self.shown = now
            rate = (done - first[0][1]) / (now - first[0][0])
            eta = (total - done) / rate if rate > 0 else None
            text = f"{title} {line({'done': done, 'total': total, 'rate': rate, 'eta': eta, 'note': note})}"
            if self.terminal:
                print(f"\r\033[K{text[:150]}", end="", file=sys.stderr, flush=True)
            else:
                self.tell(text)

        return progress

    def clear(self) -> None:
        """Take the passing line away."""
        if self.terminal and not self.quiet:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def name(run: Run, state: dict) -> str:
    """A shard's name, as short as it is clear."""
    return state["stage"] if run.config.shards(state["stage"]) == 1 else f"{state['stage']} {state['shard']}"
