"""Progress on the terminal: lines that stay, and one line that is overwritten."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from jobs.graph.work import Run
from jobs.run.progress import line, read_progress
from rodin.hooks import Progress
from rodin.units import duration

TERMINAL_SECONDS = 0.5  # between updates of the overwritten line: often enough to look alive
FILE_SECONDS = 10.0  # between progress lines where stderr is a file or pipe, and each update stays
FIRST_SECONDS = 3.0  # of a meter without output: a rate over less is noise, and short work needs no progress
WIDEST = 150  # characters of the overwritten line; a wrapped line could not be cleared
MOST_SHARDS = 3  # running shards shown in one line
CLEAR = "\r\033[K"  # carriage return, then ANSI "erase to end of line"


class Screen:
    """Progress on stderr; stdout is for results.

    Args:
        quiet: print nothing, as with --json.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet, self.terminal = quiet, sys.stderr.isatty()
        self.start = self.shown = time.monotonic()
        self.begun = time.time()
        self.period = TERMINAL_SECONDS if self.terminal else FILE_SECONDS

    def note(self, text: str) -> None:
        """Print a line that stays, with the time since the start."""
        if self.quiet:
            return
        clear = CLEAR if self.terminal else ""
        print(f"{clear}{duration(time.monotonic() - self.start):>12}  {text}", file=sys.stderr, flush=True)

    def watcher(self, run: Run) -> Callable[[], None]:
        """A function that shows the progress of the running shards; it returns at once if called too often."""

        def watch() -> None:
            now = time.monotonic()
            if self.quiet or now - self.shown < self.period:
                return
            self.shown = now
            states = [state for state in read_progress(run.folder) if state["total"] and state["time"] >= self.begun]
            text = " | ".join(f"{shard_name(run, state)} {line(state)}" for state in states[:MOST_SHARDS])
            if len(states) > MOST_SHARDS:
                text += f" | and {len(states) - MOST_SHARDS} more"
            if text:
                self._show(text)

        return watch

    def meter(self, title: str) -> Progress:
        """A progress callback (done, total, note) for work in this process; another total begins another part of it."""
        first: dict[int, tuple[float, int]] = {}

        def progress(done: int, total: int, note: str = "") -> None:
            now = time.monotonic()
            if total not in first:
                first.clear()
                first[total] = now, done
            begin, before = first[total]
            if self.quiet or now - self.shown < self.period or now - begin < FIRST_SECONDS:
                return
            self.shown = now
            rate = (done - before) / (now - begin)
            eta = (total - done) / rate if rate > 0 else None
            self._show(f"{title} {line({'done': done, 'total': total, 'rate': rate, 'eta': eta, 'note': note})}")

        return progress

    def clear(self) -> None:
        """Erase the overwritten line."""
        if self.terminal and not self.quiet:
            print(CLEAR, end="", file=sys.stderr, flush=True)

    def show(self, text: str) -> None:
        """Show a line of progress; it returns at once if called too often."""
        now = time.monotonic()
        if not self.quiet and now - self.shown >= self.period:
            self.shown = now
            self._show(text)

    def _show(self, text: str) -> None:
        if self.terminal:
            print(f"{CLEAR}{text[:WIDEST]}", end="", file=sys.stderr, flush=True)
        else:
            self.note(text)


def shard_name(run: Run, state: dict) -> str:
    """Short name of a shard: its stage, and its number if there are several."""
    return state["stage"] if run.config.shards(state["stage"]) == 1 else f"{state['stage']} {state['shard']}"
